"""How do the bytes of a tunnel get from one side to the other, and when did the last one?"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from aiohttp import web
from attrs import define, field

from swapcore_http.framing import Head
from swapcore_http.relay import Switched, Tap
from swapcore_http.upstreams import Connection

__all__ = ["Frames", "Tunnel"]

FULL: Final = 64 * 1024
"""Bytes that may wait for one side to take them; the other is not read from while there are more."""

RESTARTING: Final = b"\x88\x02\x03\xf4"
"""A close frame with the code 1012."""

FAREWELL: Final = 1.0
"""Seconds that a client has to answer a close frame."""

STOPPED: Final = frozenset({b"content-length", b"keep-alive", b"transfer-encoding"})
"""Fields of an upstream's 101 that do not concern the client."""

LONG, LONGER = 126, 127
"""Lengths in a frame that say that the real one follows, in 2 or in 8 bytes."""


@define(eq=False, repr=False)
class Frames:
    """Follows a stream of frames, to tell where one ends. They are not masked: servers' are not."""

    _head: bytearray = field(factory=bytearray)
    _left: int = 0

    @property
    def between(self) -> bool:
        """Whether a frame of our own could stand here."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> None:
        """Follow these bytes."""
        position = 0
        while position < len(data):
            if self._left:
                passed = min(self._left, len(data) - position)
                self._left -= passed
                position += passed
                continue
            self._head.append(data[position])
            position += 1
            if len(self._head) >= 2:  # noqa: PLR2004 - a frame's first two bytes say how long its head is.
                self._enter()

    def _enter(self) -> None:
        """Go into the frame if its head is whole."""
        short = self._head[1] & 0x7F
        mask = 4 if self._head[1] & 0x80 else 0
        extra = {LONG: 2, LONGER: 8}.get(short, 0)
        if len(self._head) == 2 + extra + mask:
            self._left = int.from_bytes(self._head[2 : 2 + extra]) if extra else short
            self._head.clear()


@define(eq=False, repr=False)
class Direction:
    """One of the two ways through a tunnel."""

    _source: asyncio.Transport
    _target: asyncio.Transport
    _drain: Callable[[], Awaitable[None]]
    _came: Callable[[], None]
    """Told that bytes have come."""

    _passed: Callable[[bytes], None] | None = None
    """Told which bytes go on."""

    held: list[bytes] | None = None
    """What has come since the tunnel was held up; None while bytes may pass."""

    _wake: asyncio.Event = field(factory=asyncio.Event)

    def feed(self, data: bytes) -> None:
        """Take bytes from the source."""
        self._came()
        if self.held is not None:
            self.held.append(data)
            self._pause()
        elif not self._target.is_closing():
            self._write(data)
            if self._target.get_write_buffer_size() > FULL:
                self._pause()
                self._wake.set()

    def hold(self) -> None:
        """Let no more bytes pass; those that come are kept, and then no more are read."""
        self.held = []

    def let_go(self) -> None:
        """Let bytes pass again."""
        kept, self.held = self.held, None
        if kept:
            self._write(b"".join(kept))
            self._wake.set()

    async def pump(self, end: Callable[[], None]) -> None:
        """Read on whenever the target has taken what waited for it; call `end` if it never will."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._drain()
                if self.held is None and not self._source.is_closing():
                    self._source.resume_reading()
        except ConnectionError:
            end()

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        if self._passed is not None:
            self._passed(data)

    def _pause(self) -> None:
        if not self._source.is_closing():
            self._source.pause_reading()


class Tunnel:
    """A client's and an upstream's connection, joined.

    It is what aiohttp, and the upstream's connection, tell of what comes.

    Args:
        request: The client's request.
        switched: The upstream's side.
        tap: Told of what the client is sent.
    """

    def __init__(self, request: web.Request, switched: Switched, tap: Tap | None = None) -> None:
        client = request.transport
        if client is None:
            raise ConnectionResetError("the client has gone")
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._connection = switched.connection
        self._frames = Frames()
        self._turn = asyncio.Event()
        self._moved_at = self._loop.time()
        self._scope: anyio.CancelScope | None = None
        self._over = False

        self._left = False
        upstream = switched.connection.transport
        self.outgoing = Direction(client, upstream, self._connection.drain, self._moved)
        self.incoming = Direction(upstream, client, request.writer.drain, self._moved, self._sent)
        self._tap = tap
        if tap is not None:
            tap.head(switched.head.status, switched.head.fields)
        client.write(_reply(switched.head))
        request.writer.output_size += 1
        if switched.early:
            self.incoming.feed(switched.early)

    def open(self) -> None:
        """Let bytes pass."""
        self._connection.taker = self
        self._connection.transport.resume_reading()
        # aiohttp's own websockets are joined to a connection in the same way.
        self._request.protocol.set_parser(self)  # type: ignore[arg-type]

    async def pump(self) -> None:
        """Read on from either side whenever the other has taken what waited for it."""
        async with anyio.create_task_group() as tasks:
            for direction in (self.outgoing, self.incoming):
                tasks.start_soon(direction.pump, self.end)

    # What the two sides say

    def connected(self, connection: Connection) -> None:
        """Take that connection: it is this one's already."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the client's: aiohttp calls this."""
        if self._over:
            self._turn.set()
        else:
            self.outgoing.feed(data)
        return False, b""

    def feed_eof(self) -> None:
        """Hear that the client has gone: aiohttp calls this."""
        self.end()

    def received(self, data: bytes) -> None:
        """Take bytes of the upstream's."""
        self.incoming.feed(data)

    def lost(self, error: Exception | None) -> None:  # noqa: ARG002 - either way it is over.
        """Hear that the upstream has gone."""
        self.end()

    def leave(self) -> None:
        """Hear that the model leaves."""
        self._left = True
        self.end()

    def end(self) -> None:
        """Let it be over."""
        self._over = True
        self._turn.set()
        if self._scope is not None:
            self._scope.cancel()

    # What whoever carries it does

    def over(self) -> bool:
        """Tell whether one side has gone, or the model leaves."""
        return self._over

    async def until_idle(self, seconds: float) -> None:
        """Return when no byte has moved for so long (0: never), or it is over."""
        while not self._over:
            left = self._moved_at + seconds - self._loop.time() if seconds else math.inf
            if left <= 0:
                return
            with anyio.move_on_after(left):
                await self._turn.wait()

    async def until_moved(self) -> None:
        """Let no byte pass, and return when one wants to, or it is over."""
        for direction in (self.outgoing, self.incoming):
            direction.hold()
        self._turn.clear()
        if not self._over:
            await self._turn.wait()

    async def unless_over(self, entering: Awaitable[object]) -> None:
        """Wait for that, or until it is over."""
        with anyio.CancelScope() as self._scope:
            await entering
        self._scope = None

    def go_on(self) -> None:
        """Let bytes pass again."""
        self._turn.clear()
        for direction in (self.outgoing, self.incoming):
            direction.let_go()

    async def bid_farewell(self) -> None:
        """End the upstream's side, and if the model has left tell the client, who may answer."""
        self._connection.close()
        if self._left and self._frames.between and not self._client.is_closing():
            self._turn.clear()
            self._client.write(RESTARTING)
            self._client.resume_reading()
            with anyio.move_on_after(FAREWELL):
                await self._turn.wait()

    def close(self) -> None:
        """End both sides, and break the client's off if it is amid a frame."""
        self._connection.close()
        if self._frames.between:
            self._client.close()
        else:
            self._client.abort()

    def _sent(self, data: bytes) -> None:
        self._frames.feed(data)
        if self._tap is not None:
            self._tap.feed(data)

    def _moved(self) -> None:
        self._moved_at = self._loop.time()
        if self.outgoing.held is not None:
            self._turn.set()


def _reply(head: Head) -> bytes:
    """Write the head that tells the client that the upstream has switched."""
    lines = [b"HTTP/1.1 101 %b" % head.reason]
    lines += [b"%b: %b" % field for field in head.fields if field[0].lower() not in STOPPED]
    return b"\r\n".join([*lines, b"", b""])
