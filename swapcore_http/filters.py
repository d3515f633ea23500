"""What is changed in the body of a request before its model gets it?

Parameters are taken out, then put in, then put in for the name that was asked
for. All other bytes stay as they are.
"""

import json
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from swapcore_http.config import FiltersConfig
from swapcore_http.extract import Edit, Named, NoModelError, UnreadableError, edited, find_model
from swapcore_http.jsonedit import Step, changes, parse_path
from swapcore_http.jsontext import decoded, offsets

__all__ = ["Changes", "UnfilteredError", "body_edits", "changed"]

PROTECTED = "model"
"""The parameter that no filter touches, nor anything in it."""


class UnfilteredError(ValueError):
    """A body cannot be filtered, and must not pass as it is."""


@frozen(eq=False, repr=False)
class Changes:
    """What is wanted of a body."""

    rename: str | None
    """The model that it is to name, if another one than it does."""

    filters: FiltersConfig
    """What is to be taken out and put in, if it is JSON."""

    asked: str
    """The name that the model was asked by, for which some of that may be."""

    @property
    def look_inside(self) -> bool:
        """Whether there is anything to take out or put in."""
        if self.filters.empty:
            return False
        return bool(self.filters.stripped or self.filters.assigned(self.asked))


def body_edits(body: bytes, named: Named, wanted: Changes) -> list[Edit]:
    """Say where a body is to change.

    It takes time in proportion to the body's length if it has to be looked
    into: call it in a thread if that is large.

    Raises:
        UnfilteredError: it has to be looked into, and is not valid JSON.
    """
    edits = [] if wanted.rename is None or named.in_query else named.edits(wanted.rename)
    if not named.is_json or not wanted.look_inside:
        return edits
    strip, put = _paths(wanted.filters.stripped), _assigned(wanted.filters.assigned(wanted.asked))
    text = decoded(body)
    try:
        found = changes(text, strip, put)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise UnfilteredError(f"the body is not valid JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise UnfilteredError("the body is nested too deeply") from None
    positions = sorted({position for start, end, _ in found for position in (start, end)})
    at = dict(zip(positions, offsets(text, body, positions), strict=True))
    edits += [(at[start], at[end], new.encode("utf-8", "surrogateescape")) for start, end, new in found]
    return sorted(edits, key=lambda edit: edit[:2])


def changed(body: bytes, wanted: Changes) -> bytes | None:
    """Make these changes in a JSON body that names its model; `None` if they cannot be made.

    It takes time in proportion to the body's length.
    """
    try:
        named = find_model(method="POST", query="", content_type="application/json", body=body)
        return edited(body, body_edits(body, named, wanted))
    except (NoModelError, UnreadableError, UnfilteredError):
        return None


def _paths(names: Iterable[str]) -> list[tuple[Step, ...]]:
    return [path for path in map(parse_path, names) if path[0].name != PROTECTED]


def _assigned(pairs: Iterable[tuple[str, Any]]) -> list[tuple[tuple[Step, ...], Any]]:
    paths = ((parse_path(name), value) for name, value in pairs)
    return [(path, value) for path, value in paths if path[0].name != PROTECTED]
