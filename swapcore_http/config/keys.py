"""Which keys may stand where, and what is said of the others?

A key that would change who may ask, what is started, sent or kept together is
never ignored: until it is supported it is an error. One that changes only
what is shown or measured is a warning, and so is one that nobody knows.
"""

from collections.abc import Callable, Iterable, Mapping

import attrs

from swapcore_http.config.problems import Finding, Path, Severity, describe, nearest
from swapcore_http.config.schema import ModelConfig, Settings
from swapcore_http.config.setting import settings_of

__all__ = ["ROUTER_SETTINGS", "Report", "pick"]

Report = Callable[[Finding], None]
"""Takes what is wrong with a key or its value."""

MOST_SUGGESTIONS = 50
"""Unknown keys in one mapping for which the right one is sought; that takes time."""

REFUSED: dict[type, dict[str, str]] = {
    Settings: {
        "apiKeys": "who may ask",
        "macros": "what is started",
        "peers": "which models there are",
        "profiles": "which model a name means",
        "selectors": "which model a name means",
    },
    ModelConfig: {
        "filters": "what is sent to the model",
        "macros": "what is started",
    },
}
"""Keys that must not be ignored, and what they change."""

UNUSED: dict[type, frozenset[str]] = {
    Settings: frozenset(
        {
            "captureBuffer",
            "includeAliasesInList",
            "logRequests",
            "logTimeFormat",
            "logToStdout",
            "metricsMaxInMemory",
            "performance",
            "sendLoadingState",
            "store",
            "ui",
            "upstream",
        }
    ),
    ModelConfig: frozenset({"capabilities", "compat", "metadata", "sendLoadingState", "timeouts"}),
}
"""Keys of llama-swap's that have no effect here yet."""

ROUTER_SETTINGS = "routing.router.settings."
"""What stands before `groups` and `matrix` where they are not at the top level."""

EXTRA: dict[type, frozenset[str]] = {
    Settings: frozenset({ROUTER_SETTINGS + "groups", ROUTER_SETTINGS + "matrix"})
}
"""Keys that stand for a setting as well as its own does."""


def pick(
    data: Mapping[str, object], cls: type[attrs.AttrsInstance], path: Path, report: Report
) -> dict[str, object]:
    """Collect the settings of that class by their dotted keys, and report all else that is there.

    What is null counts as not written.
    """
    found: dict[str, object] = {}
    leaves = {setting.key for setting in settings_of(cls).values()}.union(EXTRA.get(cls, ()))

    def descend(data: Mapping[str, object], section: tuple[str, ...]) -> None:
        prefix = "".join(f"{part}." for part in section)
        here = {key.removeprefix(prefix).split(".")[0] for key in leaves if key.startswith(prefix)}
        refused = {} if section else REFUSED.get(cls, {})
        unused = frozenset[str]() if section else UNUSED.get(cls, frozenset())
        unknown = 0
        for key, value in data.items():
            where = (*path, *section, key)
            # What has a dot in it is one key, and no way into a mapping.
            if "." not in key and prefix + key in leaves:
                if value is not None:
                    found[prefix + key] = value
            elif key in here:
                if isinstance(value, dict):
                    descend(value, (*section, key))
                elif value is not None:
                    keys = _inside(leaves, prefix + key)
                    report(Finding(where, f"{describe(value)} is not a mapping; expected one with {keys}"))
            elif key in refused:
                if not _empty(value):
                    what = f"not supported yet, and to ignore it would change {refused[key]}"
                    report(Finding(where, f"{what}; expected no such key until a later release", at_key=True))
            elif key in unused:
                if not _empty(value):
                    report(Finding(where, "has no effect yet", Severity.WARNING, at_key=True))
            else:
                unknown += 1
                candidates = {*here, *refused, *unused} if unknown <= MOST_SUGGESTIONS else ()
                what = "unknown key, ignored" + _hint(key, cls, candidates)
                report(Finding(where, what, Severity.WARNING, at_key=True))

    descend(data, ())
    return found


def _hint(key: str, cls: type, candidates: Iterable[str]) -> str:
    other, where = (Settings, "at the top level") if cls is ModelConfig else (ModelConfig, "in a model")
    if key in {setting.key for setting in settings_of(other).values()}:
        return f"; it belongs {where}"
    meant = nearest(key, sorted(candidates))
    return f"; did you mean {meant}?" if meant else ""


def _inside(leaves: Iterable[str], section: str) -> str:
    inside = {key[len(section) + 1 :].split(".")[0] for key in leaves if key.startswith(section + ".")}
    return ", ".join(sorted(inside))


def _empty(value: object) -> bool:
    """Tell whether a value says nothing, so that ignoring it changes nothing."""
    if isinstance(value, dict):
        return all(map(_empty, value.values()))
    return value is None or value in ([], "")
