"""What stands in the text where it says `${env.NAME}`?

These are replaced before the text is YAML, so they work in keys, in lists and
as numbers. In comments they count for nothing. A value's backslashes and
double quotes are escaped, as they must be where the text has double quotes.
"""

import re
from collections.abc import Callable, Iterator, Mapping

from attrs import define, field, frozen

__all__ = ["Filled", "fill"]

REFERENCE = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
LINE_BREAK = re.compile("[\n\r\x00\x85\u2028\u2029]")
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")

MOST_CHARACTERS = 1_000_000
"""Characters a text may have with all its values."""


@frozen(eq=False, repr=False)
class Fault:
    """One reference that cannot be replaced, and where it begins and ends in the text."""

    start: int
    end: int
    message: str


@frozen(eq=False, repr=False)
class Piece:
    """One value in a line of the filled text: its columns there, from 1, and those of its reference."""

    start: int
    end: int
    original: int
    original_end: int


@define(eq=False, repr=False)
class Filled:
    """A text with values in it, and the way back to what was written."""

    text: str
    faults: list[Fault] = field(factory=list)
    values: dict[str, str] = field(factory=dict)
    """The values that are in it, by their names."""

    pieces: dict[int, list[Piece]] = field(factory=dict)
    """The values by their lines, from 1, in the order in which they stand."""

    def original(self, line: int, column: int) -> int:
        """Say in which column that was written which stands there now."""
        shift = 0
        for piece in self.pieces.get(line, ()):
            if column < piece.start:
                break
            if column < piece.end:
                return piece.original
            shift = piece.original_end - piece.end
        return column + shift


def fill(text: str, env: Mapping[str, str], is_read: Callable[[], Callable[[int], bool]]) -> Filled:
    """Replace the references in a text.

    Args:
        text: The text, of characters that YAML allows.
        env: The environment.
        is_read: Makes what tells whether the character there is read, and not part of a comment.
            It is asked only if something is wrong, since it takes time.
    """
    filled = Filled(text)
    if "${env." not in text:
        return filled
    parts: list[str] = []
    size = len(text)
    done = 0
    for match in REFERENCE.finditer(text):
        name = match[1]
        value, fault = _value(name, env)
        if fault is None:
            size += len(value) - len(match[0])
            if size > MOST_CHARACTERS:
                fault = f"with this value the text has more than {MOST_CHARACTERS} characters"
        if fault is not None:
            filled.faults.append(Fault(match.start(), match.end(), fault))
            if size > MOST_CHARACTERS:
                break
            continue
        filled.values[name] = value
        parts += text[done : match.start()], value
        done = match.end()
    filled.text = "".join((*parts, text[done:]))
    if filled.faults:
        read = is_read()
        filled.faults = [fault for fault in filled.faults if read(fault.start)]
    filled.pieces = _pieces(text, filled.values)
    return filled


def _value(name: str, env: Mapping[str, str], *, inner: bool = False) -> tuple[str, str | None]:
    """Find a value as it goes into the text, or what is wrong with it; no message shows it."""
    if name not in env:
        return "", f"the environment variable {name} is not set; expected a value, which may be empty"
    value = env[name]
    if LINE_BREAK.search(value):
        return "", f"the environment variable {name} has a line break or NUL in it; expected a single line"
    if FORBIDDEN.search(value):
        return "", f"the environment variable {name} has a character in it that YAML forbids"
    value = value.replace("\\", "\\\\").replace('"', '\\"')
    if inner:
        return value, None
    # A value may refer to others, but theirs to no more.
    parts: list[str] = []
    done = 0
    for match in REFERENCE.finditer(value):
        other, fault = _value(match[1], env, inner=True)
        if fault is not None:
            return "", f"in the value of {name}, {fault}"
        parts += value[done : match.start()], other
        done = match.end()
        if sum(map(len, parts)) > MOST_CHARACTERS:
            return "", f"the value of {name} stands for more than {MOST_CHARACTERS} characters"
    return "".join((*parts, value[done:])), None


def _pieces(text: str, values: Mapping[str, str]) -> dict[int, list[Piece]]:
    pieces: dict[int, list[Piece]] = {}
    for number, line in _lines_with_references(text):
        shift = 0
        for match in REFERENCE.finditer(line):
            if match[1] in values:
                start = match.start() + 1 + shift
                end = start + len(values[match[1]])
                pieces.setdefault(number, []).append(Piece(start, end, match.start() + 1, match.end() + 1))
                shift += len(values[match[1]]) - len(match[0])
    return pieces


def _lines_with_references(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(LINE_END.split(text), 1):
        if "${env." in line:
            yield number, line
