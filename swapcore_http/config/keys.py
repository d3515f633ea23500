"""Which keys may stand where, and what is said of the others?

A key that would change who may ask, what is started, sent or kept together is
never ignored: until it is supported it is an error. One that changes only
what is shown or measured is a warning, and so is one that nobody knows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import attrs
from attrs import frozen

from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.nesting import default_value
from swapcore_http.config.parts import PeerTimeoutsConfig, TimeoutsConfig
from swapcore_http.config.problems import Finding, Path, Severity, describe, nearest
from swapcore_http.config.public_names import PeerConfig
from swapcore_http.config.schema import ModelConfig, Settings
from swapcore_http.config.setting import settings_of

__all__ = ["ROUTER_SETTINGS", "UNSUPPORTED", "Report", "pick", "unsupported"]

Report = Callable[[Finding], None]
"""Takes what is wrong with a key or its value."""

MOST_SUGGESTIONS = 50
"""Unknown keys in one mapping for which the right one is sought; that takes time."""

UNSUPPORTED: dict[type, dict[str, str]] = {
    Settings: {},
    ModelConfig: {},
    TimeoutsConfig: {"expect_continue": ""},
    PeerTimeoutsConfig: {"expect_continue": ""},
    PeerConfig: {},
}
"""Settings that nothing honours, and what ignoring one would change; where that is little, it is empty.

Whoever makes something honour a setting removes it here.
"""

LISTS = (Shape.LIST, Shape.RECORD_LIST)

ROUTER_SETTINGS = "routing.router.settings."
"""What stands before `groups` and `matrix` where they are not at the top level."""

FOR_PEOPLE = "x-"
"""What keys at the top level begin with that hold anchors and notes, as in other tools' files."""

EXTRA: dict[type, frozenset[str]] = {
    Settings: frozenset({ROUTER_SETTINGS + "groups", ROUTER_SETTINGS + "matrix"})
}
"""Keys that stand for a setting as well as its own does."""


def unsupported(record: attrs.AttrsInstance, path: Path) -> Iterator[Finding]:
    """Find what a record says that nothing honours yet."""
    settings = settings_of(type(record))
    tables = (UNSUPPORTED[cls] for cls in type(record).__mro__ if cls in UNSUPPORTED)
    for name, changed in next(tables, {}).items():
        if getattr(record, name) == default_value(type(record), name):
            continue
        where = (*path, *settings[name].key.split("."))
        if changed:
            what = f"not supported yet, and to ignore it would change {changed}"
            yield Finding(where, f"{what}; expected no such key until a later release", at_key=True)
        else:
            yield Finding(where, "has no effect here", Severity.WARNING, at_key=True)


@frozen(eq=False, repr=False)
class Layout:
    """How the settings of a class are written."""

    leaves: frozenset[str]
    """All keys, whose dots lead into nested mappings."""

    lists: frozenset[str]
    """Those of lists."""

    legacies: Mapping[str, str]
    """Newer keys by older ones."""

    within: Mapping[str, frozenset[str]]
    """What may stand in each nested mapping, by the keys that lead to it."""


@cache
def _layout(cls: Any) -> Layout:
    settings, kinds = settings_of(cls), kinds_of(cls)
    leaves = frozenset(setting.key for setting in settings.values()).union(EXTRA.get(cls, ()))
    prefixes = {
        "".join(f"{part}." for part in key.split(".")[:depth])
        for key in leaves
        for depth in range(key.count(".") + 1)
    }
    return Layout(
        leaves,
        frozenset(settings[name].key for name, kind in kinds.items() if kind.shape in LISTS),
        {setting.legacy: setting.key for setting in settings.values() if setting.legacy},
        {
            prefix: frozenset(
                key.removeprefix(prefix).split(".")[0] for key in leaves if key.startswith(prefix)
            )
            for prefix in prefixes
        },
    )


def pick(
    data: Mapping[str, object], cls: type[attrs.AttrsInstance], path: Path, report: Report
) -> dict[str, object]:
    """Collect the settings of that class by their dotted keys, and report all else that is there.

    What is null counts as not written, but where a list belongs it is an empty one.
    """
    found: dict[str, object] = {}
    older: dict[str, object] = {}
    layout = _layout(cls)
    leaves, lists, legacies = layout.leaves, layout.lists, layout.legacies

    def descend(data: Mapping[str, object], section: tuple[str, ...]) -> None:
        prefix = "".join(f"{part}." for part in section)
        here = layout.within[prefix]
        unknown = 0
        for key, value in data.items():
            where = (*path, *section, key)
            # What has a dot in it is one key, and no way into a mapping.
            if "." not in key and prefix + key in leaves:
                if value is not None:
                    found[prefix + key] = value
                elif prefix + key in lists:
                    found[prefix + key] = []
            elif prefix + key in legacies:
                if value is not None:
                    older[legacies[prefix + key]] = value
            elif key in here:
                if isinstance(value, dict):
                    descend(value, (*section, key))
                elif value is not None:
                    keys = _inside(leaves, prefix + key)
                    report(Finding(where, f"{describe(value)} is not a mapping; expected one with {keys}"))
            elif cls is not Settings or section or not key.startswith(FOR_PEOPLE):
                unknown += 1
                candidates = here if unknown <= MOST_SUGGESTIONS else ()
                what = "unknown key, ignored" + _hint(key, cls, candidates)
                report(Finding(where, what, Severity.WARNING, at_key=True))

    descend(data, ())
    return found | {key: value for key, value in older.items() if not found.get(key)}


def _hint(key: str, cls: type, candidates: Iterable[str]) -> str:
    other, where = (Settings, "at the top level") if cls is ModelConfig else (ModelConfig, "in a model")
    if key in {setting.key for setting in settings_of(other).values()}:
        return f"; it belongs {where}"
    meant = nearest(key, sorted(candidates))
    return f"; did you mean {meant}?" if meant else ""


def _inside(leaves: Iterable[str], section: str) -> str:
    inside = {key[len(section) + 1 :].split(".")[0] for key in leaves if key.startswith(section + ".")}
    return ", ".join(sorted(inside))
