"""What exactly was asked and answered, of the latest requests?

Bodies are kept as they came, in memory only, and no more of them than the
configuration's `captureBuffer`; the oldest go first. Credentials never get in.
"""

import base64
from collections import OrderedDict
from typing import Any

from attrs import define, field, frozen
from multidict import CIMultiDict, CIMultiDictProxy

from swapcore_http.activity.unpacking import Unpack, UnpackError, unpacking

__all__ = [
    "REDACTED",
    "WITHOUT_ANSWER",
    "WITHOUT_BODIES",
    "WITHOUT_QUESTION",
    "Capture",
    "Captures",
    "Fields",
    "RawFields",
    "raw_redacted",
    "redacted",
]

SECRETS = ("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Api-Key")
RAW_SECRETS = frozenset(name.lower().encode() for name in SECRETS)
SECRET_LENGTHS = frozenset(map(len, SECRETS))
REDACTED = "[REDACTED]"

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
    for name, _ in fields:
        # Most names need not be looked at any closer than this.
        if len(name) in SECRET_LENGTHS and name.lower() in RAW_SECRETS:
            hidden = REDACTED.encode()
            return tuple((name, hidden if name.lower() in RAW_SECRETS else value) for name, value in fields)
    return fields


@frozen(eq=False, repr=False)
class Capture:
    """One request and its answer, without secrets. A body that was not to be kept is `None`."""

    path: str
    asked_fields: Fields
    asked: bytes | None
    answered_fields: RawFields
    answered: bytes | None
    """The answer's body, packed as it came."""

    size: int = field(init=False)
    """How many bytes it takes, more or less."""

    def __attrs_post_init__(self) -> None:
        values = sum(map(len, self.asked_fields.values()))
        values += sum([len(value) for _, value in self.answered_fields])
        size = OVERHEAD + values + len(self.asked or b"") + len(self.answered or b"")
        object.__setattr__(self, "size", size)

    def as_json(self, number: int) -> dict[str, Any]:
        """Show it as llama-swap does: the first field of each name, bodies unpacked and in base64."""
        fields = CIMultiDict(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self.answered_fields
        )
        body = self.answered
        unpack = unpacking(fields.get("Content-Encoding", ""))
        if unpack is not None:
            body = None if body is None else _unpacked(unpack, body)
            del fields["Content-Encoding"]
        asked = {
            name: self.asked_fields[name] for name in self.asked_fields if name.lower() != "content-length"
        }
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
