"""Where does an upstream's answer begin, and where does it end?

A pure state machine (RFC 9112) that is fed what a connection delivers, in
pieces of any size, and says which of the bytes are the answer's content. It
copies none of them. It is strict where two readers of the same bytes could see
different answers in them: two lengths, a folded field, a bare line feed.
"""

import re
from functools import lru_cache
from typing import Final

from attrs import define, field, frozen

__all__ = ["MAX_HEAD", "Fields", "Framing", "FramingError", "Head", "taken_whole"]

MAX_HEAD: Final = 256 * 1024
"""Bytes that a head, or what comes after the last chunk, may have."""

SMALL: Final = 1024
"""Bytes up to which a head is remembered: many answers begin with the same one."""

LENGTHLESS: Final = frozenset({101, 204, 304})
"""The statuses of answers that end with their heads, whatever these say of a length."""

MAX_SIZE_LINE: Final = 4096
"""Bytes of the line that says how long a chunk is; only extensions make it long."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_LINES = re.compile(rb"(?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*(" + _TEXT + rb")\r\n")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (" + _TEXT + rb"))?\r\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;" + _TEXT + rb")?\r\n")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_BARE = re.compile(rb"(?<!\r)\n")

Fields = tuple[tuple[bytes, bytes], ...]
"""Header fields as they came, in order: name and value."""

Spans = list[tuple[int, int]]
"""Where in a piece of data the content stands, as (start, end)."""


class FramingError(ValueError):
    """This is no answer, or it is not certain where it ends; the text repeats none of the bytes."""


@frozen(eq=False, repr=False)
class Ending:
    """What a head says about the end of its answer."""

    length: int | None
    chunked: bool
    tokens: frozenset[bytes]
    """What its `Connection` fields say, in lower case."""

    kept: bool
    """Whether the connection may serve another request after it."""


@define(eq=False, repr=False)
class Head:
    """The status line and the fields of an answer."""

    status: int
    reason: bytes
    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""

    fields: Fields
    is_small: bool = False
    """Whether it is one of those that are remembered."""

    _ending: Ending | None = field(default=None, init=False)

    def ending(self) -> Ending:
        """Say what ends the answer (RFC 9112, section 6.3).

        Raises:
            FramingError: that is not certain.
        """
        if self._ending is None:
            self._ending = _ending_of(self)
        return self._ending

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the field with that name, which is given in lower case."""
        return next((value for each, value in self.fields if each.lower() == name), None)


@define(eq=False, repr=False)
class Framing:
    """The answer to one request.

    After each call of `feed`, `start` and `end` say which part of the fed data
    is the answer's body as it is framed, and the spans that `feed` returns
    which parts of it are content.
    """

    _method: str
    """The method that was asked with: the answer to a HEAD has no body."""

    head: Head | None = field(default=None, init=False)
    """The final head, once it is there; interim answers (1xx) are passed over."""

    ended: bool = field(default=False, init=False)
    """Whether the answer is whole."""

    chunked: bool = field(default=False, init=False)
    """Whether the body comes in chunks."""

    until_close: bool = field(default=False, init=False)
    """Whether nothing but the end of the connection ends the body."""

    kept: bool = field(default=False, init=False)
    """Whether the connection may serve another request once the answer has ended."""

    start: int = field(default=0, init=False)
    end: int = field(default=0, init=False)

    _held: bytes = field(default=b"", init=False)
    """What has come of a line, or of the head, that is not whole."""

    _left: int = field(default=0, init=False)
    """Bytes of content to come, in this chunk or in all; -1 between a chunk's content and its line end."""

    _trailing: int | None = field(default=None, init=False)
    """How many bytes have come after the last chunk, once that has come."""

    def feed(self, data: bytes) -> Spans:
        """Take what has come.

        Bytes after `end`, once `ended`, belong to no answer: who sends them is
        not to be asked again on this connection.

        Raises:
            FramingError: what has come is malformed. Do not feed it any more.
        """
        if self.chunked and self._left == 0 and not self._held and self._trailing is None:
            # Almost every event comes as one whole chunk, and a look at its two ends shows that.
            size = len(data)
            line = _size_line(size)
            if line and data.startswith(line) and data.endswith(b"\r\n"):
                self.start, self.end = 0, size
                return [(len(line), size - 2)]
        position = 0
        if self.head is None:
            position = self._feed_head(data)
            if self.head is None:
                self.start = self.end = len(data)
                return []
        self.start = position
        if self.ended:
            self.end = position
            return []
        if self.chunked:
            return self._feed_chunks(data, position)
        size = len(data)
        if self.until_close:
            self.end = size
        else:
            self.end = min(size, position + self._left)
            self._left -= self.end - position
            self.ended = self._left == 0
        return [(position, self.end)] if self.end > position else []

    def finish(self, *, in_order: bool = True) -> None:
        """Take it that the connection has ended, in order or by a failure.

        Raises:
            FramingError: the answer is not whole.
        """
        if self.head is None:
            raise FramingError("the connection was closed before the answer began")
        if not self.ended and not (self.until_close and in_order):
            raise FramingError("the connection was closed before the answer ended")
        self.ended = True

    # The head

    def _feed_head(self, data: bytes) -> int:
        """Take data until the final head is there; return where in the data it ends."""
        before = len(self._held)
        block = self._held + data if before else data
        begin = 0
        while True:
            blank = block.find(b"\r\n\r\n", max(begin, before - 3))
            if blank < 0 or blank - begin > MAX_HEAD:
                self._held = block[begin:] if begin else block
                self._check_begun()
                return len(data)
            after = blank + 4
            parse = _remember if after - begin <= SMALL else _parse
            head = parse(block[begin:after])
            if head.status >= 200 or head.status == 101:  # noqa: PLR2004 - what is lower is interim.
                break
            begin = after
        self._held = b""
        self.head = head
        self._decide(head)
        return after - before

    def _check_begun(self) -> None:
        """Refuse what can become no head, before it has ended: perhaps it never does."""
        held = self._held
        if len(held) > MAX_HEAD:
            raise FramingError(f"Its head is longer than {MAX_HEAD} bytes")
        if not held.startswith(b"HTTP/1.") and not b"HTTP/1.".startswith(held):
            raise FramingError("Bad status line")
        if _BARE.search(held):
            raise FramingError("Bare line feed in its head")

    def _decide(self, head: Head) -> None:
        """Find out what ends the body."""
        ending = head.ending()
        self.kept = ending.kept
        if self._method == "HEAD" or head.status in LENGTHLESS:
            self.ended = True
        elif ending.chunked:
            self.chunked = True
        elif ending.length is not None:
            self._left = ending.length
            self.ended = ending.length == 0
        else:
            self.until_close = True
            self.kept = False

    # Chunks

    def _feed_chunks(self, data: bytes, position: int) -> Spans:
        spans: Spans = []
        size = len(data)
        while position < size and not self.ended:
            left = self._left
            if left > 0:
                stop = position + left
                if data[stop : stop + 2] == b"\r\n":
                    # The rest of the chunk is here, its line end too: how almost all come.
                    spans.append((position, stop))
                    self._left = 0
                    position = stop + 2
                    continue
                stop = min(size, stop)
                spans.append((position, stop))
                self._left = left - (stop - position) or -1
                position = stop
            elif left < 0:
                position = self._feed_line_end(data, position)
            elif self._trailing is not None:
                position = self._feed_trailer(data, position)
            elif not self._held and (match := _SIZE.match(data, position)):
                self._begin_chunk(match)
                position = match.end()
            else:
                line, position = self._feed_line(data, position, MAX_SIZE_LINE)
                if line is not None:
                    match = _SIZE.fullmatch(line)
                    if match is None:
                        raise FramingError("Bad chunk size")
                    self._begin_chunk(match)
        self.end = position
        return spans

    def _begin_chunk(self, match: re.Match[bytes]) -> None:
        self._left = int(match[1], 16)
        if self._left == 0:
            self._trailing = 0

    def _feed_line_end(self, data: bytes, position: int) -> int:
        """Take the line end after a chunk's content, which can come in two pieces."""
        came = self._held + data[position : position + 2 - len(self._held)]
        if not b"\r\n".startswith(came):
            raise FramingError("A chunk is longer than its size")
        taken = position + len(came) - len(self._held)
        whole = len(came) == 2  # noqa: PLR2004 - the line end's length.
        self._held = b"" if whole else came
        if whole:
            self._left = 0
        return taken

    def _feed_trailer(self, data: bytes, position: int) -> int:
        before = position
        line, position = self._feed_line(data, position, MAX_HEAD)
        self._trailing = (self._trailing or 0) + position - before
        if self._trailing > MAX_HEAD:
            raise FramingError("Too much after the last chunk")
        if line == b"\r\n":
            self.ended = True
        elif line is not None and not _FIELD.fullmatch(line):
            raise FramingError("Malformed trailer field")
        return position

    def _feed_line(self, data: bytes, position: int, limit: int) -> tuple[bytes | None, int]:
        """Take the rest of a line; it is None if its end has not come."""
        found = data.find(b"\n", position)
        stop = len(data) if found < 0 else found + 1
        line = self._held + data[position:stop]
        if len(line) > limit:
            raise FramingError("Overlong line between chunks")
        self._held = line if found < 0 else b""
        return (None if found < 0 else line), stop


@lru_cache(maxsize=256)
def _size_line(length: int) -> bytes:
    """Write the first line of the chunk that has so many bytes in all; empty if none with content has."""
    for digits in range(1, 9):
        content = length - digits - len(b"\r\n\r\n")
        line = b"%x\r\n" % max(0, content)
        if content > 0 and len(line) == digits + 2:
            return line
    return b""


def taken_whole(data: bytes) -> tuple[Head, int] | None:
    """Take apart an answer that has come in one piece and says how long it is, as most short ones do.

    Args:
        data: What has come in answer to anything but a HEAD.

    Returns:
        Its head, and where in the data its content begins; `None` if it takes a `Framing` to tell.
    """
    blank = data.find(b"\r\n\r\n", 0, SMALL)
    if blank < 0:
        return None
    start = blank + 4
    try:
        head = _remember(data[:start])
        ending = head.ending()
    except FramingError:
        return None
    is_final = head.status >= 200 and head.status not in LENGTHLESS  # noqa: PLR2004 - what is lower is interim.
    return (head, start) if is_final and ending.kept and ending.length == len(data) - start else None


def _parse(block: bytes) -> Head:
    """Read a whole head, its empty line included."""
    status = _STATUS.match(block)
    if status is None:
        raise FramingError("Bad status line")
    lines = _LINES.match(block, status.end())
    if lines is None or lines.end() != len(block) - 2:
        raise FramingError("Malformed header field")
    fields = _FIELD.findall(block, status.end())
    if b" \r\n" in block or b"\t\r\n" in block:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    return Head(int(status[2]), status[3] or b"", int(status[1]), tuple(fields), len(block) <= SMALL)


_remember = lru_cache(maxsize=64)(_parse)


def _ending_of(head: Head) -> Ending:
    lengths: list[bytes] = []
    codings: list[bytes] = []
    tokens: list[bytes] = []
    for name, value in head.fields:
        lower = name.lower()
        if lower == b"content-length":
            lengths.append(value)
        elif lower == b"transfer-encoding":
            codings.append(value)
        elif lower == b"connection":
            tokens += [token.strip().lower() for token in value.split(b",")]
    if len(lengths) > 1:
        raise FramingError("More than one Content-Length")
    if lengths and codings:
        raise FramingError("Both Content-Length and Transfer-Encoding")
    if lengths and not _DIGITS.fullmatch(lengths[0]):
        raise FramingError("Bad Content-Length")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise FramingError("Unknown Transfer-Encoding")
    kept = b"close" not in tokens if head.minor else b"keep-alive" in tokens and not codings
    return Ending(int(lengths[0]) if lengths else None, bool(codings), frozenset(tokens), kept)
