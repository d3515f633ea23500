"""How do several files become one configuration?

Mappings are merged and lists put one after the other. What two files both say
must be the same. Models, groups and other things that have names must each be
in one file.
"""

from collections.abc import Callable
from typing import Any

from swapcore_http.config.plain import Place, Plain
from swapcore_http.config.problems import Path, describe
from swapcore_http.config.scalars import as_text

__all__ = ["Conflict", "merge"]

NAMED: dict[Path, str] = {
    ("models",): "model",
    ("groups",): "group",
    ("profiles",): "profile",
    ("selectors",): "selector",
    ("peers",): "peer",
    ("matrix",): "part of the matrix",
    ("routing", "router", "settings", "groups"): "group",
    ("routing", "router", "settings", "matrix"): "part of the matrix",
}
"""What is in these mappings must stand in one file only."""

Conflict = Callable[[Path, str, Place, bool, Place], None]
"""Takes where two files contradict each other and how, the later place, if its key is meant, the first."""


def merge(first: Plain, second: Plain, conflict: Conflict) -> Plain:
    """Merge what a file says into what those before it say, which is changed by it."""
    merger = Merger(first, second, conflict)
    data = merger.merged(first.data, second.data, ())
    return Plain(data, places=merger.places())


class Merger:
    """Merges two trees, and remembers where the parts of the second one went."""

    def __init__(self, first: Plain, second: Plain, conflict: Conflict) -> None:
        self._first = first
        self._second = second
        self._conflict = conflict
        self._moved: dict[Path, int] = {}
        self._replaced: set[Path] = set()

    def merged(self, first: Any, second: Any, path: Path) -> Any:
        """Merge two values; where that cannot be done, the first one stays."""
        if second is None:
            return first
        if first is None:
            self._replaced.add(path)
            return second
        match first, second:
            case dict(), dict():
                return self._mappings(first, second, path)
            case list(), list():
                self._moved[path] = len(first)
                return [*first, *second]
            case (dict() | list(), _) | (_, dict() | list()):
                what = f"{describe(second)} cannot be merged with {describe(first)}; expected the same kind"
                self._report(path, what, at_key=False)
            case _ if type(first) is not type(second) or as_text(first, "") != as_text(second, ""):
                # It may be a secret, so it is not repeated.
                self._report(
                    path, "says something else than before; expected the same, or one of them", at_key=False
                )
        return first

    def _mappings(self, first: dict[str, Any], second: dict[str, Any], path: Path) -> dict[str, Any]:
        noun = NAMED.get(path)
        for key, value in second.items():
            where = (*path, key)
            if key not in first:
                first[key] = value
            elif noun is not None:
                self._report(
                    where, f"duplicate {noun} {describe(key)}; expected it in one file only", at_key=True
                )
            else:
                first[key] = self.merged(first[key], value, where)
        return first

    def _report(self, path: Path, message: str, *, at_key: bool) -> None:
        self._conflict(path, message, self._second.places[path], at_key, self._first.places[path])

    def places(self) -> dict[Path, Place]:
        """Say where everything stands, once all is merged."""
        places = self._first.places
        for path, place in self._second.places.items():
            if self._moved:
                path = self._as_moved(path)  # noqa: PLW2901 - where it stands now.
            if path in self._replaced:
                places[path] = place
            else:
                places.setdefault(path, place)
        return places

    def _as_moved(self, path: Path) -> Path:
        for depth, part in enumerate(path):
            if isinstance(part, int) and (by := self._moved.get(path[:depth])):
                path = (*path[:depth], part + by, *path[depth + 1 :])
        return path
