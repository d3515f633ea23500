"""What exactly was asked and answered, of the latest requests?

Bodies are kept as they came, in memory only, and no more of them than the
configuration's `captureBuffer`; the oldest go first. Credentials never get in.
"""

import base64
import marshal
from collections import OrderedDict
from typing import Any

from attrs import define, field
from multidict import CIMultiDict, CIMultiDictProxy

from swapcore_http.activity.unpacking import Unpack, UnpackError, unpacking

__all__ = [
    "REDACTED",
    "WITHOUT_ANSWER",
    "WITHOUT_BODIES",
    "WITHOUT_QUESTION",
    "AskedFields",
    "Capture",
    "Captures",
    "Fields",
    "RawFields",
    "joined",
    "raw_redacted",
    "redacted",
]

SECRETS = ("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key")
RAW_SECRETS = frozenset(name.lower().encode() for name in SECRETS)
SECRET_LENGTHS = frozenset(map(len, SECRETS))
REDACTED = "[REDACTED]"
RAW_REDACTED = REDACTED.encode()

WITHOUT_ANSWER = frozenset({"/v1/audio/speech", "/v1/images/generations", "/sdapi/v1/txt2img"})
"""What answers with sound or pictures."""

WITHOUT_QUESTION = frozenset({"/v1/audio/voices", "/v1/audio/transcriptions"})
"""What is asked with sound."""

WITHOUT_BODIES = frozenset({"/v1/images/edits", "/sdapi/v1/img2img"})
"""What has pictures in both."""

OVERHEAD = 1024
"""Bytes that a capture takes beside its bodies and values, more or less."""

Fields = CIMultiDict[str] | CIMultiDictProxy[str]

RawFields = tuple[tuple[bytes, bytes], ...]
"""Header fields as they came."""

AskedFields = RawFields | bytes
"""Header fields, or what `joined` has made of them for many requests that have the same."""


def redacted(fields: Fields) -> Fields:
    """Return header fields without what nobody should read."""
    secret = [name for name in SECRETS if name in fields]
    if secret:
        fields = CIMultiDict(fields)
        for name in secret:
            fields[name] = REDACTED
    return fields


def raw_redacted(fields: RawFields) -> RawFields:
    """Do the same for fields as they came."""
    # Most names need not be looked at any closer than for their length.
    secret = [name for name, _ in fields if len(name) in SECRET_LENGTHS and name.lower() in RAW_SECRETS]
    if secret:
        return tuple([(name, RAW_REDACTED if name in secret else value) for name, value in fields])
    return fields


def joined(fields: RawFields) -> bytes:
    """Return header fields in one piece, without what nobody should read.

    Thousands of captures are kept, and lie far from the processor when their turn has come to go: what is
    in one piece goes in a fraction of the time that its parts would take.
    """
    # Without references to what occurs twice: looking for that takes longer than all the rest.
    return marshal.dumps(raw_redacted(fields), 2)


def _parted(fields: bytes, encoding: str) -> CIMultiDict[str]:
    """Return header fields that were joined."""
    raw: RawFields = marshal.loads(fields)  # noqa: S302 - nobody else has written it.
    return CIMultiDict(
        [(name.decode(encoding), value.decode(encoding, "surrogateescape")) for name, value in raw]
    )


@define(eq=False, repr=False)
class Capture:
    """One request and its answer, without secrets. A body that was not to be kept is `None`."""

    path: str
    asked_fields: bytes
    """The request's header fields, joined."""

    asked: bytes | None
    answered_fields: bytes
    """The answer's header fields, joined."""

    answered: bytes | None
    """The answer's body, packed as it came."""

    size: int = field(init=False)
    """How many bytes it takes, more or less."""

    def __attrs_post_init__(self) -> None:
        fields = len(self.asked_fields) + len(self.answered_fields)
        self.size = OVERHEAD + fields + len(self.asked or b"") + len(self.answered or b"")

    def as_json(self, number: int) -> dict[str, Any]:
        """Show it as llama-swap does: the first field of each name, bodies unpacked and in base64."""
        fields, asked_fields = _parted(self.answered_fields, "latin-1"), _parted(self.asked_fields, "utf-8")
        body = self.answered
        unpack = unpacking(fields.get("Content-Encoding", ""))
        if unpack is not None:
            body = None if body is None else _unpacked(unpack, body)
            del fields["Content-Encoding"]
        asked = {name: asked_fields[name] for name in asked_fields if name.lower() != "content-length"}
        answered = {name: fields[name] for name in fields}
        return {
            "id": number,
            "req_path": self.path,
            "req_headers": asked,
            "req_body": _encoded(self.asked),
            "resp_headers": answered,
            "resp_body": _encoded(body),
        }


MOST_UNPACKED = 64 * 1024 * 1024
"""Bytes that an unpacked body is shown of."""


def _unpacked(unpack: Unpack, body: bytes) -> bytes | None:
    whole = bytearray()
    try:
        for piece in unpack(body):
            whole += piece
            if len(whole) > MOST_UNPACKED:
                return None
    except UnpackError:
        return None
    return bytes(whole)


def _encoded(body: bytes | None) -> str | None:
    return None if body is None else base64.b64encode(body).decode("ascii")


@define(eq=False, repr=False)
class Captures:
    """The latest captures, `limit` bytes of them; and room for those of answers that are still coming."""

    limit: int
    """Bytes that all may take together; 0 for none."""

    size: int = field(default=0, init=False)
    """Bytes that they take."""

    reserved: int = field(default=0, init=False)
    """Bytes promised to answers that are still coming."""

    _kept: OrderedDict[int, Capture] = field(factory=OrderedDict, init=False)

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def get(self, number: int) -> Capture | None:
        """Find the capture of the request with that number, if it is still there."""
        return self._kept.get(number)

    def keep(self, number: int, capture: Capture) -> bool:
        """Keep a capture, in the place of older ones; `False` if it is larger than all of them may be."""
        if capture.size > self.limit:
            return False
        self._kept[number] = capture
        self.size += capture.size
        if self.size > self.limit:
            self.resize(self.limit)
        return True

    def resize(self, limit: int) -> None:
        """Set the limit, and drop the oldest captures that are beyond it."""
        self.limit = limit
        while self.size > limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.size

    def reserve(self, size: int) -> bool:
        """Promise room in memory to an answer that is still coming, if there is that much."""
        if self.reserved + size > self.limit:
            return False
        self.reserved += size
        return True

    def give_back(self, size: int) -> None:
        """Take back what was promised."""
        self.reserved -= size
