"""Tests of `swapcore_http.routes.passage`: what becomes of an answer that does not come to its end as usual.

Each is asked for with and without the fast path, and must end alike.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from swapcore import Urgency
from swapcore_http.activity.recording import Recording
from swapcore_http.config import TimeoutsConfig
from swapcore_http.conversation import Conversation
from swapcore_http.doors import DOORS
from swapcore_http.inflight import Flight
from swapcore_http.relay import LOSS_SHOWS_WITHIN
from tests.http.bothways import ANSWER, Side, Upstream, both, conversation_of, post, read_message, resting
from tests.http.processes import until
from tests.http.serving import Wire, fake, serving, unrun

pytestmark = pytest.mark.anyio

A = {"model": "a"}
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = b"8\r\ndata: x\n\r\n"

Answer = Callable[[Upstream, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


def said(*pieces: bytes, closes: bool = False) -> Answer:
    """Answer with these pieces, and then close the connection or not."""

    async def answer(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            # So that they come one by one.
            await asyncio.sleep(0)
        if closes:
            writer.close()

    return answer


def once(answer: Answer) -> Answer:
    """Answer the first in that way, and all others as usual."""
    left = [answer]

    async def first(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if left:
            await left.pop()(upstream, reader, writer)
        else:
            writer.write(ANSWER)

    return first


ENDINGS: dict[str, tuple[Answer, bytes]] = {
    "chunks": (said(CHUNKED, PIECE, PIECE, b"0\r\n\r\n"), b" 200 "),
    "chunks in pieces": (
        said(CHUNKED[:20], CHUNKED[20:] + b"8\r", b"\ndata: x\n\r\n0\r", b"\n\r\n"),
        b" 200 ",
    ),
    "until it closes": (said(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", closes=True), b" 200 "),
    "an old one until it closes": (said(b"HTTP/1.0 201 Made\r\n\r\nabc", closes=True), b" 201 "),
    "no content": (said(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), b" 204 "),
    "not modified": (said(b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"), b" 304 "),
    "an error of its own": (
        said(b"HTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno"),
        b" 429 ",
    ),
    "interim": (said(b"HTTP/1.1 102 Wait\r\n\r\n", b"HTTP/1.1 103 Hints\r\nX: 1\r\n\r\n" + ANSWER), b" 200 "),
    "interim and gone": (said(b"HTTP/1.1 102 Wait\r\n\r\n", closes=True), b" 502 "),
    "its connection ends": (
        said(ANSWER.replace(b"X-Two: 1", b"Connection: close, x-two"), closes=True),
        b" 200 ",
    ),
    "more than it said": (said(ANSWER + b"HTTP/1.1 200 OK\r\n\r\n"), b" 200 "),
    "stale": (once(said(closes=True)), b" 200 "),
    "always closed": (said(closes=True), b" 502 "),
    "half a head": (said(ANSWER[:30], closes=True), b" 502 "),
    "garbage": (said(b"\x00\x01garbage\r\n\r\n"), b" 502 "),
    "two lengths": (said(ANSWER.replace(b"X-Two: 1", b"Content-Length: 1")), b" 502 "),
    "another protocol": (said(b"HTTP/1.1 101 Go\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"), b" 502 "),
    "half a body": (said(ANSWER[:-5], closes=True), b"<broken off"),
    "half of the chunks": (said(CHUNKED, PIECE, closes=True), b"<broken off"),
    "a broken chunk": (said(CHUNKED, PIECE, b"xyz\r\n"), b"<broken off"),
    "never": (said(), b" 504 "),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_an_answer_ends_as_with_a_task(ending: str) -> None:
    answer, start = ENDINGS[ending]
    times: dict[str, Any] = {}
    if ending == "never":
        times = {"timeouts": TimeoutsConfig(response_header=1)}
    async with both(unrun("a", **times), unrun("b")) as ways:
        for side in ways.sides:
            side.upstream.answer = answer
        if ending == "stale":
            answers = []
            for side in ways.sides:
                side.upstream.answer = once(said(closes=True))
                answers.append(await side.exchange(post(A)))
            assert answers[0] == answers[1]
            assert [len(side.upstream.asked) for side in ways.sides] == [3, 3]
            got = answers[0][0]
        else:
            got = await ways.same(post(A), fast=True)
        assert start in got
        assert ways.taken[-1]
        for side in ways.sides:
            side.upstream.answer = None
        # Nothing that was broken is used again, and nothing that is whole is lost.
        assert b" 200 " in await ways.same(post(A), fast=None)
        await ways.same(post(A), fast=True)
        assert ways.fast.upstream.connections == ways.usual.upstream.connections


STREAM = {"model": "a", "stream": True}


async def begun(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin to answer, and say nothing more until the other side has enough."""
    writer.write(CHUNKED + PIECE)
    await silent(upstream, reader, writer)


async def silent(_: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side has enough."""
    await reader.read()
    writer.close()


async def cancel(side: Side, wire: Wire) -> None:
    (flight,) = side.context.inflight
    status, _, _ = await side.served.ask("POST", f"/api/inflight/{flight.number}/cancel")
    assert status == 200


async def unload(side: Side, _: Wire) -> None:
    await side.served.driver.unload(["a"], Urgency.NOW)


async def die(side: Side, _: Wire) -> None:
    """Let the launcher say that the run has died, as it does after a kill."""
    (control,) = side.served.driver._runs.values()
    control.lost("killed")
    control.stopping.set()


async def abort(_: Side, wire: Wire) -> None:
    wire.hang_up()


async def half_close(_: Side, wire: Wire) -> None:
    wire.writer.write_eof()


INTERRUPTIONS = {each.__name__: each for each in (cancel, unload, die, abort, half_close)}


@pytest.mark.parametrize("answer", [silent, begun])
@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_what_interrupts_an_answer_ends_it_as_with_a_task(interruption: str, answer: Answer) -> None:
    async with both(unrun("a")) as ways:
        answers = []
        for side in ways.sides:
            side.upstream.answer = answer
            async with resting(side.served) as wire:
                await wire.send(post(STREAM))
                await side.served.until_leased("a")
                await until(lambda side=side: len(side.upstream.asked) == 2)  # type: ignore[misc]
                if answer is begun:
                    head = await wire.reader.readuntil(b"data: x\n\r\n")
                    assert b" 200 " in head
                await INTERRUPTIONS[interruption](side, wire)
                await side.served.until_idle()
                answers.append(re.sub(rb"(Date|X-Swap-Wait-Ms): [^\r]*", b"", await told(wire)))
            side.upstream.answer = None
        assert ways.taken == [False, True]
        assert answers[0] == answers[1]
        if answer is silent:
            expected = {"cancel": b" 503 ", "unload": b" 502 ", "die": b" 502 "}
            assert expected.get(interruption, b"") in answers[0]
        else:
            assert b"0\r\n\r\n" not in answers[0]


async def told(wire: Wire) -> bytes:
    """Read what comes of an answer, or how its connection ends."""
    if wire.writer.transport.is_closing():
        return b"<hung up>"
    reading = asyncio.ensure_future(read_message(wire.reader))
    try:
        return await reading
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return b"<broken off>"


async def test_an_operator_may_end_what_broke_off_just_now() -> None:
    """It is found out still whether the upstream has died; it must not end twice."""
    async with both(unrun("a")) as ways:
        for side in ways.sides:
            side.upstream.answer = said(CHUNKED, PIECE, closes=True)
            async with resting(side.served) as wire:
                await wire.send(post(STREAM))
                await wire.reader.readuntil(b"data: x\n\r\n")
                if len(side.context.inflight):
                    (flight,) = side.context.inflight
                    await until(partial(has_turned, flight))
                    side.context.inflight.cancel(flight)
                assert await told(wire) == b"<broken off>"
                await side.served.until_idle()
                # As long as it takes to find that out.
                await asyncio.sleep(LOSS_SHOWS_WITHIN * 1.5)
            side.upstream.answer = None


def has_turned(flight: Flight) -> bool:
    """Tell whether an answer has ended for the upstream."""
    return isinstance(flight.answer, Recording) and flight.answer.ended is not None


def has_lost_its_client(conversation: Conversation) -> bool:
    return conversation.transport is None


async def test_an_upstream_may_finish_for_a_client_who_has_gone() -> None:
    gate = asyncio.Event()

    async def answer(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + PIECE)
        await gate.wait()
        writer.write(PIECE * 20_000 + b"0\r\n\r\n")

    async with both(unrun("a", on_client_abort="drain")) as ways:
        for side in ways.sides:
            gate.clear()
            side.upstream.answer = answer
            async with resting(side.served) as wire:
                await wire.send(post(STREAM))
                await wire.reader.readuntil(b"data: x\n\r\n")
                conversation = conversation_of(side.served, wire)
                assert conversation is not None
                wire.hang_up()
                await until(partial(has_lost_its_client, conversation))
                assert side.served.view("a").leases == 1
                gate.set()
                await side.served.until_idle()
            side.upstream.answer = None
        assert ways.fast.upstream.connections == ways.usual.upstream.connections == 1


async def test_a_request_that_is_asked_again_while_the_server_ends_is_answered() -> None:
    """Its first attempt was let in before the doors were closed."""
    gate = asyncio.Event()

    async def late(_: Upstream, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.close()

    async with both(unrun("a")) as ways:
        for side in ways.sides:
            gate.clear()
            side.upstream.answer = once(late)
            async with resting(side.served) as wire:
                await wire.send(post(A))
                await side.served.until_leased("a")
                side.served.runner.app[DOORS].closed = True
                gate.set()
                assert b" 200 " in await read_message(wire.reader)
                side.served.runner.app[DOORS].closed = False
            side.upstream.answer = None


async def test_an_upstream_that_is_killed_in_mid_answer_is_told_of_as_by_a_task() -> None:
    async with serving(fake("a")) as served:
        status, _, _ = await served.chat("a")
        assert status == 200
        for after, start in ((1, b" 200 "), (0, b" 502 ")):
            await served.chat("a")
            async with resting(served) as wire:
                await wire.send(post({**STREAM, "fake": {"die_after": after}}))
                assert start in await wire.reader.readuntil(b"\r\n\r\n")
                rest = await wire.rest() if after else await wire.reader.read(1)
                assert b"0\r\n\r\n" not in rest
            await served.until_idle()
