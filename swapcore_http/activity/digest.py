"""What does a recorded request come to, once it is over?"""

from http import HTTPStatus

from attrs import define

from swapcore_http.activity.captures import (
    WITHOUT_ANSWER,
    WITHOUT_BODIES,
    WITHOUT_QUESTION,
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
    ok = recording.status == HTTPStatus.OK
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
    return Digest(entry, None if recording.asked is None else _capture(recording, body if ok else None))


def _ends_of(recording: Recording) -> tuple[bytes | None, bytes, bytes | None]:
    """Return the body as it came, if it is held whole, and the two ends of what it says."""
    encoding = recording.encoding
    ends = recording.ends
    chunks = recording.take()
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


def _capture(recording: Recording, answered: bytes | None) -> Capture:
    assert recording.asked is not None  # noqa: S101 - or nothing is captured.
    fields, asked = recording.asked
    path = recording.path
    mute = path in WITHOUT_BODIES
    return Capture(
        path,
        fields if isinstance(fields, bytes) else joined(fields),
        None if mute or path in WITHOUT_QUESTION else asked,
        joined(recording.fields),
        None if mute or path in WITHOUT_ANSWER else answered,
    )
