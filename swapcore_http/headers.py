"""Which header fields pass through the server, and in which form?

Fields that speak of one connection only (RFC 9110, section 7.6.1) stop here,
in both directions; all others pass byte for byte as they came, repeated ones
included. Each head is read once, and written once as the bytes that are sent.
"""

import re
import time
from collections.abc import Set as AbstractSet
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus

from attrs import define, frozen

from swapcore_http.framing import Fields, Framing, Head

__all__ = [
    "Client",
    "HeadAround",
    "Outgoing",
    "Passing",
    "Reply",
    "make_reply",
    "request_head",
    "whole_reply",
]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that are never passed on, in lower case."""

# The server has already told the client to continue, and the dials are for itself.
OURS = frozenset({b"content-length", b"expect", b"x-swap-priority", b"x-swap-patience"})
"""Fields of a request that are for this server, or are written anew."""

STOPPED = HOP_BY_HOP | OURS
LOOKED_AT = frozenset({b"authorization", b"host", b"x-forwarded-for"})
NOTED = frozenset({b"content-type", b"date", b"x-accel-buffering"})
BESIDE = frozenset({b"vary"})
"""Fields of an answer that say something more beside the upstream's own."""

NAMES_NO_FIELD = frozenset({b"close", b""})
"""What a `Connection` field says without naming another field."""

_NO_TARGET = re.compile(r"[\x00-\x20\x7f]")


@define(eq=False, repr=False)
class Outgoing:
    """What is to be said to an upstream, but for the body."""

    method: str
    target: str
    """Path and query, encoded."""

    fields: Fields
    """What the client sent. `Host` stays the client's."""

    client: str | None = None
    """The client's address, appended to `X-Forwarded-For`."""

    length: int | None = None
    """The length in bytes of the body that follows, if any does and it is known."""

    chunked: bool = False
    """Whether a body follows whose length is not known."""

    upgrade: bool = False
    """Whether the client's wish for another protocol is passed on."""

    without: AbstractSet[bytes] = frozenset()
    """More fields that are not passed on, in lower case."""

    extra: Fields = ()
    """Fields that are added."""


def request_head(
    request: Outgoing, *, host: bytes, base: str = "", authorization: bytes | None = None
) -> bytes:
    """Write the head of a request to an upstream.

    Args:
        request: What to say.
        host: The upstream's own name, for clients that name none.
        base: Comes before the target.
        authorization: Sent if the client has no credentials of its own.

    Raises:
        ValueError: the target has characters that would end it.
    """
    pieces, _ = _checked(request, host, base, authorization)
    return b"".join(pieces)


@frozen(eq=False, repr=False)
class HeadAround:
    """A request's head but for the length of its body, for those who ask the same again and again."""

    before: bytes
    after: bytes

    @classmethod
    def of(
        cls, request: Outgoing, *, host: bytes, base: str = "", authorization: bytes | None = None
    ) -> "HeadAround":
        """Write one; the request has a length, which does not matter.

        The other arguments, and what is raised, are those of `request_head`.
        """
        pieces, length = _checked(request, host, base, authorization)
        return cls(b"".join(pieces[:length]), b"".join(pieces[length + 1 :]))

    def with_length(self, length: int) -> bytes:
        """Write the head of a request whose body has so many bytes."""
        return b"%b: %d\r\n%b" % (self.before, length, self.after)


def _checked(
    request: Outgoing, host: bytes, base: str, authorization: bytes | None
) -> tuple[list[bytes], int]:
    """Return the pieces of a head, and which of them is the value of its `Content-Length`, if it has one."""
    if _NO_TARGET.search(request.target):
        raise ValueError(f"not a target: {request.target[:200]!r}")
    stopped: AbstractSet[bytes] = STOPPED.union(request.without) if request.without else STOPPED
    return _pieces(request, stopped, host, base, authorization)


def _pieces(
    request: Outgoing, stopped: AbstractSet[bytes], host: bytes, base: str, authorization: bytes | None
) -> tuple[list[bytes], int]:
    length, length_at = request.length, 0
    own_host, own_authorization = host, authorization
    hops = []
    line = f"{request.method} {base}{request.target} HTTP/1.1\r\n"
    pieces = [line.encode("utf-8", "surrogateescape"), b""]
    for name, value in request.fields:
        lower = name.lower()
        if lower in LOOKED_AT or lower in stopped:
            if lower == b"content-length" and length is not None:
                # Where the client has written it: nothing moves without need.
                pieces += (name, b": %d\r\n" % length)
                length, length_at = None, len(pieces) - 1
            elif lower == b"connection" and not (tokens := _tokens(value)) <= stopped:
                # What it names has perhaps been written already.
                return _pieces(request, stopped | tokens, own_host, base, own_authorization)
            if lower in stopped:
                continue
            if lower == b"x-forwarded-for":
                hops.append(value)
                continue
            if lower == b"authorization":
                authorization = None
            else:
                host = b""
        pieces += (name, b": ", value, b"\r\n")
    if host:
        pieces[1] = b"Host: %b\r\n" % host
    if length is not None:
        pieces += (b"Content-Length", b": %d\r\n" % length)
        length_at = len(pieces) - 1
    elif request.chunked:
        pieces.append(b"Transfer-Encoding: chunked\r\n")
    if authorization is not None:
        pieces.append(b"Authorization: %b\r\n" % authorization)
    if request.client:
        hops.append(request.client.encode())
    if hops:
        pieces.append(b"X-Forwarded-For: %b\r\n" % b", ".join(hops))
    if request.upgrade:
        wanted = b", ".join(value for name, value in request.fields if name.lower() == b"upgrade")
        pieces.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % wanted)
    pieces += [b"%b: %b\r\n" % each for each in request.extra]
    pieces.append(b"\r\n")
    return pieces, length_at


def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip().lower() for token in value.split(b",")) - NAMES_NO_FIELD


# Answers ------------------------------------------------------------------------


@define(eq=False, repr=False)
class Client:
    """What the form of an answer depends on, of who has asked."""

    minor: int
    """1 for HTTP/1.1, 0 for HTTP/1.0."""

    keep_alive: bool
    """Whether more requests may come on its connection."""


class Passing(Enum):
    """How the bytes of a body reach the client."""

    AS_FRAMED = auto()
    """As they came, chunks and all."""

    CONTENT = auto()
    """The content alone; the end of the connection ends it."""

    IN_CHUNKS = auto()
    """The content, in chunks of our own."""


@define(eq=False, repr=False)
class Reply:
    """The head that the client gets, and how the body follows."""

    head: bytes
    passing: Passing
    keep_alive: bool
    """Whether the client's connection lives on."""


def make_reply(framing: Framing, client: Client, extra: Fields = ()) -> Reply:
    """Write the head of an answer to a client.

    Args:
        framing: The answer, whose head has come.
        client: Who has asked.
        extra: Fields that are added, in place of the upstream's of the same names; `Vary` stands beside it.
    """
    head = framing.head
    assert head is not None  # noqa: S101 - the caller's duty.
    write = _remember if head.is_small else _undated
    body, asker = (framing.chunked, framing.until_close), (client.minor, client.keep_alive)
    undated = write(head, body, asker, extra)
    return Reply(_with_date(undated), undated.passing, undated.keep_alive)


def whole_reply(head: Head, extra: Fields = ()) -> bytes:
    """Write the head of an answer that is `framing.taken_whole`, to a client of HTTP/1.1 who comes again.

    Args:
        head: The upstream's, which is a small one.
        extra: As `make_reply` has it.
    """
    return _with_date(_remember(head, (False, False), (1, True), extra))


def _with_date(undated: "_Undated") -> bytes:
    return undated.head if undated.dated else b"%b%b\r\n" % (undated.head, _date())


@frozen(eq=False, repr=False)
class _Undated:
    """A reply, but for the date."""

    head: bytes
    """All of it if it has a date; else it lacks the date and the empty line."""

    dated: bool
    passing: Passing
    keep_alive: bool


def _undated(head: Head, body: tuple[bool, bool], client: tuple[int, bool], extra: Fields) -> _Undated:
    """Write a reply whose body is chunked, or lasts until the connection closes, to such a `Client`."""
    chunked, until_close = body
    minor, keep_alive = client
    passing = Passing.AS_FRAMED
    stopped = _stopped_in_answer(head, extra)
    pieces = [b"HTTP/1.%d %d %b\r\n" % (minor, head.status, head.reason)]
    dated = streams = False
    buffering = b""
    for name, value in head.fields:
        lower = name.lower()
        if lower in stopped:
            continue
        if lower in NOTED:
            if lower == b"date":
                dated = True
            elif lower == b"content-type":
                streams = streams or value[:17].lower() == b"text/event-stream"
            else:
                buffering += b"%b: %b\r\n" % (name, value)
                continue
        pieces += (name, b": ", value, b"\r\n")
    for name, value in extra:
        pieces += (name, b": ", value, b"\r\n")
    # A reverse proxy before us would otherwise collect the events.
    pieces.append(b"X-Accel-Buffering: no\r\n" if streams else buffering)
    if chunked or until_close:
        if minor:
            pieces.append(b"Transfer-Encoding: chunked\r\n")
            passing = Passing.AS_FRAMED if chunked else Passing.IN_CHUNKS
        else:
            passing, keep_alive = Passing.CONTENT, False
    if not keep_alive:
        if minor:
            pieces.append(b"Connection: close\r\n")
    elif not minor:
        pieces.append(b"Connection: keep-alive\r\n")
    if dated:
        pieces.append(b"\r\n")
    return _Undated(b"".join(pieces), dated, passing, keep_alive)


_remember = lru_cache(maxsize=64)(_undated)


def _stopped_in_answer(head: Head, extra: Fields) -> AbstractSet[bytes]:
    named = head.ending().tokens - NAMES_NO_FIELD
    # The length of what a 204 does not have would be taken for that of the next answer.
    lengthless = head.status == HTTPStatus.NO_CONTENT
    return HOP_BY_HOP.union(
        named - {b"content-length"},
        {name.lower() for name, _ in extra} - BESIDE,
        {b"content-length"} if lengthless else (),
    )


_dated: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """Write the field that says when an answer was given, once in a second."""
    global _dated  # noqa: PLW0603 - a cache of one.
    now = int(time.time())
    if _dated[0] != now:
        _dated = now, b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()
    return _dated[1]
