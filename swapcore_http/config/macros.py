"""What does `${NAME}` in a configuration stand for?

Three names are always known: `${MODEL_ID}` anywhere in a model, `${PORT}` in a
model whose `cmd` has it, and `${PID}` in `cmdStop` and `afterStop`. A file may declare others,
which `expanding` replaces. What looks like a macro and is none is refused, for
it would reach a command line as it is.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType, NoneType
from typing import Any

import attrs

from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.problems import nearest

__all__ = [
    "MODEL_ID",
    "PID",
    "PORT",
    "REFERENCE",
    "MacroValue",
    "as_text",
    "leftovers",
    "mentions",
    "substituted",
    "unknown",
]

MODEL_ID = "${MODEL_ID}"
PORT = "${PORT}"
PID = "${PID}"

MacroValue = str | int | float | bool
"""What a macro may stand for."""

LEAST_EXPONENT, LARGEST_EXPONENT = -4, 5
"""Numbers beyond these powers of ten are written with an exponent."""

REFERENCE = re.compile(r"\$\{(?:[A-Za-z0-9_-]+|env\.[A-Za-z_][A-Za-z0-9_]*)\}")


def substituted(value: Any, values: Mapping[str, MacroValue]) -> Any:
    """Replace these references wherever they stand in a value, which may be a record.

    Texts stay texts. What is nothing but a reference in a table of whatever
    YAML can say becomes what it stands for, with its type. A value without
    any reference comes back itself.
    """
    if not mentions(value):
        return value
    match value:
        case str():
            return _text(value, values)
        case tuple():
            return tuple(substituted(item, values) for item in value)
        case Mapping():
            return _typed(value, values)
        case _:
            fields = ((name, kind, getattr(value, name)) for name, kind in kinds_of(type(value)).items())
            changes = {
                name: _renamed(old, values) if kind.shape is Shape.FREE_TABLES else substituted(old, values)
                for name, kind, old in fields
            }
            return attrs.evolve(value, **changes)


PLAIN = frozenset({bool, float, int, NoneType})


def mentions(value: Any) -> bool:
    """Tell whether there may be any reference in a value at all: in most there is none."""
    kind = type(value)
    if kind is str:
        return "${" in value
    if kind in PLAIN or not value:
        return False
    if kind is tuple or kind is list:
        return any(map(mentions, value))
    if kind is MappingProxyType or kind is dict:
        return any(map(mentions, value)) or any(map(mentions, value.values()))
    return attrs.has(kind) and any(mentions(getattr(value, name)) for name in kinds_of(kind))


def _text(text: str, values: Mapping[str, MacroValue]) -> str:
    if "${" not in text:
        return text
    for reference, meant in values.items():
        if reference in text:
            text = text.replace(reference, as_text(meant))
    return text


def _typed(value: Any, values: Mapping[str, MacroValue]) -> Any:
    match value:
        case str():
            return values[value] if value in values else _text(value, values)
        case list() | tuple():
            return [_typed(item, values) for item in value]
        case Mapping():
            return {name: _typed(item, values) for name, item in value.items()}
        case _:
            return value


def _renamed(tables: Mapping[str, Any], values: Mapping[str, MacroValue]) -> dict[str, Any]:
    return {_text(name, values): _typed(table, values) for name, table in tables.items()}


def as_text(value: MacroValue) -> str:
    """Write a value as it stands within a text: as Go does, where a number needs an exponent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value) if isinstance(value, str) else str(int(value))
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = repr(float(value))
    digits = shortest.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    scientific = f"{value:.{len(digits) - 1}e}"
    if LEAST_EXPONENT <= int(scientific.partition("e")[2]) <= LARGEST_EXPONENT:
        return shortest.removesuffix(".0")
    return scientific


def leftovers(text: str, known: Collection[str], *, in_model: bool = True) -> Iterator[tuple[str, str]]:
    """Find each macro in the text that is not known there, and say what is wrong with it."""
    if "${" not in text:
        return
    for name in dict.fromkeys(REFERENCE.findall(text)):
        if name not in known:
            yield name, unknown(name, (), in_model=in_model)


def unknown(reference: str, declared: Iterable[str], *, in_model: bool) -> str:
    """Say what is wrong with a macro where nothing is known that it stands for."""
    match reference:
        case "${PID}" | "${PORT}" | "${MODEL_ID}" if not in_model:
            return f"{reference} is known inside a model only"
        case "${PID}":
            return f"{PID} is known in cmdStop and afterStop only"
        case "${PORT}":
            return f"contains {PORT}, but cmd does not; expected {PORT} in cmd too, or a fixed value here"
        case _ if reference.startswith("${env."):
            return (
                f"{reference} came here by expansion, and is not expanded again; expected it where it is used"
            )
        case _:
            meant = nearest(reference[2:-1], declared)
            hint = f" (did you mean ${{{meant}}}?)" if meant else ""
            rest = f", {PORT}, {MODEL_ID} or, in cmdStop and afterStop, {PID}" if in_model else ""
            return f"unknown macro {reference}{hint}; expected a name under macros{rest}"
