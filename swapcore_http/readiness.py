"""When does a starting upstream answer, and at which address?

As long as nothing listens, a raw connect is tried every few milliseconds: it
costs some microseconds and tells the upstream nothing. Once something listens,
the health check is asked for over one kept connection, the more rarely the
longer the start takes: an upstream that needs a minute to load is asked four
times a second, one that needs a tenth of a second is noticed at once.

The requests go through aiohttp's client: beside it, reading an answer right
(its framing, TLS, its bounds) would be a second HTTP client, for a cost that
is already small against what it watches.
"""

import asyncio
import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit, urlunsplit

import aiohttp
import anyio
from yarl import URL

from swapcore_http.trust import trust_for

__all__ = ["is_this_machine", "probe_url", "wait_until_ready"]

CONNECT_OFTEN, CONNECT_EVERY = 0.002, 0.005
"""Seconds between raw connects while the port refuses: `SHARE` of the time since the spawn, within them."""

RESOLVE_EVERY = 0.25
"""The same, for a host whose name has to be looked up."""

CONNECT_TIMEOUT = 2.0
"""Seconds for one raw connect; only a remote machine takes any."""

SHARE = 0.02
"""Of the time since the spawn, what passes between two looks."""

SHORTEST, LONGEST = 0.002, 0.25
"""Seconds between two health checks: that share, within these limits."""

READY = 200
"""The one status that counts. A redirect leads somewhere else, to a login page as often as not."""

LOADING = 503

SHOWN_BYTES = 200
"""What is passed on of it."""

BODY_BYTES = 64 * 1024
"""What is read of an answer, so that its connection can be kept; one with more to say is hung up on."""

LOOPBACK = ("127.0.0.1", "::1")
"""What `localhost` may mean. Many upstreams listen on one of the two only."""


async def wait_until_ready(
    url: str, endpoint: str, *, spawned: float, patience: float, progressed: Callable[[str], None]
) -> str:
    """Return once the upstream answers its health check with status 200.

    There is no limit: the caller cancels it when the upstream has died or its
    time is over.

    Args:
        url: The base URL of the upstream.
        endpoint: Path and query of the health check, below the base path; a
            whole URL counts for its path and query alone, and empty is the
            base path itself.
        spawned: When the upstream was started, by `time.monotonic`.
        patience: Seconds for one health check, 0 for no limit: one that is
            accepted and never answered is asked again.
        progressed: Called with what the upstream says with a 503, which is how
            one says that it is loading; an answer without a body says nothing.

    Returns:
        The base URL, with the address that answered in the place of
        `localhost`, so that nobody has to find out again.
    """
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, ssl=trust_for(url)),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=patience),
        auto_decompress=False,
        # The name that it was configured with, as forwarded requests may carry it.
        headers={"Host": urlsplit(url).netloc.rpartition("@")[2]},
    ) as session:
        base = await _wait_until_listening(urlsplit(url), spawned)
        target = URL(probe_url(urlunsplit(base), endpoint), encoded=True)
        while True:
            status, said = await _ask(session, target)
            if status == READY:
                break
            if status == LOADING and said:
                progressed(said)
            await anyio.sleep(_pause(spawned, SHORTEST, LONGEST))
    return urlunsplit(base)


def _pause(spawned: float, shortest: float, longest: float) -> float:
    """Say how long to wait until the next look: a start that has taken long is not seen late by much."""
    return min(max(SHARE * (time.monotonic() - spawned), shortest), longest)


def probe_url(url: str, endpoint: str) -> str:
    """Join the health check's endpoint to the base URL of an upstream."""
    base, check = urlsplit(url), urlsplit(endpoint.strip())
    # "//x" would be split as a host, and "a:b" as a scheme; only whole URLs have both.
    path, query = (check.path, check.query) if check.scheme and check.netloc else _path_and_query(endpoint)
    joined = base.path.rstrip("/") + "/" + path.removeprefix("/") if path else base.path or "/"
    return urlunsplit((base.scheme, base.netloc, joined, query, ""))


def _path_and_query(endpoint: str) -> tuple[str, str]:
    path, _, query = endpoint.strip().partition("#")[0].partition("?")
    return path, query


def is_this_machine(host: str | None) -> bool:
    """Tell whether a URL's host is an address of this machine alone."""
    if host == "localhost":
        return True
    address = _numeric(host or "")
    return address is not None and (address.is_loopback or address.is_unspecified)


async def _wait_until_listening(base: SplitResult, spawned: float) -> SplitResult:
    """Return when a connection is accepted, with the address that did in the place of `localhost`."""
    host = base.hostname or ""
    port = base.port or (443 if base.scheme == "https" else 80)
    is_numeric = host == "localhost" or _numeric(host) is not None
    while True:
        for address in LOOPBACK if host == "localhost" else (host,):
            if await _accepts(address, port):
                # A certificate names a host, not an address.
                return base if address == host or base.scheme == "https" else _at(base, address)
        await anyio.sleep(_pause(spawned, CONNECT_OFTEN, CONNECT_EVERY) if is_numeric else RESOLVE_EVERY)


def _at(base: SplitResult, address: str) -> SplitResult:
    user, at, _ = base.netloc.rpartition("@")
    host = f"[{address}]" if ":" in address else address
    port = "" if base.port is None else f":{base.port}"
    return base._replace(netloc=f"{user}{at}{host}{port}")


def _numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


async def _accepts(host: str, port: int) -> bool:
    """Tell whether a TCP connection is accepted there, and hang up."""
    address = _numeric(host)
    if address is not None and address.is_loopback and (found := _accepts_here(host, port)) is not None:
        return found
    loop = asyncio.get_running_loop()
    with suppress(OSError), anyio.move_on_after(CONNECT_TIMEOUT):
        if address is None:
            found_all = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        else:
            found_all = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        for family, kind, protocol, _, where in found_all:
            with suppress(OSError), socket.socket(family, kind, protocol) as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, where)
                if _is_anothers(sock):
                    return True
    return False


def _accepts_here(host: str, port: int) -> bool | None:
    """Tell the same of an address of this machine, where it is known at once; None if it is not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        sock.connect_ex((host, port))
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        try:
            return _is_anothers(sock)
        except OSError:
            # It is still being connected.
            return None
    return False


def _is_anothers(sock: socket.socket) -> bool:
    """Tell whether a connected socket has met another one.

    Raises:
        OSError: it is not connected.
    """
    if sock.getpeername() != sock.getsockname():
        return True
    # In the range of outgoing ports, a connect to a free port of this machine can meet itself.
    # It is reset, so that the port is free for the upstream at once.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


async def _ask(session: aiohttp.ClientSession, target: URL) -> tuple[int, str]:
    """Make one health check.

    Returns:
        Its status, 0 without an answer, and how its body begins unless it is 200.
    """
    said = b""
    try:
        async with session.get(target, allow_redirects=False) as response:
            if response.status != READY:
                said = await response.content.readexactly(BODY_BYTES)
    except asyncio.IncompleteReadError as error:
        # The whole answer was read, and the connection can be kept.
        said = error.partial
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0, ""
    return response.status, said[:SHOWN_BYTES].decode("utf-8", "replace").strip()
