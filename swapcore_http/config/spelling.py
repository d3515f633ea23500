"""Which of the two ways to write groups and matrix does a configuration use?

They stand at the top level, as they always have, or in `routing.router`, where
`use` picks one of them. Never both: it is for people to say which one counts.
"""

from collections.abc import Set as AbstractSet

from swapcore_http.config.keys import ROUTER_SETTINGS, Report
from swapcore_http.config.problems import Finding, Path, Severity

__all__ = ["GROUPS", "MATRIX", "as_spelled", "settle_spelling"]

GROUPS, MATRIX = "groups", "matrix"
USE = "routing.router.use"


def settle_spelling(picked: dict[str, object], report: Report) -> frozenset[str]:
    """Move what stands in `routing.router` to where the top level has it.

    What `use` leaves out is removed: as in llama-swap it may say anything.

    Returns:
        Which of `groups` and `matrix` were moved.
    """
    for key in (GROUPS, ROUTER_SETTINGS + GROUPS):
        if picked.get(key) == {}:
            del picked[key]
    moved = {
        key: picked.pop(ROUTER_SETTINGS + key) for key in (GROUPS, MATRIX) if ROUTER_SETTINGS + key in picked
    }
    use = picked.get(USE) or "group"
    if not (moved or picked.get(USE)):
        return frozenset()
    for key in (GROUPS, MATRIX):
        if picked.pop(key, None) is not None:
            what = "cannot stand beside routing.router, which says the same in another way"
            report(Finding((key,), f"{what}; expected it as {ROUTER_SETTINGS}{key}", at_key=True))
    idle = {"group": MATRIX, "matrix": GROUPS}.get(str(use), "")
    if moved.pop(idle, None) is not None:
        what = f"has no effect, because {USE} is {use}"
        report(Finding(as_spelled((idle,), {idle}), what, Severity.WARNING, at_key=True))
    picked |= moved
    return frozenset(moved)


def as_spelled(path: Path, moved: AbstractSet[str]) -> Path:
    """Say where something stands if these sections were moved from `routing.router`."""
    return (*ROUTER_SETTINGS.split(".")[:-1], *path) if path and path[0] in moved else path
