"""Which model does a body name that is too large to be read at once?

It is looked through in windows, so that neither the memory nor everybody else
has to do with its size. Less is asked of it than of a small body: of a JSON
text only the brackets and quotes are looked at, up to the first `model`, and
whether the rest is JSON is for the upstream to say.
"""

import json
import re
from collections.abc import Callable, Iterator

from attrs import define

__all__ = ["Windows", "find_member"]

WINDOW = 256 * 1024
"""Bytes that are looked at at a time."""

LONGEST_NAME = 4096
"""Bytes that a member's name may have, or a value that is asked for."""

MOST_TOKENS = 5_000_000
"""Brackets and quotes that are looked at: some seconds' worth."""

SHALLOW = re.compile(rb'["{}\[\],:]')
DEEP = re.compile(rb'["{}\[\]]')
SPACE = b" \t\r\n"
BOM = b"\xef\xbb\xbf"


@define(eq=False, repr=False)
class Windows:
    """Bytes that are read piece by piece, with as much of what bytes can do as is needed here."""

    _read: Callable[[int, int], bytes]
    _length: int

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> bytes:
        """Read a part; a step is not understood."""
        start, end, _ = part.indices(self._length)
        pieces = []
        while start < end:
            piece = self._read(start, end - start)
            if not piece:
                break
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def startswith(self, what: bytes, start: int = 0) -> bool:
        """Tell whether that stands there."""
        return self[start : start + len(what)] == what

    def find(self, what: bytes, start: int = 0, end: int | None = None) -> int:
        """Find where that first stands whole between the two places, or -1."""
        stop = self._length if end is None else min(end, self._length)
        while start + len(what) <= stop:
            window = self[start : min(start + WINDOW + len(what) - 1, stop)]
            found = window.find(what)
            if found >= 0:
                return start + found
            start += WINDOW
        return -1

    def lstrip(self) -> bytes:
        """Read what comes first after the space at the start, if that comes soon."""
        return self[0:WINDOW].lstrip()


def find_member(body: Windows, wanted: str) -> tuple[object, int, int] | None:
    """Find the first member of that name in the object that the body is.

    Returns:
        Its value, with everything but texts as the text that was written, and
        where that starts and ends; None if there is no such member.
    """
    names = False
    name: str | None = None
    value_start: int | None = None
    for token, start, end, depth in _tokens(body):
        if token in b"{[":
            if depth == 0 and (token != b"{" or body[0 : min(start, WINDOW)].strip(SPACE) not in {b"", BOM}):
                return None
            names = names or depth == 0
        elif depth == 1 and token == b'"' and names:
            name = _text(body, start, end)
        elif depth == 1 and token == b":" and names:
            names = False
            value_start = end if name == wanted else None
        elif token in b"}]" or (depth == 1 and token == b","):
            if depth == 1:
                if value_start is not None:
                    return _value(body, value_start, start)
                names, name = True, None
            if depth <= 1 and token != b",":
                return None
    return None


def _tokens(body: Windows) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield brackets and whole texts, with where they start and end and how many brackets are open.

    Outside of all brackets and within one, commas and colons are yielded too.
    """
    position, base, depth, window = 0, 0, 0, body[0:WINDOW]
    for _ in range(MOST_TOKENS):
        while (match := (SHALLOW if depth <= 1 else DEEP).search(window, position - base)) is None:
            base += len(window)
            position = base
            window = body[base : base + WINDOW]
            if not window:
                return
        token, start = match[0], base + match.start()
        position = start + 1
        if token == b'"':
            end = _end_of_text(body, window, base, position)
            if end < 0:
                return
            position = end
            if position - base >= len(window):
                base = position
                window = body[base : base + WINDOW]
                if not window:
                    yield token, start, position, depth
                    return
        yield token, start, position, depth
        depth += (token in b"{[") - (token in b"}]")


def _end_of_text(body: Windows, window: bytes, base: int, start: int) -> int:
    """Find where the text ends whose opening quote stands before that place."""
    position = start
    escaped = False
    while window:
        if escaped:
            position += 1
            escaped = False
        while (quote := window.find(b'"', position - base)) >= 0:
            before = window[position - base : quote]
            if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:
                return base + quote + 1
            position = base + quote + 1
        rest = window[position - base :]
        escaped = (len(rest) - len(rest.rstrip(b"\\"))) % 2 == 1
        base += len(window)
        position = base
        window = body[base : base + WINDOW]
    return -1


def _text(body: Windows, start: int, end: int) -> str | None:
    """Read a text, unless it is too long for the name of anything."""
    if end - start > LONGEST_NAME:
        return None
    try:
        return str(json.loads(body[start:end].decode("utf-8", "surrogateescape"), strict=False))
    except ValueError:
        return None


def _value(body: Windows, start: int, end: int) -> tuple[object, int, int]:
    head = body[start : min(end, start + LONGEST_NAME)]
    tail = body[max(start, end - LONGEST_NAME) : end]
    start += len(head) - len(head.lstrip(SPACE))
    end -= len(tail) - len(tail.rstrip(SPACE))
    written = body[start : min(end, start + LONGEST_NAME)].decode("utf-8", "surrogateescape")
    value: object = written
    if written.startswith('"'):
        value = _text(body, start, end)
    elif written == "null":
        value = None
    return value, start, end
