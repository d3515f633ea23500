"""Do connections to upstreams begin and end without leaving anything open?"""

import asyncio
import gc
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import pytest

from swapcore_http.config import TimeoutsConfig
from swapcore_http.upstreams import (
    MOST_KEPT,
    PROBE_AFTER,
    SOON,
    CannotConnectError,
    Connection,
    Upstreams,
)
from tests.http.processes import open_files

pytestmark = pytest.mark.anyio

FAR = 30
"""Turns of the loop in which a connection to this machine is made, and more."""


class Keeps:
    """Takes a connection and keeps it."""

    def __init__(self) -> None:
        self.connection: Connection | None = None

    def connected(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, data: bytes) -> None:
        pass

    def lost(self, error: Exception | None) -> None:
        pass


def two_addresses(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Have a name stand for two addresses, as `localhost` does on most machines."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", port)) for number in (1, 2)]
    real = socket.getaddrinfo

    def resolve(host: str, *arguments: object, **named: object) -> object:
        return found if host == "twofold" and not named.get("flags") else real(host, *arguments, **named)  # type: ignore[arg-type]

    async def look_up(host: str, *_: object, **__: object) -> object:
        return found

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)


@pytest.mark.parametrize("host", ["127.0.0.1", "twofold"])
@pytest.mark.parametrize("turns", range(FAR))
async def test_who_gives_up_while_connecting_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, host: str, turns: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        two_addresses(monkeypatch, port)
        upstreams, taker = Upstreams(), Keeps()
        files = open_files()
        task = asyncio.ensure_future(upstreams.connect(1, f"http://{host}:{port}", taker))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = task.cancel()
        done, _ = await asyncio.wait([task])
        assert done == {task}
        if taker.connection is not None:
            taker.connection.close()
        assert task.cancelled() == cancelled
        # Whatever was forgotten instead of closed would warn, and the warning is an error.
        gc.collect()
        await upstreams.close()
        await until(lambda: open_files() <= files)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - a socket that the loop closes tells nobody.
            await asyncio.sleep(0)


async def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        two_addresses(monkeypatch, port)
        upstreams, taker = Upstreams(), Keeps()
        await upstreams.connect(1, f"http://twofold:{port}", taker)
        assert taker.connection is not None
        assert taker.connection.transport.get_extra_info("peername")[0] == "127.0.0.2"
        taker.connection.close()
        await upstreams.close()


async def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(CannotConnectError, match=r"no-such-host\.invalid"):
        await Upstreams().connect(1, "http://no-such-host.invalid:9", Keeps())


def test_closing_waits_until_the_sockets_are_closed() -> None:
    """Even if that is the last thing that the loop does."""

    async def use() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            upstreams, taker = Upstreams(), Keeps()
            await upstreams.connect(1, f"http://127.0.0.1:{listener.getsockname()[1]}", taker)
            assert taker.connection is not None
            taker.connection.give_back()
            await upstreams.close()
            assert taker.connection.transport.get_extra_info("socket").fileno() == -1

    asyncio.run(use())


@contextmanager
def listening() -> Iterator[tuple[socket.socket, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


async def connected(upstreams: Upstreams, url: str, **timeouts: int) -> Connection:
    taker = Keeps()
    await upstreams.connect(1, url, taker, TimeoutsConfig(**timeouts))
    assert taker.connection is not None
    return taker.connection


@pytest.mark.parametrize(("keepalive", "after"), [(30, 30), (0, 15), (99999, 32767), (-1, None)])
async def test_silent_connections_are_probed(keepalive: int, after: int | None) -> None:
    with listening() as (_, where):
        upstreams = Upstreams()
        connection = await connected(upstreams, f"http://{where}", keepalive=keepalive)
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == (after is not None)
        for option in (PROBE_AFTER, socket.TCP_KEEPINTVL):
            assert after is None or sock.getsockopt(socket.IPPROTO_TCP, option) == after
        connection.close()
        await upstreams.close()


@pytest.mark.parametrize("seconds", [3, 90, 0, -1])
async def test_an_idle_connection_is_kept_for_as_long_as_is_said(
    monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    loop = asyncio.get_running_loop()
    real, late = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + late)
    with listening() as (_, where):
        upstreams = Upstreams()
        connection = await connected(upstreams, f"http://{where}", idle_conn=seconds)
        connection.give_back()
        late = abs(seconds) - 0.5 if seconds > 0 else 1e6
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not connection.transport.is_closing()
        if seconds > 0:
            late += 0.6
            await until(connection.transport.is_closing)
            assert not upstreams.take(1, Keeps())
        else:
            assert upstreams.take(1, Keeps())
            connection.close()
        await upstreams.close()


@pytest.mark.parametrize("seconds", [90, 0])
async def test_of_a_burst_only_some_are_kept_for_long(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    loop = asyncio.get_running_loop()
    real, late = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + late)
    with listening() as (_, where):
        upstreams = Upstreams()
        url = f"http://{where}"
        burst = [await connected(upstreams, url, idle_conn=seconds) for _ in range(MOST_KEPT + 10)]
        # One is there before the others, and the timer with it.
        for connection in burst[:1]:
            connection.give_back()
        late = 1.0
        for connection in burst[1:]:
            connection.give_back()
        late += SOON + 0.1
        await until(
            lambda: [each.transport.is_closing() for each in burst] == [True] * 10 + [False] * MOST_KEPT
        )
        if seconds:
            late += seconds
            await until(burst[-1].transport.is_closing)
        await upstreams.close()


async def test_what_its_upstream_has_closed_is_not_kept() -> None:
    with listening() as (listener, where):
        upstreams = Upstreams()
        connection = await connected(upstreams, f"http://{where}", idle_conn=0)
        connection.give_back()
        pool = upstreams._pools[1]
        assert list(pool.idle) == [connection]
        listener.accept()[0].close()
        await until(lambda: not pool.idle)
        await upstreams.close()


async def test_an_upstream_that_does_not_agree_on_tls_is_given_up() -> None:
    with listening() as (listener, where):
        upstreams = Upstreams()
        files = open_files()
        message = f"Cannot agree on TLS with {where} within 1 s"
        with pytest.raises(CannotConnectError, match=message):
            # Connecting has no limit, and has long been done.
            await connected(upstreams, f"https://{where}", connect=0, tls_handshake=1)
        await until(lambda: open_files() <= files)
        # It ends, too, if it speaks no TLS at all.
        talker = asyncio.ensure_future(asyncio.to_thread(_answers_plainly, listener))
        with pytest.raises(CannotConnectError, match=f"Cannot connect to {where}: "):
            await connected(upstreams, f"https://{where}", connect=0, tls_handshake=0)
        await talker
        await upstreams.close()


def _answers_plainly(listener: socket.socket) -> None:
    # The first in line is the one that was given up.
    for _ in range(2):
        with listener.accept()[0] as sock:
            # Reset it in any case: nobody is to wait for the rest.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if sock.recv(1):
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                sock.recv(4096)


async def test_an_upstream_that_does_not_accept_is_given_up() -> None:
    # So many wait that no more are let in.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        waiting = []
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        with pytest.raises(CannotConnectError, match=f"Cannot connect to {where} within 1 s"):
            await connected(Upstreams(), f"http://{where}", connect=1)
        for sock in waiting:
            sock.close()


async def test_who_comes_to_a_run_that_has_left_keeps_nothing_of_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        upstreams, taker = Upstreams(), Keeps()
        for _ in range(2):
            # It may be told more than once.
            upstreams.forget(1)
        assert upstreams.origin(1, url).name.decode() == url.removeprefix("http://")
        await upstreams.connect(1, url, taker)
        assert taker.connection is not None
        taker.connection.give_back()
        assert taker.connection.transport.is_closing()
        assert not upstreams.take(1, taker)
        assert not upstreams._pools
        await upstreams.connect(2, url, taker)
        taker.connection.give_back()
        assert upstreams.take(2, taker)
        taker.connection.close()
        await upstreams.close()
