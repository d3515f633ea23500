"""What is noted about one request while it is being answered?

As little as can be: each piece of the answer is put on a list, and only now
and then is that shortened to the answer's two ends. Reading what they say
comes later, in `digest`, which may run in another thread.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from swapcore_http.activity.captures import AskedFields, RawFields
from swapcore_http.activity.ends import HEAD, SLACK, TAIL, Ends
from swapcore_http.activity.unpacking import Unpack, UnpackError, unpacking

__all__ = ["GONE", "ROOM", "Budget", "Recording"]

GONE: Final = 499
"""The status noted where nobody was left to be told one."""

ROOM: Final = HEAD + TAIL + SLACK
"""Bytes of an answer that may be held without asking."""

KIND: Final = b"content-type"
KIND_LENGTH: Final = len(KIND)
ENCODING: Final = b"content-encoding"
ENCODING_LENGTH: Final = len(ENCODING)

MORE: Final = 64 * 1024
"""Bytes more that are asked for at a time to hold an answer whole."""


@frozen(eq=False, repr=False)
class Budget:
    """What recordings may ask for while their answers come."""

    reserve: Callable[[int], bool]
    """Asks for that many bytes of memory."""

    give_back: Callable[[int], None]
    """Gives them back."""

    unpack: Callable[["Recording", list[bytes]], None]
    """Has these pieces unpacked elsewhere, by `Recording.unpack`, in order and before it is digested."""


class Recording:
    """Follows one request to its end.

    It is the tap of the request's relay: `head`, `feed` and `end`. Whoever
    handles the request says the rest: `leased`, `failed`, and, at the very end
    and whatever happened, `close`.

    Args:
        model: The id of the model that is asked.
        path: What it is asked for, without the query.
        budget: Where memory and help come from.
        asked: The request's header fields, which may be joined, and its body, if they are to be captured.
    """

    # Defaults of the class cost nothing until they change.
    forwarded: float | None = None
    headed: float | None = None
    ended: float | None = None
    run = 0
    status = 0
    error = ""
    metadata: Mapping[str, Any] = {}
    received = 0
    """Bytes of the answer that have come."""

    whole = False
    fields: RawFields = ()
    """The answer's header fields."""

    kind = ""
    """The answer's content type."""

    encoding = ""
    """How the answer is packed; empty if it is not."""

    ends: Ends | None = None
    """The ends of the answer, unpacked, once more of it has come than is held."""

    reserved = 0
    """Bytes of the captures' memory that it holds."""

    _unpacker: Unpack | None = None
    _held = 0
    _room = ROOM

    def __init__(
        self, model: str, path: str, budget: Budget, asked: tuple[AskedFields, bytes | None] | None = None
    ) -> None:
        self.model = model
        self.path = path
        self.at = time.time()
        self.arrived = time.monotonic()
        self.asked = asked
        self._budget = budget
        self._chunks: list[bytes] = []

    # The tap

    def head(self, status: int, fields: RawFields) -> None:
        """Note how the answer begins."""
        self.headed = time.monotonic()
        self.status = status
        self.fields = fields
        kind = encoding = None
        for name, value in fields:
            # Most names need not be looked at any closer than for their length.
            length = len(name)
            if length == KIND_LENGTH and kind is None and name.lower() == KIND:
                self.kind = kind = value.decode("latin-1")
            elif length == ENCODING_LENGTH and encoding is None and name.lower() == ENCODING:
                encoding = value.decode("latin-1").strip().lower()
                self.encoding = "" if encoding == "identity" else encoding

    def feed(self, content: bytes) -> None:
        """Note what comes next."""
        self._chunks.append(content)
        length = len(content)
        self.received += length
        self._held += length
        if self._held > self._room:
            self._make_room()

    def end(self, whole: bool) -> None:  # noqa: FBT001 - the tap's own form.
        """Note that nothing follows."""
        self.ended = time.monotonic()
        self.whole = whole

    # What the handler says

    def leased(self, run: int) -> None:
        """Note which run serves it, from now on."""
        self.forwarded = time.monotonic()
        self.run = run

    def failed(self, status: int, error: str) -> None:
        """Note what the caller was told instead of an answer, or would have been."""
        if self.headed is None:
            self.status = status
        self.error = error

    def close(self) -> None:
        """Note that all is over."""
        if self.ended is None:
            self.ended = time.monotonic()
        if self.status == 0:
            self.status = GONE
        if self.headed is not None and not self.whole:
            self.error = self.error or "the answer broke off"

    # In between

    @property
    def size(self) -> int:
        """Bytes that it holds, more or less."""
        asked = self.asked
        return self._held + (0 if asked is None or asked[1] is None else len(asked[1]))

    def take(self) -> list[bytes]:
        """Take out what is held."""
        chunks, self._chunks = self._chunks, []
        self._held = 0
        return chunks

    def unpack(self, chunks: list[bytes] | None) -> None:
        """Unpack pieces of the answer that are not held any more; `None` if some are lost."""
        if self.ends is None:
            self.ends = Ends()
            self._unpacker = unpacking(self.encoding)
        if chunks is None:
            self._unpacker = None
        if self._unpacker is None or chunks is None:
            return
        try:
            for chunk in chunks:
                for piece in self._unpacker(chunk):
                    self.ends.feed(piece)
        except UnpackError as error:
            self._unpacker = None
            self.spoilt(error)

    def spoilt(self, error: UnpackError) -> None:
        """Note that the answer cannot be unpacked, and so cannot be shown."""
        self.asked = None
        self.error = self.error or f"the answer cannot be unpacked: {error}"

    def _make_room(self) -> None:
        budget = self._budget
        if self.asked is not None and self.ends is None and budget.reserve(MORE):
            self.reserved += MORE
            self._room += MORE
            return
        if self.reserved:
            budget.give_back(self.reserved)
            self.reserved = 0
            self._room = ROOM
        if self.encoding:
            budget.unpack(self, self.take())
            return
        if self.ends is None:
            self.ends = Ends()
        for chunk in self.take():
            self.ends.feed(chunk)
