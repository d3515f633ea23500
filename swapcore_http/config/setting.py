"""How does a field of a record say how it is written in YAML, and what may stand there?"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

import attrs
from attrs import frozen

from swapcore_http.config.problems import ConfigError, Path, Problem, Severity, dotted

__all__ = [
    "Setting",
    "free_table",
    "keyed",
    "number_table",
    "settings_of",
    "text_table",
    "texts",
    "whole_table",
    "without_blanks",
    "written",
]

Record = TypeVar("Record")


@frozen(eq=False, repr=False)
class Setting:
    """How a field is written in YAML."""

    key: str
    """Its key; dots lead into nested mappings."""

    expected: str
    """What may stand there, as error messages say it."""

    minimum: int | None = None
    maximum: int | None = None
    secret: bool = False
    """Whether its values are never shown."""

    choices: tuple[str, ...] = ()
    """The only texts that may stand there, if that is so."""

    each: str = ""
    """Where records are written by their names: what is expected of one."""

    legacy: str = ""
    """An older key, which counts where this one is not written or says nothing."""

    from_start: bool = False
    """Whether its value as the server starts holds until that ends; another one waits for the next start."""


def written(
    key: str,
    expected: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    secret: bool = False,
    choices: tuple[str, ...] = (),
    each: str = "",
    legacy: str = "",
    from_start: bool = False,
) -> dict[type, Setting]:
    """Make the metadata of a field that stands in YAML under `key`."""
    return {Setting: Setting(key, expected, minimum, maximum, secret, choices, each, legacy, from_start)}


def settings_of(cls: type[attrs.AttrsInstance]) -> dict[str, Setting]:
    """Find the settings of a class by the names of their fields."""
    return _settings_of(cls)


@cache
def _settings_of(cls: Any) -> dict[str, Setting]:
    return {each.name: each.metadata[Setting] for each in attrs.fields(cls) if Setting in each.metadata}


def texts(value: Iterable[str]) -> tuple[str, ...]:
    """Make a tuple of texts, but not of the letters of one.

    Raises:
        TypeError: it is a single text.
    """
    if isinstance(value, str):
        raise TypeError(f"expected a list of texts, got the text {value!r}")
    return tuple(value)


def without_blanks(value: Iterable[str]) -> tuple[str, ...]:
    """Make a tuple of trimmed texts, without empty ones and without those that differ in case alone."""
    trimmed = (text.strip() for text in texts(value))
    first: dict[str, str] = {}
    for text in trimmed:
        if text:
            first.setdefault(text.casefold(), text)
    return tuple(first.values())


def free_table(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make a mapping of whatever YAML can say that nobody can change, in the same order."""
    return MappingProxyType(dict(value))


def text_table(value: Mapping[str, str]) -> Mapping[str, str]:
    """Make a mapping that nobody can change, in the same order."""
    return MappingProxyType(dict(value))


def number_table(value: Mapping[str, float]) -> Mapping[str, float]:
    """Do the same for numbers: mypy wants no generic converters."""
    return MappingProxyType(dict(value))


def whole_table(value: Mapping[str, int]) -> Mapping[str, int]:
    """Do the same for whole numbers."""
    return MappingProxyType(dict(value))


def keyed(
    records: Iterable[Record] | Mapping[str, Record], section: str, attribute: str, noun: str
) -> Mapping[str, Record]:
    """Make a mapping of records by what they are called that nobody can change.

    Args:
        records: The records, or a mapping of them.
        section: Where they stand in a configuration.
        attribute: The one that holds a record's name.
        noun: What a record is, in messages.

    Raises:
        ConfigError: two are called the same, or one is not under its own name.
    """
    pairs: Iterable[tuple[str, Record]] = (
        records.items()
        if isinstance(records, Mapping)
        else ((getattr(record, attribute), record) for record in records)
    )
    result: dict[str, Record] = {}
    for name, record in pairs:
        own = getattr(record, attribute)
        if name != own:
            what = f"holds the {noun} {own!r}; expected the same {attribute} in both places"
            raise _error((section, name), what)
        if name in result:
            raise _error((section, name), f"two {noun}s have this {attribute}")
        result[name] = record
    return MappingProxyType(result)


def _error(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(Severity.ERROR, dotted(path), message)])
