"""How is it noticed that a client hangs up whose body nobody reads yet?

A body that is passed on as it comes stays where it is while its request waits.
Once aiohttp's small buffer is full, it stops reading the connection, and so
does not see its end either: a model would be brought up for nobody.
"""

import asyncio
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from aiohttp import StreamReader, web

__all__ = ["reading_ahead"]

AHEAD = 8 * 1024 * 1024
"""Bytes of a body that are held in memory while its request waits."""

PIECE = 256 * 1024
"""Bytes of them that are handed on at a time."""

LOOK_EVERY = 0.25
"""Seconds between two looks at a connection that is not being read."""

GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""What the system says of a connection that the other side has ended; macOS says POLLHUP for each of them."""


@asynccontextmanager
async def reading_ahead(request: web.Request) -> AsyncIterator[AsyncIterator[bytes]]:
    """Read a request's body ahead until somebody wants it, and notice if the client hangs up.

    It yields the body, for one reader. If the client hangs up within the
    block, its connection is broken off, and aiohttp cancels who answers it.
    """
    kept = bytearray()
    # Most ends of connections are seen only by reading: they come after what was sent before.
    ahead = asyncio.ensure_future(_keep(request.content, kept))

    async def body() -> AsyncIterator[bytes]:
        await _end(ahead)
        for start in range(0, len(kept), PIECE):
            yield bytes(kept[start : start + PIECE])
        kept.clear()
        async for piece in request.content.iter_any():
            yield piece

    with _watching(request):
        try:
            yield body()
        finally:
            # aiohttp reads what is left of the body, and nobody else may be reading then.
            await _end(ahead)


async def _keep(content: StreamReader, kept: bytearray) -> None:
    # What is wrong with the body is told to whoever reads on.
    with suppress(Exception):
        while len(kept) < AHEAD and (piece := await content.readany()):
            kept += piece


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


@contextmanager
def _watching(request: web.Request) -> Iterator[None]:
    """Break off the connection when the client has hung up, though it may not be read from."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        transport = request.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        if transport is None or sock is None or sock.fileno() < 0:
            return
        poll = select.poll()
        poll.register(sock.fileno(), GONE)
        if poll.poll(0):
            transport.abort()
        else:
            timer = loop.call_later(LOOK_EVERY, look)

    timer = loop.call_later(LOOK_EVERY, look)
    try:
        yield
    finally:
        timer.cancel()
