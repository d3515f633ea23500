"""How is a value of a known type written as plain JSON data, and read back?

The types decide, and nothing else: every attrs class, enumeration and
container that a hint can name is understood, so a new field or a new message
needs no line here. What is read is checked against its type.

Planners are code. Those of `swapcore.planning` are written by name, with their
arguments if they have any; all others by name alone, and read as a
`NamedPlanner`, which whoever reads has to put the planner itself in place of.
"""

import enum
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal, Union

import attrs
from attrs import frozen

from swapcore import planning
from swapcore.errors import SwapcoreError
from swapcore.planning import Plan, Planner

__all__ = ["Codec", "NamedPlanner", "UnreadableError", "codec", "union"]

_WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
"""Floats that JSON has no numbers for."""


class UnreadableError(SwapcoreError):
    """Data is not what its type asks for; the text says where and why."""


@frozen
class Codec:
    """Both ways between the values of one type and JSON data."""

    write: Callable[[Any], Any]
    """Makes data of a value; a value of another type raises whatever it happens to."""

    read: Callable[[Any], Any]
    """Makes a value of data. Raises `UnreadableError`."""


@frozen
class NamedPlanner:
    """Stands for a planner of which only the name is known; it cannot plan."""

    name: str
    """Its module and its name in it, with a colon between them."""

    def __call__(self, *_: object) -> Plan:
        """Refuse to answer."""
        raise SwapcoreError(f"the planner {self.name} is only known by name")


@cache
def codec(hint: Any) -> Codec:
    """Return the codec for the values that a type hint allows.

    Attrs classes become objects with a key for each argument of theirs; one
    that is missing takes its default. Several attrs classes to choose from
    become pairs of a name and such an object. Enumerations are written by
    value, mappings with keys other than strings as lists of pairs, and floats
    that JSON has no number for as words.

    Raises:
        TypeError: there is no telling how values of this type are written.
    """
    if hint is None or hint is type(None):
        return _plain(type(None), "null")
    if hint is Any:
        return Codec(lambda value: value, lambda data: data)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hint is Planner:
        return Codec(_write_planner, _read_planner)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return Codec(lambda value: value.value, lambda data: _member(hint, data))
    if isinstance(hint, type) and attrs.has(hint):
        return _record(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return _choice(arguments)
    if origin is Literal:
        return Codec(lambda value: value, lambda data: _one_of(arguments, data))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _fixed(arguments)
    if origin in {tuple, list, set, frozenset, Sequence}:
        return _collection(tuple if origin is Sequence else origin, arguments[0])
    if origin in {dict, Mapping}:
        return _mapping(*arguments)
    raise TypeError(f"no way to write {hint}")


@cache
def union(hint: Any) -> Mapping[str, Codec]:
    """Return the codecs of the attrs classes that a union names, by their names."""
    return {one.__name__: codec(one) for one in typing.get_args(hint)}


def _plain(kind: type | tuple[type, ...], name: str) -> Codec:
    def read(data: Any) -> Any:
        # JSON's true and false are no numbers, though Python's are.
        if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
            raise UnreadableError(f"expected {name}, found {_shown(data)}")
        return data

    return Codec(lambda value: value, read)


def _write_float(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _read_float(data: Any) -> float:
    if isinstance(data, str) and data in _WORDS:
        return _WORDS[data]
    if isinstance(data, bool) or not isinstance(data, int | float):
        raise UnreadableError(f"expected a number, found {_shown(data)}")
    try:
        return float(data)
    except OverflowError:
        raise UnreadableError(f"{_shown(data)} is too large") from None


_SCALARS = {
    bool: _plain(bool, "true or false"),
    int: _plain(int, "a whole number"),
    str: _plain(str, "a string"),
    float: Codec(_write_float, _read_float),
}


def _member(kind: type[enum.Enum], data: Any) -> enum.Enum:
    try:
        return kind(data)
    except ValueError:
        raise UnreadableError(f"{_shown(data)} is no {kind.__name__}") from None


def _one_of(allowed: tuple[Any, ...], data: Any) -> Any:
    if data not in allowed:
        raise UnreadableError(f"{_shown(data)} is none of {', '.join(map(repr, allowed))}")
    return data


def _record(kind: type) -> Codec:
    fields = cache(lambda: tuple(_fields(kind)))  # Not yet: the class may name itself.

    def write(value: Any) -> dict[str, Any]:
        return {key: inner.write(getattr(value, name)) for key, name, inner, _ in fields()}

    def read(data: Any) -> Any:
        given = dict(_object(data))
        arguments = {}
        for key, _, inner, required in fields():
            if key in given:
                arguments[key] = _at(key, inner, given.pop(key))
            elif required:
                raise UnreadableError(f"{kind.__name__} lacks {key!r}")
        if given:
            raise UnreadableError(f"{kind.__name__} has no field {_shown(next(iter(given)))}")
        try:
            return kind(**arguments)
        except (SwapcoreError, ValueError) as error:
            raise UnreadableError(str(error)) from error

    return Codec(write, read)


def _fields(kind: type) -> typing.Iterator[tuple[str, str, Codec, bool]]:
    hints = typing.get_type_hints(kind)
    for one in attrs.fields(kind):
        if one.init:
            yield one.alias, one.name, codec(hints[one.name]), one.default is attrs.NOTHING


def _choice(kinds: tuple[Any, ...]) -> Codec:
    rest = tuple(kind for kind in kinds if kind is not type(None))
    if len(rest) == 1:
        inner = codec(rest[0])
    else:
        named = cache(lambda: {kind.__name__: codec(kind) for kind in rest})  # Not yet: as in `_record`.
        if not all(isinstance(kind, type) and attrs.has(kind) for kind in rest):
            raise TypeError(f"no telling {' | '.join(map(str, kinds))} apart")
        inner = Codec(
            lambda value: [type(value).__name__, named()[type(value).__name__].write(value)],
            lambda data: _named(named(), data),
        )
    if len(rest) == len(kinds):
        return inner
    return Codec(
        lambda value: None if value is None else inner.write(value),
        lambda data: None if data is None else inner.read(data),
    )


def _named(kinds: Mapping[str, Codec], data: Any) -> Any:
    match data:
        case [str(name), body] if name in kinds:
            return _at(name, kinds[name], body)
        case _:
            raise UnreadableError(f"expected one of {', '.join(kinds)}, found {_shown(data)}")


def _fixed(kinds: tuple[Any, ...]) -> Codec:
    inner = [codec(kind) for kind in kinds]

    def read(data: Any) -> tuple[Any, ...]:
        if len(_array(data)) != len(inner):
            raise UnreadableError(f"expected {len(inner)} values, found {_shown(data)}")
        return tuple(_at(nth, one, value) for nth, (one, value) in enumerate(zip(inner, data, strict=True)))

    return Codec(lambda value: [one.write(part) for one, part in zip(inner, value, strict=True)], read)


def _collection(kind: Callable[[list[Any]], Any], of: Any) -> Codec:
    inner = codec(of)
    ordered = sorted if kind in {set, frozenset} else list
    return Codec(
        lambda value: [inner.write(one) for one in ordered(value)],
        lambda data: kind([_at(nth, inner, one) for nth, one in enumerate(_array(data))]),
    )


def _mapping(keys: Any, values: Any) -> Codec:
    if keys is not str:
        pairs = codec(tuple[tuple[keys, values], ...])
        return Codec(lambda value: pairs.write(value.items()), lambda data: dict(pairs.read(data)))
    inner = codec(values)
    return Codec(
        lambda value: {key: inner.write(one) for key, one in value.items()},
        lambda data: {key: _at(key, inner, one) for key, one in _object(data).items()},
    )


def _write_planner(planner: Any) -> dict[str, Any]:
    if isinstance(planner, NamedPlanner):
        return {"name": planner.name}
    named = planner if hasattr(planner, "__qualname__") else type(planner)
    name = named.__qualname__
    if getattr(planning, name, None) is not named:
        return {"name": f"{named.__module__}:{name}"}
    if named is planner:
        return {"name": name}
    return {"name": name, "arguments": codec(named).write(planner)}


def _read_planner(data: Any) -> Any:
    match data:
        case {"name": str(name), **rest} if ":" in name and not rest:
            return NamedPlanner(name)
        case {"name": str(name), **rest} if name in planning.__all__:
            named = getattr(planning, name)
            if isinstance(named, types.FunctionType) and not rest:
                return named
            if isinstance(named, type) and hasattr(named, "__call__") and list(rest) == ["arguments"]:  # noqa: B004 - asks for its instances.
                return _at(name, codec(named), rest["arguments"])
    raise UnreadableError(f"{_shown(data)} is no planner that swapcore has")


def _array(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise UnreadableError(f"expected a list, found {_shown(data)}")
    return data


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise UnreadableError(f"expected an object, found {_shown(data)}")
    return data


def _at(where: object, inner: Codec, data: Any) -> Any:
    try:
        return inner.read(data)
    except UnreadableError as error:
        raise UnreadableError(f"{where}: {error}") from error


def _shown(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else text[:60] + "…"  # noqa: PLR2004 - enough to find it by.
