"""Do the settings make sense that say how callers are met?"""

import re
import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

from swapcore_http.config.access import ApiKeyConfig
from swapcore_http.config.parts import FiltersConfig
from swapcore_http.config.problems import Finding, Path, Severity, describe
from swapcore_http.config.recording import seconds_of
from swapcore_http.config.schema import Settings
from swapcore_http.jsonedit import PathError, parse_path

__all__ = ["surface_findings"]

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
SHORTEST_INTERVAL = 5
HOST = re.compile(r"[^\s/@\x00-\x1f]+")


def surface_findings(settings: Settings) -> Iterator[Finding]:
    """Find keys that nobody can show, patterns that match nothing, durations that are none."""
    yield from _keys(settings.api_keys)
    for index, origin in enumerate(settings.cors_origins):
        if not _is_origin(origin):
            what = f"{describe(origin)} is no origin; expected one such as https://ui.example"
            yield Finding(("corsOrigins", index), what)
    for index, host in enumerate(settings.allowed_hosts):
        if not HOST.fullmatch(host):
            yield Finding(
                ("allowedHosts", index), f"{describe(host)} is no host name; expected one such as box.lan"
            )
    if settings.api_keys:
        yield from _hidden_keys(settings)
    for model in settings.models.values():
        yield from _filters(model.filters, ("models", model.id, "filters"))
    for peer in settings.peers.values():
        yield from _filters(peer.filters, ("peers", peer.id, "filters"))
    for index, pattern in enumerate(settings.ignored_paths):
        if (fault := _fault(pattern)) is not None:
            what = f"{describe(pattern)} is no regular expression: {fault}; expected one such as \\.css$"
            yield Finding(("upstream", "ignorePaths", index), what)
    interval = seconds_of(settings.performance.every)
    if interval is None:
        what = f"{describe(settings.performance.every)} is no duration; expected one such as 15s or 1m30s"
        yield Finding(("performance", "every"), what)
    elif interval < SHORTEST_INTERVAL:
        yield Finding(
            ("performance", "every"), f"{settings.performance.every} is too short; expected 5s or more"
        )
    if settings.store is not None and not settings.store.path.strip():
        yield Finding(("store", "path"), "there is none; expected the path of a file")


def _hidden_keys(settings: Settings) -> Iterator[Finding]:
    """Find upstreams that want a key which they would not be shown."""
    for model in settings.models.values():
        if "--api-key" in model.cmd and not model.forward_auth:
            what = "it wants a key, but keys of this server are not passed on"
            hint = "expected none, as nobody else reaches it, or forwardAuth: true"
            yield Finding(("models", model.id, "cmd"), f"{what}; {hint}", Severity.WARNING)


def _filters(filters: FiltersConfig, path: Path) -> Iterator[Finding]:
    places: list[tuple[Path, str]] = [((*path, "stripParams"), name) for name in filters.stripped]
    places += [((*path, "setParams", name), name) for name in filters.set_params]
    for id_, table in filters.set_params_by_id.items():
        places += [((*path, "setParamsByID", id_, name), name) for name in table]
    for where, name in places:
        try:
            parse_path(name)
        except PathError as error:
            yield Finding(where, str(error), at_key=where[-1] == name)


def _keys(keys: tuple[ApiKeyConfig, ...]) -> Iterator[Finding]:
    seen = set[str]()
    for index, each in enumerate(keys):
        where = ("apiKeys", index)
        # No message repeats a key.
        if not each.key:
            yield Finding(where, "the key is empty; expected what callers show", about=((*where, "key"),))
        elif " " in each.key:
            yield Finding(where, "the key has a space in it, which no caller can show; expected none")
        elif CONTROL.search(each.key):
            yield Finding(
                where, "the key has a control character in it, which no caller can show; expected none"
            )
        elif each.key in seen:
            yield Finding(where, "the same key stands above already; expected each key once")
        if each.share is not None and not each.share > 0:
            what = f"{each.share:g} is too small; expected a part of the queue, more than 0 and at most 1"
            yield Finding((*where, "share"), what)
        seen.add(each.key)


def _is_origin(text: str) -> bool:
    if text in ("*", "null"):
        return True
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc) and not (
        parts.path or parts.query or parts.fragment or "@" in text
    )


def _fault(pattern: str) -> str | None:
    with warnings.catch_warnings():
        # What may mean something else in a later Python means the same here.
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            return str(error)
    return None
