"""Tests of `swapcore_http.conversation`: how do connections go on, and end, on which no task answers?

They run on the loops that there are, for both have their own transports.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
import anyio
import pytest
import trustme

from swapcore_http.conversation import Conversation
from swapcore_http.doors import DOORS
from swapcore_http.routes.context import CONTEXT
from tests.http.bothways import Upstream, at_rest, conversation_of, post, read_message, resting
from tests.http.processes import until
from tests.http.serving import Served, Wire
from tests.http.test_conversation import HEALTH, A, asking, body_of, echo, is_kept_back
from tests.http.test_conversation import pytestmark as pytestmark  # noqa: PLC0414 - on the same loops.

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DEADLINE = 30.0


class Gated:
    """An upstream's answer in two halves, the second of which waits."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def answer(self, _: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"1\r\na\r\n")
        await self.gate.wait()
        writer.write(b"1\r\nb\r\n0\r\n\r\n")


async def half(wire: Wire) -> None:
    await wire.reader.readuntil(b"1\r\na\r\n")


async def rest(wire: Wire) -> None:
    await wire.reader.readuntil(b"1\r\nb\r\n0\r\n\r\n")


async def close_doors(served: Served) -> None:
    assert served.runner.server is not None
    served.runner.app[DOORS].close(served.runner.server)


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    gated, kept = Gated(), 0.15
    async with asking(keepalive=kept) as (served, upstream, taken), resting(served) as wire:
        # Each answer moves the time at which it is closed.
        for _ in range(4):
            await wire.send(post(A))
            await body_of(wire)
            conversation = await at_rest(served, wire)
            assert conversation._next_keepalive_close_time > asyncio.get_running_loop().time()
            assert conversation._keepalive_handle is not None
        upstream.answer = gated.answer
        await wire.send(post(A))
        await half(wire)
        # Its time comes, is looked at, and passes.
        await until(lambda: conversation._keepalive_handle is None)
        gated.gate.set()
        await rest(wire)
        began = time.monotonic()
        assert await wire.rest() == b""
        assert time.monotonic() - began >= kept - 0.05
        assert taken == [True] * 5


async def test_a_connection_is_not_closed_while_a_body_comes() -> None:
    async with asking(keepalive=0.1) as (served, _, taken), resting(served) as wire:
        request = post(A)
        await wire.send(request[:-3])
        await until(partial(is_kept_back, served, wire))
        conversation = conversation_of(served, wire)
        assert conversation is not None
        await until(lambda: conversation._keepalive_handle is None)
        await wire.send(request[-3:])
        await body_of(wire)
        assert taken == [True]


@pytest.mark.parametrize("way", ["abort", "half"])
async def test_a_client_may_go_while_its_body_comes(way: str) -> None:
    async with asking() as (served, upstream, taken), resting(served) as wire:
        await wire.send(post(A)[:-3])
        await until(partial(is_kept_back, served, wire))
        conversation = conversation_of(served, wire)
        assert conversation is not None
        if way == "abort":
            wire.hang_up()
        else:
            wire.writer.write_eof()
        await until(lambda: conversation.transport is None)
        assert (taken, upstream.asked) == ([], [])
        # Nothing of it stays.
        await until(lambda: conversation_of(served, wire) is None)


async def test_an_answer_on_its_way_is_finished_when_the_doors_close_and_its_connection_ends() -> None:
    gated = Gated()
    async with asking(gated.answer) as (served, _, taken), resting(served) as wire, resting(served) as other:
        await wire.send(post(A))
        await half(wire)
        await other.send(post(A)[:-3])
        await until(partial(is_kept_back, served, other))
        await close_doors(served)
        gated.gate.set()
        await rest(wire)
        assert await wire.rest() == b""
        # So is one whose body was still to come.
        await other.send(post(A)[-3:])
        await rest(other)
        assert await other.rest() == b""
        assert taken == [True, True]
        served.runner.app[DOORS].closed = False


@pytest.mark.parametrize("reads", [True, False])
async def test_a_server_that_ends_waits_for_an_answer_no_longer_than_it_may(reads: bool) -> None:  # noqa: FBT001
    ended = asyncio.Event()

    async def endless(_: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + b"1\r\na\r\n")
        try:
            while not reads:
                writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                await writer.drain()
            await reader.read()
        finally:
            ended.set()

    async with asking(endless) as (served, upstream, _), resting(served) as wire:
        await wire.send(post(A))
        if reads:
            await half(wire)
        else:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until(partial(is_held_back, served, wire))
        served.runner._shutdown_timeout = 0.1
        with anyio.fail_after(DEADLINE):
            await served.runner.cleanup()
            await ended.wait()
            await served.until_idle()
        upstream.answer = echo


def is_held_back(served: Served, wire: Wire) -> bool:
    """Tell whether a client takes no more."""
    found = conversation_of(served, wire)
    return found is not None and found.writing_paused


def stale_at(
    gate: asyncio.Event,
) -> Callable[[Upstream, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Have an upstream close an idle connection instead of answering on it, and answer from then on."""

    async def stale(upstream: Upstream, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        upstream.answer = echo
        writer.close()

    return stale


async def test_a_server_that_ends_waits_for_what_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """The first attempt comes to nothing just then; it is aiohttp's task that answers."""
    gate = asyncio.Event()
    stale = stale_at(gate)
    async with asking(stale) as (served, _, taken), resting(served) as wire:
        await wire.send(post({"model": "a", "n": 1}))
        await served.until_leased("a")
        conversation = conversation_of(served, wire)
        assert conversation is not None
        ending = asyncio.ensure_future(conversation.shutdown(DEADLINE))
        await until(lambda: conversation._handler_waiter is not None)
        gate.set()
        assert (await body_of(wire))["n"] == 1
        await ending
        assert await wire.rest() == b""
        assert taken == [True]
        assert not [record for record in caplog.records if record.levelname == "ERROR"]


def has_queued(served: Served, wire: Wire, count: int) -> bool:
    found = conversation_of(served, wire)
    return found is not None and len(found._messages) == count


async def test_a_request_is_asked_again_with_many_behind_it() -> None:
    gate = asyncio.Event()
    stale = stale_at(gate)
    async with asking(stale) as (served, upstream, taken), resting(served) as wire:
        for count in (0, 1, 31, 32, 50):
            await at_rest(served, wire)
            upstream.answer = stale
            gate.clear()
            await wire.send(post({"model": "a", "n": count}))
            await served.until_leased("a")
            await wire.send(HEALTH * count)
            # The parser lets no more of them through as yet.
            await until(partial(has_queued, served, wire, min(count, 31)))
            gate.set()
            assert (await body_of(wire))["n"] == count
            for _ in range(count):
                assert b" 200 " in await read_message(wire.reader)
        assert taken == [True] * 5


async def test_no_connection_to_the_upstream_is_idle_so_a_task_makes_one() -> None:
    async with asking() as (served, upstream, taken), resting(served) as wire:
        for pool in served.runner.app[CONTEXT].upstreams._pools.values():
            for connection in tuple(pool.idle):
                connection.transport.abort()
        await wire.send(post({"model": "a", "n": 1}))
        assert (await body_of(wire))["n"] == 1
        await at_rest(served, wire)
        await wire.send(post({"model": "a", "n": 2}))
        assert (await body_of(wire))["n"] == 2
        assert taken == [False, True]
        assert upstream.connections == 2


async def test_what_needs_a_task_goes_on_after_answers_without_one() -> None:
    async with asking() as (served, _, taken), resting(served) as wire:
        for _ in range(2):
            await wire.send(post(A))
            await body_of(wire)
            await at_rest(served, wire)
        body = json.dumps({"model": "a", "n": 3}).encode()
        await wire.post("/v1/completions", body, "Expect: 100-continue", "Content-Type: application/json")
        assert (await wire.head())[0] == "HTTP/1.1 100 Continue"
        assert (await body_of(wire))["n"] == 3
        await at_rest(served, wire)
        await wire.send(post(A) + b"GET /upstream/a/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n")
        await body_of(wire)
        key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        await wire.send(b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n%b\r\n\r\n" % key)
        # This upstream speaks no websockets, and says so; the connection goes on.
        assert b" 200 " in await read_message(wire.reader)
        await at_rest(served, wire)
        await wire.send(post(A))
        await body_of(wire)
        assert taken[:2] == [True, True]
        assert taken[-1]


@pytest.mark.parametrize("tls", [False, True])
async def test_who_reads_slowly_gets_all_of_a_large_answer(tls: bool) -> None:  # noqa: FBT001
    """The transports have limits of their own to how much may wait, and tell of that in their own ways."""
    size, pieces = 0x20000, 64

    async def much(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for _ in range(pieces):
            writer.write(b"%x\r\n%b\r\n" % (size, b"x" * size))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    context: ssl.SSLContext | None = None
    trust: ssl.SSLContext | None = None
    if tls:
        authority = trustme.CA()
        context, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.configure_trust(trust)
    async with asking(much) as (served, _, taken):
        server: Any = served.runner.server
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=context)
        port = listening.sockets[0].getsockname()[1]
        # It reads no more at a time than this.
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, limit=0x4000)
        wire = Wire(reader, writer)
        with anyio.fail_after(DEADLINE):
            conversation = await at_rest(served, wire)
            for _ in range(2):
                await wire.send(post(A))
                await until(lambda: conversation.writing_paused)
                await wire.reader.readuntil(b"\r\n\r\n")
                for _ in range(pieces):
                    assert int(await wire.reader.readuntil(b"\r\n"), 16) == size
                    assert await wire.reader.readexactly(size + 2) == b"x" * size + b"\r\n"
                assert await wire.reader.readexactly(5) == b"0\r\n\r\n"
                await at_rest(served, wire)
        assert taken == [True, True]
        writer.close()
        listening.close()


async def test_keys_of_a_connection_are_forgotten_with_it() -> None:
    async with asking() as (served, _, _):
        async with resting(served) as wire:
            await wire.send(post(A))
            await body_of(wire)
            conversation = conversation_of(served, wire)
            assert isinstance(conversation, Conversation)
            assert conversation.known is not None
        await until(lambda: conversation.known is None)


async def test_a_client_library_keeps_its_connection() -> None:
    async with asking() as (served, _, taken):
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as http:
            for number in range(5):
                body = {"model": "a", "n": number}
                async with http.post(f"{served.base}/v1/chat/completions", json=body) as answer:
                    assert await answer.json(content_type=None) == body
        assert len(taken) >= 4
        assert all(taken)
