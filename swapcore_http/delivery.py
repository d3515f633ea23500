"""How are the bytes of an answer written for the client who asked?

They go straight to the transport of the client's connection. aiohttp has read
the request and will read the next one; in between, the connection is ours.
What is touched of aiohttp for that is documented: `request.transport`, and a
response whose `prepare` and `write_eof` find nothing left to do. Its own
writer is told the count of bytes (`output_size`), so that it knows that an
answer has begun.
"""

import asyncio
import socket
import struct
from typing import Final, Protocol

from aiohttp import HttpVersion11, web

from swapcore_http.framing import Fields, Framing, Head, Spans
from swapcore_http.headers import Client, Passing, make_reply

__all__ = ["Alone", "Delivery", "IntoStarted", "Nowhere", "Relayed", "ToClient", "abort"]

FULL: Final = 64 * 1024
"""Bytes that may wait for a client to take them; no more are asked for while there are."""

MAX_UNFIT: Final = 64 * 1024
"""Bytes that are kept of an answer that cannot be written where another has begun."""

LAST_CHUNK: Final = b"0\r\n\r\n"


class Delivery(Protocol):
    """Where an answer goes."""

    @property
    def begun(self) -> bool:
        """Whether the client has been, or is about to be, sent bytes of it."""

    def begin(self, framing: Framing) -> None:
        """Take the head; called once."""

    def write(self, data: bytes, framing: Framing, spans: Spans) -> bool:
        """Take what has just been fed to the framing, and where the content stands in it.

        Returns:
            Whether more bytes would only wait.
        """

    def end(self) -> None:
        """Take it that the answer is whole."""


class Relayed(web.StreamResponse):
    """An answer that is written already: there is nothing left to do for aiohttp."""

    def __init__(self, head: Head, *, keep_alive: bool) -> None:
        super().__init__(status=head.status, reason=head.reason.decode("latin-1"))
        self._lives = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether more requests may come on the client's connection."""
        return self._lives

    @property
    def prepared(self) -> bool:
        """Its head is always out."""
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Do nothing: the head is out."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the body is out."""


class Alone:
    """The answer as the only one to a request.

    Args:
        transport: The client's connection; `None` if that is gone.
        client: Who has asked.
        extra: Fields that are added, in place of the upstream's of the same names.
    """

    __slots__ = ("_client", "_extra", "_head", "_passing", "_transport", "begun", "keep_alive", "sent")

    def __init__(self, transport: asyncio.Transport | None, client: Client, extra: Fields) -> None:
        self.begun = False
        self.keep_alive = client.keep_alive
        """Whether more requests may come on the client's connection."""

        self.sent = 0
        """Bytes that were written."""

        self._client = client
        self._extra = extra
        self._transport = transport
        self._head = b""
        self._passing = Passing.AS_FRAMED

    def begin(self, framing: Framing) -> None:
        """See `Delivery`."""
        self.begun = True
        reply = make_reply(framing, self._client, self._extra)
        self._head = reply.head
        self._passing = reply.passing
        self.keep_alive = reply.keep_alive

    def write(self, data: bytes, framing: Framing, spans: Spans) -> bool:
        """See `Delivery`."""
        if self._passing is Passing.AS_FRAMED:
            start, end = framing.start, framing.end
            out = data if start == 0 and end == len(data) else data[start:end]
        elif self._passing is Passing.CONTENT:
            out = _content(data, spans)
        else:
            out = _chunk(_content(data, spans))
        if self._head:
            # One write for both: most answers are there at once.
            out = self._head + out
            self._head = b""
        self.sent += len(out)
        return _write(self._transport, out)

    def end(self) -> None:
        """See `Delivery`."""
        if self._passing is Passing.IN_CHUNKS and self._transport is not None:
            self._transport.write(LAST_CHUNK)


class ToClient(Alone):
    """Likewise, for a request that aiohttp has given to a handler."""

    __slots__ = ("_writer", "response")

    def __init__(self, request: web.BaseRequest, extra: Fields) -> None:
        client = Client(int(request.version >= HttpVersion11), request.keep_alive)
        super().__init__(request.transport, client, extra)
        self.response: Relayed | None = None
        self._writer = request.writer

    def begin(self, framing: Framing) -> None:
        """See `Delivery`."""
        super().begin(framing)
        assert framing.head is not None  # noqa: S101 - it is what begins.
        self.response = Relayed(framing.head, keep_alive=self.keep_alive)

    def write(self, data: bytes, framing: Framing, spans: Spans) -> bool:
        """See `Delivery`."""
        full = super().write(data, framing, spans)
        self._writer.output_size = self.sent
        return full


class IntoStarted:
    """The answer's events, after what the client has been sent already.

    Only a stream of events with status 200, not packed, fits; of anything else nothing is
    written, and the start of its content is kept.
    """

    def __init__(self, request: web.BaseRequest, started: web.StreamResponse) -> None:
        self.begun = False
        self.unfit: bytearray | None = None
        """The first bytes of an answer that does not fit, once its head has shown that."""

        self._transport = request.transport
        self._chunked = "chunked" in started.headers.get("Transfer-Encoding", "")

    def begin(self, framing: Framing) -> None:
        """See `Delivery`."""
        head = framing.head
        assert head is not None  # noqa: S101 - it is what begins.
        kind = (head.get(b"content-type") or b"").lower()
        # What has begun is not packed.
        packed = (head.get(b"content-encoding") or b"identity").strip().lower() != b"identity"
        if head.status != 200 or packed or not kind.startswith(b"text/event-stream"):  # noqa: PLR2004
            self.unfit = bytearray()
        else:
            self.begun = True

    def write(self, data: bytes, framing: Framing, spans: Spans) -> bool:  # noqa: ARG002 - see `Delivery`.
        """See `Delivery`."""
        content = _content(data, spans)
        if self.unfit is not None:
            self.unfit += content[: MAX_UNFIT - len(self.unfit)]
            return False
        return _write(self._transport, _chunk(content) if self._chunked else content)

    def end(self) -> None:
        """Do nothing: what began with the started response ends with it."""


class Nowhere:
    """The answer to a client who has gone."""

    begun = True

    def begin(self, framing: Framing) -> None:
        """Do nothing."""

    def write(self, data: bytes, framing: Framing, spans: Spans) -> bool:  # noqa: ARG002 - see `Delivery`.
        """Do nothing; there is always room for more."""
        return False

    def end(self) -> None:
        """Do nothing."""


def _write(transport: asyncio.Transport | None, data: bytes) -> bool:
    """Write to a client who may have gone, and say whether more would only wait."""
    if transport is None:
        return False
    if data and not transport.is_closing():
        transport.write(data)
    return transport.get_write_buffer_size() > FULL


def _content(data: bytes, spans: Spans) -> bytes:
    return b"".join([data[start:end] for start, end in spans])


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content) if content else b""


def abort(request: web.BaseRequest) -> None:
    """Break off the client's connection so that it can see that the answer is not whole."""
    transport = request.transport
    if transport is None:
        return
    if request.version < HttpVersion11 and (sock := transport.get_extra_info("socket")) is not None:
        # The end of the connection may be the end of the body here, so only a reset tells them apart.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
