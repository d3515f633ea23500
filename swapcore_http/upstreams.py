"""Who keeps the connections to the upstreams?

Each run has its own: none outlives it, and no request reaches another run
than the one that was leased for it.
"""

import asyncio
import base64
import math
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol, cast

from aiohappyeyeballs import AddrInfoType, start_connection
from attrs import define, field, frozen
from yarl import URL

from swapcore_http.config import TimeoutsConfig
from swapcore_http.trust import authorities

__all__ = ["USUAL", "CannotConnectError", "Connection", "Origin", "Taker", "Upstreams"]

USUAL: Final = TimeoutsConfig()
"""How connections are made and kept where nothing says otherwise."""

NEXT_ADDRESS: Final = 0.25
"""Seconds after which a host's next address is tried beside the one before."""

PROBE: Final = 15
"""Seconds of silence after which a connection is probed where that is left to us."""

PROBE_AFTER: Final = getattr(socket, "TCP_KEEPIDLE", None) or socket.TCP_KEEPALIVE  # type: ignore[attr-defined]
"""What Linux, and what macOS, calls the time after which it is probed for the first time."""

LONGEST_PROBE: Final = 32767
"""What systems take at most for that."""

NO_LIMIT: Final = 10.0**9
"""Seconds that are not waited, for who does not take 0 for no limit."""

MOST_KEPT: Final = 64
"""Idle connections to one upstream that are kept for as long as is wanted: each takes a descriptor."""

SOON: Final = 3.0
"""Seconds after which those beyond are closed."""

PORTS: Final = {"http": 80, "https": 443}

REMEMBERED: Final = 256
"""Of how many runs that have left it is known: requests for one come a moment later at most."""


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


@frozen(eq=False, repr=False)
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

    __slots__ = ("_drained", "_pool", "_writable", "idle_since", "origin", "taker", "transport", "used")

    transport: asyncio.Transport

    def __init__(self, pool: "Pool", taker: Taker) -> None:
        self._pool = pool
        self.origin = pool.origin
        """Where it leads."""

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
        if taker is None:
            self._pool.gone(self)
        else:
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


@define(eq=False, repr=False)
class Pool:
    """The connections to one run."""

    origin: Origin
    timeouts: TimeoutsConfig = field(default=USUAL, init=False)
    """How connections are kept, as whoever opened the last one wants it."""

    idle: deque[Connection] = field(factory=deque, init=False)
    """Those that nobody uses, the last used at the end."""

    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _closed: bool = field(default=False, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def take(self, taker: Taker) -> Connection | None:
        """Have an idle connection taken, and return it, if there is any."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                connection.taker = taker
                taker.connected(connection)
                return connection
        return None

    def put(self, connection: Connection) -> None:
        if self._closed or connection.transport.is_closing():
            connection.transport.abort()
            return
        connection.idle_since = self._loop.time()
        self.idle.append(connection)
        # One more than are kept for long brings the time nearer at which to look, if it is that far.
        if self._timer is None or (
            len(self.idle) == MOST_KEPT + 1 and not 0 < self.timeouts.idle_conn <= SOON
        ):
            self._watch()

    def gone(self, connection: Connection) -> None:
        """Hear that the upstream has closed an idle connection."""
        with suppress(ValueError):
            self.idle.remove(connection)

    def _sweep(self) -> None:
        """Close what has been idle for too long; one timer serves them all."""
        now = self._loop.time()
        while self.idle and self.idle[0].idle_since + self._kept <= now:
            self.idle.popleft().transport.abort()
        self._watch()

    def _watch(self) -> None:
        """Look again when the oldest has been idle for too long, if ever."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        kept = self._kept
        if self.idle and kept < math.inf:
            self._timer = self._loop.call_at(self.idle[0].idle_since + kept, self._sweep)

    @property
    def _kept(self) -> float:
        """For how many seconds the oldest idle connection is kept: what a burst has left goes soon."""
        kept = self.timeouts.idle_conn if self.timeouts.idle_conn > 0 else math.inf
        return min(kept, SOON) if len(self.idle) > MOST_KEPT else kept

    async def connect(self, taker: Taker, context: ssl.SSLContext | None, timeouts: TimeoutsConfig) -> None:
        origin = self.origin
        where = origin.name.decode()
        self.timeouts = timeouts
        what, limit = "connect to", timeouts.connect
        try:
            async with asyncio.timeout(limit if limit > 0 else None) as deadline:
                # Asyncio's own race of addresses leaves its socket open if it is cancelled as it ends.
                sock = await start_connection(await self._addresses(), happy_eyeballs_delay=NEXT_ADDRESS)
                _have_probed(sock, timeouts.keepalive)
                if origin.tls and not deadline.expired():
                    what, limit = "agree on TLS with", timeouts.tls_handshake
                    deadline.reschedule(self._loop.time() + limit if limit > 0 else None)
                await self._loop.create_connection(
                    lambda: Connection(self, taker),
                    sock=sock,
                    ssl=context,
                    server_hostname=origin.host if origin.tls else None,
                    # The limit is ours: asyncio's own would tell nothing of what took so long.
                    ssl_handshake_timeout=NO_LIMIT if origin.tls else None,
                )
        except TimeoutError as error:
            if error.errno is not None:
                # It is the system that has given up.
                raise CannotConnectError(f"Cannot connect to {where}: {error.strerror}") from error
            raise CannotConnectError(f"Cannot {what} {where} within {limit:g} s") from None
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


def _have_probed(sock: socket.socket, seconds: int) -> None:
    """Have the system look whether the other side is there after so many seconds of silence, again and again.

    0 leaves the time to us, and less than 0 has nobody look.
    """
    if seconds < 0:
        return
    after = min(seconds or PROBE, LONGEST_PROBE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, PROBE_AFTER, after)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, after)


class Upstreams:
    """The connections to all runs."""

    def __init__(self) -> None:
        self._pools: dict[int, Pool] = {}
        self._forgotten: deque[int] = deque(maxlen=REMEMBERED)

    def origin(self, run: int, base_url: str) -> Origin:
        """Where that run answers; see `Origin.of`."""
        return self._pool(run, base_url).origin

    def take(self, run: int, taker: Taker) -> Connection | None:
        """Have an idle connection to that run taken, and return it, if there is any."""
        pool = self._pools.get(run)
        return None if pool is None else pool.take(taker)

    async def connect(self, run: int, base_url: str, taker: Taker, timeouts: TimeoutsConfig = USUAL) -> None:
        """Open a new connection, and have it taken.

        Raises:
            CannotConnectError: it cannot be had, or not in the time that `timeouts` gives it.
        """
        pool = self._pool(run, base_url)
        await pool.connect(taker, authorities() if pool.origin.tls else None, timeouts)

    def forget(self, run: int) -> None:
        """Close what is idle of a run that serves no more; what is in use ends with its lease."""
        if run not in self._forgotten:
            self._forgotten.append(run)
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
            pool = Pool(Origin.of(base_url))
            if run in self._forgotten:
                # It was left while a request that had its turn was still on the way to it.
                pool.close()
            else:
                self._pools[run] = pool
        return pool
