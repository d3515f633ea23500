"""Which recorded requests does somebody want to see, and in which order?"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import frozen

__all__ = ["SORTS", "BadQueryError", "Query", "UnreadableError", "instant", "parse_query"]

SORTS = {
    "id": "id",
    "time": "at",
    "model": "model",
    "req_path": "path",
    "resp_status_code": "status",
    "resp_content_type": "kind",
    "cached": "cached",
    "prompt": "input",
    "generated": "output",
    "drafted": "drafted",
    "prompt_speed": "input_speed",
    "gen_speed": "output_speed",
    "duration": "duration",
}
"""What they can be sorted by, and the columns of that."""

MOST = 999
"""Rows that one answer may have."""

MOST_MODELS = 100
MAX_SHOWN = 50


class BadQueryError(Exception):
    """The query makes no sense; the text says why."""


class UnreadableError(Exception):
    """The record of requests cannot be read; the text says why."""


@frozen(kw_only=True)
class Query:
    """What to look for; ids and times are inclusive."""

    models: tuple[str, ...] = ()
    """Ids of models; none for all of them."""

    visible: tuple[str, ...] | None = None
    """Ids of the models whose requests there are for whoever asks; `None` for all of them."""

    start: float | None = None
    end: float | None = None
    min_id: int | None = None
    max_id: int | None = None
    limit: int = 25
    page: int = 1
    sort: str = "id"
    """One of `SORTS`."""

    descending: bool = True

    def where(self) -> tuple[str, list[Any]]:
        """Write the condition in SQL, and its values."""
        parts: list[str] = []
        values: list[Any] = []
        if self.models:
            parts.append(f"model IN ({', '.join('?' * len(self.models))})")
            values += self.models
        if self.visible is not None:
            parts.append("model IN (SELECT value FROM json_each(?))")
            values.append(json.dumps(self.visible))
        for condition, value in (
            ("at >= ?", self.start),
            ("at <= ?", self.end),
            ("id >= ?", self.min_id),
            ("id <= ?", self.max_id),
        ):
            if value is not None:
                parts.append(condition)
                values.append(value)
        return (f" WHERE {' AND '.join(parts)}" if parts else ""), values

    def order(self) -> str:
        """Write the order in SQL."""
        column, direction = SORTS[self.sort], "DESC" if self.descending else "ASC"
        return f" ORDER BY {column} {direction}" + ("" if column == "id" else f", id {direction}")


def parse_query(given: Mapping[str, Sequence[str]]) -> Query:
    """Read a query string's fields, each with all its values; empty ones count as not given.

    Raises:
        BadQueryError: something in it makes no sense.
    """

    def one(name: str) -> str:
        return next(iter(given.get(name, ())), "")

    def read(name: str, expected: str, read_it: Callable[[str], Any], *, otherwise: Any = None) -> Any:
        text = one(name)
        if not text:
            return otherwise
        value = read_it(text)
        if value is None:
            raise BadQueryError(f"{name} is {text[:MAX_SHOWN]!r}; expected {expected}")
        return value

    models = tuple(name for name in given.get("model", ()) if name)
    if len(models) > MOST_MODELS:
        raise BadQueryError(f"more than {MOST_MODELS} models are asked for")
    query = Query(
        models=models,
        start=read("start", RFC_3339, instant),
        end=read("end", RFC_3339, instant),
        min_id=read("min_id", "a number, 1 or more", _whole(1, 2**63 - 1)),
        max_id=read("max_id", "a number, 1 or more", _whole(1, 2**63 - 1)),
        limit=read("limit", f"a number from 1 to {MOST}", _whole(1, MOST), otherwise=25),
        page=read("page", "a number, 1 or more", _whole(1, 2**31), otherwise=1),
        sort=read("sort", f"one of {', '.join(SORTS)}", _one_of(SORTS), otherwise="id"),
        descending=read("order", "asc or desc", _one_of(("asc", "desc")), otherwise="desc") == "desc",
    )
    if query.start is not None and query.end is not None and query.start > query.end:
        raise BadQueryError("start is after end")
    if query.min_id is not None and query.max_id is not None and query.min_id > query.max_id:
        raise BadQueryError("min_id is greater than max_id")
    return query


RFC_3339 = "a time such as 2026-08-22T12:00:00Z"


def instant(text: str) -> float | None:
    """Read a time as RFC 3339 writes it, in seconds since 1970; `None` if it is none."""
    # In a query string that was not escaped, the plus of a zone has become a space.
    text = text.replace(" ", "+") if text[10:11] in {"T", "t"} else ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    seconds = moment.astimezone(UTC).timestamp()
    return seconds if math.isfinite(seconds) else None


def _whole(least: int, most: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        if not (text.isascii() and text.isdigit() and len(text) <= 20):  # noqa: PLR2004
            return None
        return int(text) if least <= int(text) <= most else None

    return read


def _one_of(names: Mapping[str, str] | tuple[str, ...]) -> Callable[[str], str | None]:
    return lambda text: text if text in names else None
