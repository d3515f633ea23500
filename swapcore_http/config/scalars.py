"""What does an unquoted word in YAML mean, and what may be asked of a value?

The rules are those of the loader that llama-swap's users write for, which
mixes YAML 1.1 and 1.2: `010` is eight, `1e3` a number, `yes` a word that is a
truth value only where one is asked for.
"""

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from swapcore_http.config.problems import describe

__all__ = [
    "Number",
    "ReadingError",
    "Whole",
    "as_free",
    "as_list",
    "as_number",
    "as_scalar",
    "as_table",
    "as_text",
    "as_truth",
    "as_whole",
    "resolve",
]

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
YES = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
NO = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF"})

PREFIXED = re.compile(r"([-+]?)0([xXoObB]?)([0-9a-fA-F]+)")
DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
BASES = {"": 8, "o": 8, "x": 16, "b": 2}
LONGEST_NUMBER = 400
LARGEST = 2**63 - 1


class ReadingError(ValueError):
    """A value is not of the kind that belongs where it stands."""


class Whole(int):
    """A whole number that was not written as Python would write it, such as `010` or `1_000`.

    It remembers its text, which counts where a name is asked for.
    """

    text: str

    def __new__(cls, value: int, text: str) -> Self:
        """Keep the text with the value."""
        number = super().__new__(cls, value)
        number.text = text
        return number


class Number(float):
    """A number with a fraction or an exponent.

    It remembers its text: where a name is asked for, the version `1.10` must
    not become `1.1`.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        """Read the text, from which underscores are left out."""
        number = super().__new__(cls, text.replace("_", ""))
        number.text = text
        return number


def resolve(text: str) -> object:
    """Say what an unquoted, untagged scalar means: null, a truth value, a number or its text."""
    if text in NULLS:
        return None
    if text in TRUTHS:
        return TRUTHS[text]
    if text[0] not in "+-.0123456789" or len(text) > LONGEST_NUMBER:
        return text
    plain = text.replace("_", "")
    if DECIMAL.fullmatch(plain):
        return _whole(int(plain), text)
    if match := PREFIXED.fullmatch(plain):
        # `09` has no meaning in base eight, but it can still be a float.
        with contextlib.suppress(ValueError):
            return _whole(int(match[1] + match[3], BASES[match[2].lower()]), text)
    if FLOAT.fullmatch(plain):
        return Number(text)
    if match := SPECIAL.fullmatch(text):
        return float("nan") if match[1] is None else float(match[1] + "inf")
    return text


def _whole(value: int, text: str) -> int:
    return value if str(value) == text else Whole(value, text)


def as_whole(value: object, expected: str, *, secret: bool = False) -> int:
    """Read a whole number; what follows the point of another number is cut off.

    Raises:
        ReadingError: it is no number, or one too large to count with.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ReadingError(_wrong(value, "a whole number", expected, secret=secret))
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise ReadingError(_wrong(value, "a whole number", expected, secret=secret)) from None
    if abs(number) > LARGEST:
        raise ReadingError(f"the number is too large; expected {expected}")
    return int(number)


def as_number(value: object, expected: str, *, secret: bool = False) -> float:
    """Read a number, with or without a fraction, that may be infinite.

    Raises:
        ReadingError: it is no number, or one too large to count with.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or (isinstance(value, float) and math.isnan(value))
    ):
        raise ReadingError(_wrong(value, "a number", expected, secret=secret))
    try:
        return float(value)
    except OverflowError:
        raise ReadingError(f"the number is too large; expected {expected}") from None


def as_truth(value: object, expected: str, *, secret: bool = False) -> bool:
    """Read a truth value, also one written as yes or no, on or off.

    Raises:
        ReadingError: it is none.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (value in YES or value in NO):
        return value in YES
    raise ReadingError(_wrong(value, "a truth value", expected, secret=secret))


def as_text(value: object, expected: str, *, secret: bool = False) -> str:
    """Read a text; a number or truth value is taken as it was written.

    Raises:
        ReadingError: it is a list or a mapping.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case Whole() | Number():
            return value.text
        case int() | float():
            return str(value)
        case _:
            raise ReadingError(_wrong(value, "a text", expected, secret=secret))


def as_list(value: object, expected: str, *, secret: bool = False) -> Sequence[object]:
    """Read a list.

    Raises:
        ReadingError: it is anything else.
    """
    if not isinstance(value, list):
        raise ReadingError(_wrong(value, "a list", expected, secret=secret))
    return value


def as_table(value: object, expected: str, *, secret: bool = False) -> Mapping[str, object]:
    """Read a mapping.

    Raises:
        ReadingError: it is anything else.
    """
    if not isinstance(value, dict):
        raise ReadingError(_wrong(value, "a mapping", expected, secret=secret))
    return value


def as_scalar(value: object, expected: str, *, secret: bool = False) -> str | int | float | bool:
    """Read a text, a number or a truth value.

    Raises:
        ReadingError: it is anything else.
    """
    match value:
        case Whole():
            return int(value)
        case Number():
            return float(value)
        case str() | int() | float():
            return value
        case _:
            raise ReadingError(_wrong(value, "a text, a number or a truth value", expected, secret=secret))


def as_free(value: object, expected: str) -> Any:
    """Read whatever YAML can say, as plain data that JSON can say as well.

    Raises:
        ReadingError: a number in it is infinite, or none at all.
    """
    match value:
        case Mapping():
            return {name: as_free(item, expected) for name, item in value.items()}
        case list():
            return [as_free(item, expected) for item in value]
        case Whole():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise ReadingError(f"{describe(value)} cannot be said in JSON; expected {expected}")
            return float(value)
        case _:
            return value


def _wrong(value: object, what: str, expected: str, *, secret: bool) -> str:
    return f"{describe(value, secret=secret)} is not {what}; expected {expected}"
