"""What is kept of an answer of any length, so that its numbers can be found when it is over?

Its first bytes and its last ones: usage stands in the first event of a
stream, in the last, or at either end of one JSON object.
"""

from attrs import define, field

__all__ = ["HEAD", "TAIL", "Ends"]

HEAD = 4 * 1024
"""Bytes from the start of an answer that are kept."""

TAIL = 16 * 1024
"""Bytes from the end of it that are kept."""

SLACK = 8 * 1024
"""Bytes that may come before what is too much is thrown away."""


@define(eq=False, repr=False)
class Ends:
    """The first `HEAD` and the last `TAIL` bytes of what it is fed."""

    length: int = 0
    """How many bytes there were in all."""

    _pieces: list[bytes] = field(factory=list)
    _held: int = 0
    _head: bytes | None = None

    def feed(self, data: bytes) -> None:
        """Take what comes next."""
        self.length += len(data)
        self._pieces.append(data)
        self._held += len(data)
        if self._held > HEAD + TAIL + SLACK:
            self._shorten()

    def cut(self) -> tuple[bytes, bytes | None]:
        """Return the two ends; `None` for the second if the first is all there was."""
        if self._held > HEAD + TAIL or (self._head is not None and self._held > TAIL):
            self._shorten()
        held = b"".join(self._pieces)
        self._pieces = [held]
        return (held, None) if self._head is None else (self._head, held)

    def _shorten(self) -> None:
        held = b"".join(self._pieces)
        if self._head is None:
            self._head = held[:HEAD]
        tail = held[-TAIL:]
        self._pieces = [tail]
        self._held = len(tail)
