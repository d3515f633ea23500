"""How is it noticed that a client hangs up behind a body that nobody reads?

While aiohttp does not read a connection, because whoever wants the body is
slow, it does not see its end either: an upstream would work for nobody.
"""

import asyncio
import select
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

__all__ = ["watching"]

LOOK_EVERY = 0.25
"""Seconds between two looks at a connection that is not being read."""

GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""What the system says of a connection that the other side has ended; macOS says POLLHUP for each of them."""


@contextmanager
def watching(request: web.Request) -> Iterator[None]:
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
