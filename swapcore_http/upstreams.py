"""Who keeps the connections to the upstreams?

Each run has its own: none outlives it, and no request reaches another run
than the one that was leased for it.
"""

import asyncio
import base64
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

from aiohappyeyeballs import AddrInfoType, start_connection
from attrs import define, field, frozen
from yarl import URL

__all__ = ["CONNECT_TIMEOUT", "CannotConnectError", "Connection", "Origin", "Taker", "Upstreams"]

IDLE: Final = 3.0
"""Seconds that an idle connection is kept: less than the 5 of llama-server and vLLM, who close it then."""

CONNECT_TIMEOUT: Final = 30.0
"""Seconds that connecting to an upstream may take; it is ready, so this is a network gone away."""

HAPPY: Final[dict[str, Any]] = {"happy_eyeballs_delay": 0.25}

NEXT_ADDRESS: Final = 0.25
"""Seconds after which a host's next address is tried beside the one before."""

PORTS: Final = {"http": 80, "https": 443}


class CannotConnectError(Exception):
    """There is no connection to the upstream; the text says why."""


class Taker(Protocol):
    """Takes what comes on a connection, from the loop's callbacks: it must not raise."""

    def connected(self, connection: "Connection") -> None:
        """Take that connection, or close it."""

    def received(self, data: bytes) -> None:
        """Take data; it is never empty."""

    def lost(self, error: Exception | None) -> None:
        """The connection is gone; without an error it was closed in order. Called at most once."""


@frozen
class Origin:
    """Where a run answers, taken apart once."""

    host: str
    port: int
    tls: bool
    base: str
    """The path that everything lives below, without a slash at its end."""

    name: bytes
    """What clients that name no host are understood to mean."""

    authorization: bytes | None
    """The credentials that the URL has, as a value of that field."""

    @classmethod
    def of(cls, base_url: str) -> "Origin":
        """Take a base URL apart.

        Raises:
            CannotConnectError: it is none.
        """
        try:
            url = URL(base_url, encoded=True)
            host, port = url.host, url.port or PORTS.get(url.scheme)
        except ValueError as error:
            raise CannotConnectError(f"{base_url!r} is no URL: {error}") from None
        if not host or port is None or url.scheme not in PORTS:
            raise CannotConnectError(f"{URL(base_url).with_user(None)} is no http or https URL")
        authorization = None
        if url.raw_user is not None or url.raw_password is not None:
            credentials = f"{url.user or ''}:{url.password or ''}".encode()
            authorization = b"Basic " + base64.b64encode(credentials)
        named = url.raw_host or host
        name = f"[{named}]" if ":" in named else named
        if port != PORTS[url.scheme]:
            name += f":{port}"
        return cls(host, port, url.scheme == "https", url.raw_path.rstrip("/"), name.encode(), authorization)


class Connection(asyncio.Protocol):
    """One connection to an upstream: whoever has taken it has it to itself."""

    __slots__ = ("_drained", "_pool", "_writable", "idle_since", "taker", "transport", "used")

    transport: asyncio.Transport

    def __init__(self, pool: "Pool", taker: Taker) -> None:
        self._pool = pool
        self.taker: Taker | None = taker
        self.used = False
        """Whether it has served before."""

        self.idle_since = 0.0
        self._writable = True
        self._drained: asyncio.Future[None] | None = None

    # What its owner may do

    def give_back(self) -> None:
        """Let it serve others; its last answer has ended, and nothing came after that."""
        self.taker = None
        self.used = True
        self._pool.put(self)

    def close(self) -> None:
        """End it at once."""
        self.taker = None
        self.transport.abort()

    async def drain(self) -> None:
        """Wait until it takes more data.

        Raises:
            ConnectionError: it never will.
        """
        if self.transport.is_closing():
            raise ConnectionResetError("the upstream closed the connection")
        if not self._writable:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    # What the loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)
        if self.taker is not None:
            self.taker.connected(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.taker is None:
            # Nobody has asked: it is out of step, and so would be the next answer.
            self.transport.abort()
        else:
            self.taker.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._wake(ConnectionResetError("the upstream closed the connection"))
        taker, self.taker = self.taker, None
        if taker is not None:
            taker.lost(exc)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = False

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable = True
        self._wake(None)

    def _wake(self, error: Exception | None) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            if error is None:
                drained.set_result(None)
            else:
                drained.set_exception(error)


@define(eq=False)
class Pool:
    """The connections to one run."""

    origin: Origin
    idle: deque[Connection] = field(factory=deque, init=False)
    """Those that nobody uses, the last used at the end."""

    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _closed: bool = field(default=False, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def take(self, taker: Taker) -> bool:
        """Have an idle connection taken, if there is any."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                connection.taker = taker
                taker.connected(connection)
                return True
        return False

    def put(self, connection: Connection) -> None:
        if self._closed or connection.transport.is_closing():
            connection.transport.abort()
            return
        connection.idle_since = self._loop.time()
        self.idle.append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer serves them all."""
        self._timer = None
        oldest = self._loop.time() - IDLE
        while self.idle and self.idle[0].idle_since <= oldest:
            self.idle.popleft().transport.abort()
        if self.idle:
            self._timer = self._loop.call_at(self.idle[0].idle_since + IDLE, self._sweep)

    async def connect(self, taker: Taker, context: ssl.SSLContext | None, limit: float) -> None:
        origin = self.origin
        where = origin.name.decode()
        try:
            async with asyncio.timeout(limit or None):
                # Asyncio's own race of addresses leaves its socket open if it is cancelled as it ends.
                sock = await start_connection(await self._addresses(), happy_eyeballs_delay=NEXT_ADDRESS)
                await self._loop.create_connection(
                    lambda: Connection(self, taker),
                    sock=sock,
                    ssl=context,
                    server_hostname=origin.host if origin.tls else None,
                )
        except TimeoutError:
            raise CannotConnectError(f"Cannot connect to {where} within {limit:g} s") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise CannotConnectError(f"Cannot connect to {where}: {why}") from error

    async def _addresses(self) -> Sequence[AddrInfoType]:
        host, port = self.origin.host, self.origin.port
        try:
            # An address is its own answer: no thread need be asked.
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    def close(self) -> None:
        """Close what is idle, and let nothing become so any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self.idle:
            self.idle.pop().transport.abort()


class Upstreams:
    """The connections to all runs."""

    def __init__(self) -> None:
        self._pools: dict[int, Pool] = {}
        self._context: ssl.SSLContext | None = None

    def origin(self, run: int, base_url: str) -> Origin:
        """Where that run answers; see `Origin.of`."""
        return self._pool(run, base_url).origin

    def take(self, run: int, taker: Taker) -> bool:
        """Have an idle connection to that run taken, if there is any, and say whether there was."""
        pool = self._pools.get(run)
        return pool is not None and pool.take(taker)

    async def connect(self, run: int, base_url: str, taker: Taker, limit: float) -> None:
        """Open a new connection, and have it taken.

        Raises:
            CannotConnectError: it cannot be had, or not within so many seconds (0: no limit).
        """
        pool = self._pool(run, base_url)
        if pool.origin.tls and self._context is None:
            self._context = ssl.create_default_context()
        await pool.connect(taker, self._context if pool.origin.tls else None, limit)

    def forget(self, run: int) -> None:
        """Close what is idle of a run that serves no more; what is in use ends with its lease."""
        pool = self._pools.pop(run, None)
        if pool is not None:
            pool.close()

    async def close(self) -> None:
        """Close all idle connections, and wait until that is done."""
        for run in tuple(self._pools):
            self.forget(run)
        # The loop closes sockets in a turn of its own, and this may have been the last one.
        await asyncio.sleep(0)

    def _pool(self, run: int, base_url: str) -> Pool:
        pool = self._pools.get(run)
        if pool is None:
            pool = self._pools[run] = Pool(Origin.of(base_url))
        return pool
