"""Which settings make sense, but are probably mistakes, or cannot work on this machine?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path as FilePath

from swapcore_http.config.config import Config
from swapcore_http.config.planners import names_in
from swapcore_http.config.problems import Finding, Severity, describe

__all__ = ["doubts", "machine_findings"]

SHORT_STAY = 20
"""A model that may take so many times longer to load than it stays is probably a mistake."""


def doubts(config: Config) -> Iterator[Finding]:
    """Find what can hardly have been meant."""
    yield from _stays(config)
    yield from _left_out(config)
    yield from _shut_out(config)


def _stays(config: Config) -> Iterator[Finding]:
    for model in config.catalog():
        if model.ttl is not None and not model.pinned and model.ttl * SHORT_STAY < model.start_timeout:
            own = config.models[model.id].ttl >= 0
            where = ("models", model.id, "ttl") if own else ("globalTTL",)
            what = (
                f"{model.id} may take {model.start_timeout:g} s to load, but stays for {model.ttl:g} s only"
            )
            yield Finding(
                where, f"{what}; expected longer, or 0 for as long as there is room", Severity.WARNING
            )
            if not own:
                return


def _left_out(config: Config) -> Iterator[Finding]:
    if not config.uses_matrix or config.matrix is None:
        return
    named = {
        config.resolve(config.matrix.vars.get(name, name)) for name in names_in(config.matrix.sets.values())
    }
    for id_ in config.models:
        if id_ not in named:
            what = "is in no set of the matrix, and so runs alone: nothing else stays up beside it"
            yield Finding(("models", id_), what, Severity.WARNING, at_key=True)


def _shut_out(config: Config) -> Iterator[Finding]:
    pinned = [model.id for model in config.models.values() if model.pinned]
    planner = config.planner()
    for id_ in config.models if pinned else ():
        other = next(
            (each for each in pinned if each != id_ and not planner.can_live_together([each, id_])), None
        )
        if other is not None:
            what = (
                f"is refused once {describe(other)} is up, which is pinned and cannot be up together with it"
            )
            yield Finding(("models", id_), what, Severity.WARNING, at_key=True)


def machine_findings(config: Config, path: str) -> Iterator[Finding]:
    """Find programs that are not on this PATH, and a store that cannot be written."""
    missing: dict[str, bool] = {}
    for model in config.models.values():
        words = model.argv(0)
        if not words:
            continue
        program = words[0]
        if program not in missing:
            missing[program] = (
                shutil.which(program, path=model.environment({"PATH": path}, 0)["PATH"]) is None
            )
        if missing[program]:
            where = "is no program" if os.sep in program else "is no program on PATH"
            what = f"{describe(program)} {where}; expected one that can be started"
            yield Finding(("models", model.id, "cmd"), what, Severity.WARNING)
    if config.store is not None and (fault := _store_fault(FilePath(config.store.path.strip()))) is not None:
        yield Finding(("store", "path"), fault)


def _store_fault(path: FilePath) -> str | None:
    if path.is_dir():
        return "is a directory; expected the path of a file"
    if path.exists():
        return None if os.access(path, os.W_OK) else "cannot be written by this user"
    if not path.parent.is_dir():
        return "is in a directory that does not exist; expected one that does"
    return (
        None
        if os.access(path.parent, os.W_OK | os.X_OK)
        else "is in a directory that this user cannot write to"
    )
