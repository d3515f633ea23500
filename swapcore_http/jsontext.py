"""What stands where in a JSON text, which may be malformed?

Values are read by the standard library's parser. Where they start and end is
what matters here, so that something can change and every other byte stay.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

__all__ = ["DECODER", "Member", "decoded", "members", "offsets", "skip"]

# Numbers stay text: their values are of no interest, and huge ones are costly to convert.
# Control characters in texts are what people type; whoever minds them will say so.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, strict=False)

_SPACE = re.compile(r"\ufeff?[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[][{},]', re.DOTALL)


def decoded(body: bytes) -> str:
    """Turn bytes into a text from which the same bytes can be made, whether they are UTF-8 or not."""
    return body.decode("utf-8", "surrogateescape")


def offsets(text: str, body: bytes, positions: Sequence[int]) -> Iterator[int]:
    """Yield the offsets in bytes of ascending positions in the text that was decoded from the body."""
    if len(text) == len(body):
        yield from positions
        return
    offset = done = 0
    for position in positions:
        # Each stretch is encoded once, however often positions repeat.
        offset += len(text[done:position].encode("utf-8", "surrogateescape"))
        done = position
        yield offset


@frozen(eq=False, repr=False)
class Member:
    """A member of an object, or an item of an array, and where it stands."""

    key: str
    """Its name; of items of arrays, an empty text."""

    value: Any
    """What it says, with numbers as texts; None if it cannot be read."""

    start: int
    """Where it starts, its name included."""

    value_start: int
    end: int


def members(text: str, start: int = 0, *, end: int | None = None, lenient: bool = False) -> Iterator[Member]:
    """Yield the members of the object, or the items of the array, that a text is.

    Args:
        text: The text.
        start: Where the value starts, or the space before it.
        end: Where nothing more may follow it; the end of the text unless given.
        lenient: Whether a value that cannot be read is passed over, if its end can be told.

    Raises:
        JSONDecodeError: it is not valid JSON; what comes before that has been yielded.
        RecursionError: it is nested too deeply.
    """
    position = skip(text, start)
    closing = {"{": "}", "[": "]"}.get(text[position : position + 1])
    if closing is None:
        _, position = DECODER.raw_decode(text, position)
    else:
        position = skip(text, position + 1)
        more = text[position : position + 1] != closing
        while more:
            member, position = _member(text, position, named=closing == "}", lenient=lenient)
            yield member
            position = skip(text, position)
            more = text[position : position + 1] == ","
            if more:
                position = skip(text, position + 1)
        position = _expect(text, position, closing)
    position = skip(text, position)
    if end is None and position != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _member(text: str, start: int, *, named: bool, lenient: bool) -> tuple[Member, int]:
    key, position = "", start
    if named:
        if text[start : start + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, start)
        key, position = DECODER.raw_decode(text, start)
        position = skip(text, _expect(text, skip(text, position), ":"))
    try:
        value, end = DECODER.raw_decode(text, position)
    except (json.JSONDecodeError, RecursionError):
        if not lenient or (passed := _passed_over(text, position)) is None:
            raise
        value, end = None, passed
    return Member(key, value, start, position, end), end


def _passed_over(text: str, start: int) -> int | None:
    """Find where a value that cannot be read ends, by its brackets; None if that cannot be told."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        match token[0]:
            case "[" | "{":
                depth += 1
            case "]" | "}" if depth:
                depth -= 1
            case "," | "]" | "}" if not depth:
                return token.start()
    return None


def skip(text: str, position: int) -> int:
    """Say where the space that starts there ends."""
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _expect(text: str, position: int, mark: str) -> int:
    if text[position : position + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, position)
    return position + 1
