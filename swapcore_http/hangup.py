"""Has a client hung up whose body has not been read yet?

A body that is to be passed on as it comes stays unread while its request
waits. Once aiohttp's buffer is full it stops reading the connection, and does
not learn either that the client has gone: the model would come up for nobody.
A reset is seen all the same. A close is not, as long as the client's system
still holds data that there is no room for: nobody can see that from here.
"""

import asyncio
import select
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from aiohttp import web

__all__ = ["cancelled_by_hang_up"]

LOOK_EVERY = 0.25
"""Seconds between two looks at the connection."""

GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""What the system says of a connection whose other side is closed, without reading from it."""


@contextmanager
def cancelled_by_hang_up(request: web.Request) -> Iterator[anyio.CancelScope]:
    """Cancel the block when the client hangs up; the scope then says so."""
    loop = asyncio.get_running_loop()
    scope = anyio.CancelScope()
    timers: list[asyncio.TimerHandle] = []

    def look() -> None:
        if _has_hung_up(request):
            scope.cancel()
        else:
            timers[:] = [loop.call_later(LOOK_EVERY, look)]

    look()
    with scope:
        try:
            yield scope
        finally:
            for timer in timers:
                timer.cancel()


def _has_hung_up(request: web.Request) -> bool:
    sock = None if request.transport is None else request.transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), GONE)
    return bool(poll.poll(0))
