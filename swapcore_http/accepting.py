"""How many clients may be connected at once, and what becomes of one more?

A process that has no descriptor left can neither accept nor reach an upstream
nor start one, so there is a bound well below that. At the bound, whoever comes
takes the place of a connection on which nothing is asked; where all are asked
something, it is told to come again.
"""

import asyncio
import logging
import math
import resource
import time
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web
from attrs import define, field

from swapcore_http.doors import Doors
from swapcore_http.responses import raw_error

__all__ = ["AT_ONCE", "Accepting", "room"]

logger = logging.getLogger(__name__)

AT_ONCE: Final = 32
"""Connections that are accepted in one turn of the loop, before the first of them can be refused."""

KEPT_FREE: Final = 192
"""Descriptors that are not for clients: models, logs, stores, what is accepted and refused just now."""

PER_CLIENT: Final = 3
"""Descriptors that a client may take: its connection, that to the upstream, and its body on the disk or a
connection to the upstream of before that is still kept."""

LEAST: Final = 16
"""Clients that are let in whatever the limit of descriptors."""

MOST_REFUSED: Final = 32
"""Clients who are being told so at once; more are cut off without a word."""

LINGER: Final = 1.0
"""Seconds in which a client who is refused may read that."""

SAID_EVERY: Final = 60.0
"""Seconds between two lines of the log that say so."""

ANSWER: Final = raw_error(
    HTTPStatus.SERVICE_UNAVAILABLE, "too many clients are connected (maxConnections)", "Retry-After: 1"
)


def room() -> int:
    """Say how many clients the limit of descriptors has room for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return max(LEAST, (soft - KEPT_FREE) // PER_CLIENT)


@define(eq=False, repr=False)
class Accepting:
    """Makes what talks to each client who connects; a factory of protocols for `loop.create_server`.

    Args:
        server: Makes what talks to those who are let in.
        doors: Know on which connections something is asked.
    """

    server: web.Server
    doors: Doors
    most: int | None = field(default=None, init=False)
    refused: int = field(default=0, init=False)
    """How many were refused so far."""

    refusing: "set[Refusing]" = field(factory=set, init=False)
    """Those who are being told just now."""

    _said_at: float = field(default=-math.inf, init=False)
    _free: int = field(default=0, init=False)
    """How many may come before it is worth while to count those who are there."""

    _coming: int = field(default=0, init=False)
    """How many came in this turn of the loop: the server does not count them yet."""

    def __call__(self) -> asyncio.Protocol:
        """Talk to one more."""
        if self._free <= 0:
            self._free = self.limit - len(self.server.connections) - self._coming
        if self._free <= 0 and not self._make_room():
            self._refuse()
            return Refusing(self)
        self._free -= 1
        if not self._coming:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._have_come)
        self._coming += 1
        return self.server()

    def _have_come(self) -> None:
        self._coming = 0

    @property
    def limit(self) -> int:
        """How many may be connected at once."""
        return room() if self.most is None else min(self.most, room())

    def follow(self, most: int | None) -> None:
        """Let at most so many be connected at once, from now on; `None` for as many as there is room for."""
        self.most = most
        self._free = 0
        if most is not None and most > room():
            logger.warning("maxConnections is %d; the limit of open files has room for %d", most, room())

    def _refuse(self) -> None:
        self.refused += 1
        now = time.monotonic()
        if now >= self._said_at + SAID_EVERY:
            self._said_at = now
            what = "refusing clients: %d are connected, and all wait for answers; refused so far: %d"
            logger.warning(what, self.limit, self.refused)

    def _make_room(self) -> bool:
        """Close the oldest connection on which nothing is asked, and say whether there was any."""
        for connection in self.server.connections:
            transport = connection.transport
            if transport is None or transport.is_closing():
                # It is on its way out.
                continue
            if not self.doors.is_busy(connection):
                connection.close()
                transport.close()
                return True
        return False


class Refusing(asyncio.Protocol):
    """Tells one client to come again, and lets it read that: a close would take back what it has not read."""

    def __init__(self, accepting: Accepting) -> None:
        self._others = accepting.refusing
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        transport = cast("asyncio.Transport", transport)
        if len(self._others) >= MOST_REFUSED:
            transport.abort()
            return
        self._others.add(self)
        transport.write(ANSWER)
        if transport.can_write_eof():
            transport.write_eof()
        else:
            # With TLS the end is a message of its own, and comes after the answer.
            transport.close()
        self._timer = asyncio.get_running_loop().call_later(LINGER, transport.abort)

    def connection_lost(self, _: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._others.discard(self)
        if self._timer is not None:
            self._timer.cancel()
