"""Of which kind is a setting, by the type of its field?

The types say all: what reads YAML, writes it, checks it and describes it asks
here instead of having tables of its own.
"""

import enum
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from attrs import frozen

from swapcore_http.config.setting import settings_of

__all__ = ["Kind", "Shape", "kind_of", "kinds_of"]


class Shape(enum.Enum):
    """How values of a kind are put together."""

    ONE = "one"
    """A text, a number or a truth value."""

    LIST = "list"
    """A list of texts."""

    TABLE = "table"
    """Texts or numbers by names."""

    RECORD = "record"
    """One record, which has settings itself."""

    RECORDS = "records"
    """Records by their names."""

    RECORD_LIST = "list of records"
    """Records in a list; a text is short for one that says nothing else."""

    FREE = "free"
    """Whatever YAML can say, by names."""

    FREE_TABLES = "free tables"
    """Mappings of whatever YAML can say, by names."""


@frozen(eq=False, repr=False)
class Kind:
    """The shape of a setting's values, and the type of what is in them."""

    shape: Shape
    of: Any
    """That type; `object` for texts, numbers and truth values alike."""

    optional: bool = False
    words: tuple[str, ...] = ()
    """Texts that may stand there instead."""


def kind_of(annotation: Any) -> Kind:
    """Say which kind the type of a field stands for."""
    optional, words = False, ()
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        optional = len(parts) < len(get_args(annotation))
        words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
        (annotation,) = (part for part in parts if get_origin(part) is not Literal)
    return attrs.evolve(_plain(annotation), optional=optional, words=words)


def _plain(annotation: Any) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple:
        shape = Shape.RECORD_LIST if attrs.has(arguments[0]) else Shape.LIST
        return Kind(shape, arguments[0])
    if origin is Mapping:
        value = arguments[1]
        if attrs.has(value):
            return Kind(Shape.RECORDS, value)
        if value is Any:
            return Kind(Shape.FREE, Any)
        if get_origin(value) is Mapping:
            return Kind(Shape.FREE_TABLES, Any)
        return Kind(Shape.TABLE, object if get_origin(value) is types.UnionType else value)
    return Kind(Shape.RECORD if attrs.has(annotation) else Shape.ONE, annotation)


def kinds_of(cls: type[attrs.AttrsInstance]) -> dict[str, Kind]:
    """Find the kinds of a class's settings by the names of their fields."""
    return _kinds_of(cls)


@cache
def _kinds_of(cls: Any) -> dict[str, Kind]:
    types_ = {each.name: each.type for each in attrs.fields(cls)}
    return {name: kind_of(types_[name]) for name in settings_of(cls)}
