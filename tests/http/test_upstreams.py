"""Do connections to upstreams begin and end without leaving anything open?"""

import asyncio
import gc
import socket
from collections.abc import Callable

import anyio
import pytest

from swapcore_http.upstreams import CannotConnectError, Connection, Upstreams
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
        task = asyncio.ensure_future(upstreams.connect(1, f"http://{host}:{port}", taker, 5))
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
        await upstreams.connect(1, f"http://twofold:{port}", taker, 5)
        assert taker.connection is not None
        assert taker.connection.transport.get_extra_info("peername")[0] == "127.0.0.2"
        taker.connection.close()
        await upstreams.close()


async def test_a_name_that_nobody_knows_is_said() -> None:
    with pytest.raises(CannotConnectError, match=r"no-such-host\.invalid"):
        await Upstreams().connect(1, "http://no-such-host.invalid:9", Keeps(), 5)


def test_closing_waits_until_the_sockets_are_closed() -> None:
    """Even if that is the last thing that the loop does."""

    async def use() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            upstreams, taker = Upstreams(), Keeps()
            await upstreams.connect(1, f"http://127.0.0.1:{listener.getsockname()[1]}", taker, 5)
            assert taker.connection is not None
            taker.connection.give_back()
            await upstreams.close()
            assert taker.connection.transport.get_extra_info("socket").fileno() == -1

    asyncio.run(use())
