"""What does a recorded request come to, once it is over?"""

from functools import lru_cache
from typing import Final

from attrs import define

from swapcore_http.activity.captures import (
    WITHOUT_ANSWER,
    WITHOUT_BODIES,
    WITHOUT_QUESTION,
    AskedFields,
    Capture,
    joined,
)
from swapcore_http.activity.ends import Ends
from swapcore_http.activity.entries import NOTHING, Entry
from swapcore_http.activity.recording import Recording
from swapcore_http.activity.telling import told
from swapcore_http.activity.tokens import read_tokens
from swapcore_http.activity.unpacking import UnpackError, unpacking

__all__ = ["Digest", "digest"]

# To ask `HTTPStatus` for it takes longer than many a step of what is done here.
OK: Final = 200

UNREMARKABLE: Final = 16
"""Header fields that an answer has at most if they are remembered: many answers in a row have the same."""

WITHOUT_SOMETHING = WITHOUT_ANSWER | WITHOUT_BODIES | WITHOUT_QUESTION

_joined = lru_cache(maxsize=64)(joined)


@define(eq=False, repr=False)
class Digest:
    """What is remembered of one request."""

    entry: Entry
    capture: Capture | None

    @property
    def size(self) -> int:
        """How many bytes it takes beside its entry, more or less."""
        return 0 if self.capture is None else self.capture.size


def digest(recording: Recording, loading: float) -> Digest:
    """Read what a closed recording holds.

    Args:
        recording: The recording, which is used up.
        loading: How many seconds of its wait its model was loading.
    """
    body, head, tail = _ends_of(recording)
    kind = recording.kind
    ok = recording.status == OK
    found = read_tokens(kind, recording.path, head, tail) if ok else None
    if not ok and not recording.error:
        recording.error = told(recording.status, head if tail is None else b"")
    arrived, headed = recording.arrived, recording.headed
    ended = recording.ended or arrived
    duration = ended - arrived
    entry = Entry(
        at=recording.at,
        model=recording.model,
        path=recording.path,
        status=recording.status,
        kind=kind,
        tokens=NOTHING if found is None else found.tokens,
        duration=duration if found is None else max(duration, found.seconds),
        waited=(recording.forwarded or ended) - arrived,
        loading=loading,
        first_byte=None if headed is None else headed - arrived,
        error=recording.error,
        metadata=recording.metadata,
    )
    asked = recording.asked
    return Digest(entry, None if asked is None else _capture(recording, asked, body if ok else None))


def _ends_of(recording: Recording) -> tuple[bytes | None, bytes, bytes | None]:
    """Return the body as it came, if it is held whole, and the two ends of what it says."""
    encoding, ends, chunks = recording.encoding, recording.ends, recording.take()
    if ends is not None:
        # More has come before.
        if encoding:
            recording.unpack(chunks)
        else:
            for chunk in chunks:
                ends.feed(chunk)
        return (None, *ends.cut())
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if not encoding:
        return body, body, None
    unpack = unpacking(encoding)
    if unpack is None:
        return body, b"", None
    ends = Ends()
    try:
        for piece in unpack(body):
            ends.feed(piece)
    except UnpackError as error:
        recording.spoilt(error)
    return (body, *ends.cut())


def _capture(
    recording: Recording, asked: tuple[AskedFields, bytes | None], answered: bytes | None
) -> Capture:
    fields, body = asked
    if recording.path in WITHOUT_SOMETHING:
        body, answered = _as_captured(recording.path, body, answered)
    return Capture(
        recording.path,
        fields if isinstance(fields, bytes) else joined(fields),
        body,
        _joined(recording.fields) if len(recording.fields) <= UNREMARKABLE else joined(recording.fields),
        answered,
    )


def _as_captured(path: str, asked: bytes | None, answered: bytes | None) -> tuple[bytes | None, bytes | None]:
    """Leave out of the two bodies what is not to be kept."""
    mute = path in WITHOUT_BODIES
    return (
        None if mute or path in WITHOUT_QUESTION else asked,
        None if mute or path in WITHOUT_ANSWER else answered,
    )
