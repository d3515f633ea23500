"""Tests of `swapcore_http.accepting`: how many clients may be connected at once?"""

import asyncio
import json
import resource
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
import trustme
from attrs import define

from swapcore_http import accepting
from swapcore_http.accepting import Accepting, room
from swapcore_http.config import Config
from swapcore_http.serve import Address, Server, listen
from swapcore_http.serve import serving as serving_config
from swapcore_http.tls import Tls
from tests.http.programs import program, write
from tests.http.test_tls import issue

pytestmark = pytest.mark.anyio

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@define
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def of(cls, stack: AsyncExitStack, url: str, trust: ssl.SSLContext | None = None) -> "Client":
        port = int(url.rpartition(":")[2])
        client = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=trust))
        stack.push_async_callback(client.close)
        return client

    async def close(self) -> None:
        self.writer.close()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def status(self) -> int:
        with anyio.fail_after(60):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await self.reader.readexactly(length)
            return int(head.split()[1])

    async def rest(self) -> bytes:
        """Read up to the end, whichever way it ends."""
        with anyio.fail_after(60), suppress(ConnectionError):
            return await self.reader.read()
        return b""


@asynccontextmanager
async def bounded(most: int, tls: Tls | None = None) -> AsyncIterator[tuple[Server, AsyncExitStack]]:
    """Serve no models to so many clients."""
    with listen(Address("127.0.0.1", 0)) as listener:
        async with (
            serving_config(Config(max_connections=most), listener, tls=tls) as server,
            AsyncExitStack() as stack,
        ):
            yield server, stack


async def ask_slowly(stack: AsyncExitStack, url: str, trust: ssl.SSLContext | None = None) -> Client:
    """Be a client whose request is being read."""
    client = await Client.of(stack, url, trust)
    client.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    with anyio.fail_after(60):
        assert b" 100 " in await client.reader.readuntil(b"\r\n\r\n")
    return client


async def test_one_more_takes_the_place_of_the_oldest_on_which_nothing_is_asked() -> None:
    async with bounded(3) as (server, stack):
        busy = await ask_slowly(stack, server.base_url)
        first, second = [await Client.of(stack, server.base_url) for _ in range(2)]
        for client in (first, second):
            client.send(GET)
            assert await client.status() == 200
        third = await Client.of(stack, server.base_url)
        third.send(GET)
        assert await third.status() == 200
        assert await first.rest() == b""
        for client in (second, third):
            client.send(GET)
            assert await client.status() == 200
        busy.send(b'{"x": 1} ')
        assert await busy.status() == 404


async def test_where_all_are_asked_something_one_more_is_told_to_come_again() -> None:
    async with bounded(2) as (server, stack):
        busy = [await ask_slowly(stack, server.base_url) for _ in range(2)]
        more = await Client.of(stack, server.base_url)
        # It has asked before it could know, and reads the answer all the same.
        more.send(GET)
        head, _, content = (await more.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in head
        assert "maxConnections" in json.loads(content)["error"]["message"]
        busy[0].send(b'{"x": 1} ')
        assert await busy[0].status() == 404
        again = await Client.of(stack, server.base_url)
        again.send(GET)
        assert await again.status() == 200


async def test_it_is_told_so_over_tls_too(tmp_path: Path) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with bounded(1, Tls(*issue(authority, tmp_path))) as (server, stack):
        await ask_slowly(stack, server.base_url, trust)
        more = await Client.of(stack, server.base_url, trust)
        assert (await more.rest()).startswith(b"HTTP/1.1 503 ")


async def test_those_who_are_refused_at_once_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "MOST_REFUSED", 2)
    monkeypatch.setattr(accepting, "LINGER", 1000)
    async with bounded(1) as (server, stack):
        await ask_slowly(stack, server.base_url)
        told = [await Client.of(stack, server.base_url) for _ in range(2)]
        for client in told:
            assert (await client.rest()).startswith(b"HTTP/1.1 503 ")
        cut = await Client.of(stack, server.base_url)
        assert await cut.rest() == b""
        # Whoever has read it and gone leaves room to tell another.
        await told[0].close()
        assert await until_told(stack, server.base_url)


async def until_told(stack: AsyncExitStack, url: str) -> bytes:
    """Come again until the server has noticed that another has gone."""
    with anyio.fail_after(60):
        while not (said := await (await Client.of(stack, url)).rest()):
            pass
    return said


async def test_another_configuration_brings_another_bound() -> None:
    async with bounded(1) as (server, stack):
        await ask_slowly(stack, server.base_url)
        server.present.replace(Config(max_connections=2))
        await ask_slowly(stack, server.base_url)
        server.present.replace(Config(max_connections=1))
        assert (await (await Client.of(stack, server.base_url)).rest()).startswith(b"HTTP/1.1 503 ")


def test_the_room_follows_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((20_192, 6_666), (1024, 277), (10, 16), (resource.RLIM_INFINITY, 2**31)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert room() == most


def test_no_bound_goes_beyond_the_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    bound = Accepting(None, None)  # type: ignore[arg-type]
    bound.follow(5000)
    assert bound.limit == 277
    assert "maxConnections is 5000; the limit of open files has room for 277" in caplog.text
    bound.follow(7)
    assert bound.limit == 7


async def test_with_few_descriptors_a_crowd_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    limit = 256
    path = write(tmp_path, a={"load_until": tmp_path / "go"})
    words = ("serve", "--config", str(path), "--listen", "127.0.0.1:0")
    async with program(*words, limit_of_files=limit) as server, AsyncExitStack() as stack:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        body = b'{"model": "a"}'
        ask = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        crowd = []
        for _ in range(3 * limit):
            client = await Client.of(stack, server.base_url)
            client.send(ask)
            crowd.append(client)
        served = []

        async def note(client: Client) -> None:
            try:
                served.append(await client.status())
            except (ConnectionError, asyncio.IncompleteReadError):
                served.append(0)

        async with anyio.create_task_group() as tasks:
            for client in crowd:
                tasks.start_soon(note, client)
            await server.until_said("refusing clients")
            (tmp_path / "go").touch()
        assert served.count(200) >= 16
        assert served.count(503) >= 1
        assert set(served) <= {200, 503, 0}
        async with server.chat("a") as answer:
            assert answer.status == 200
            await answer.read()
        server.signal()
        assert await server.ends() == 0
    assert "out of system resource" not in server.log
    assert "Too many open files" not in server.log
