"""Is nothing that broke off taken for an end, and nothing sent twice that was not lost?"""

import asyncio
import json
import logging
import socket

import anyio
import pytest

from swapcore import Lost, Phase, Stop, Urgency
from swapcore_http import forward
from swapcore_http.driver import Observation
from tests.http.serving import Served, Wire, answering_at, fake, read_request, scripted, serving, unrun

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


def stream(model: str, **knobs: object) -> dict[str, object]:
    return {"model": model, "stream": True, "fake": knobs}


# Hanging up ---------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [True, False])
async def test_client_gone_midway_frees_the_upstream_at_once(*, streaming: bool) -> None:
    async with serving(fake("a")) as served:
        async with Wire.to(served) as wire:
            await wire.post(CHAT, {**stream("a", gate="g", chunks=5), "stream": streaming})
            if streaming:
                await served.until_leased("a")
                await served.open_gate("a", "g")
                await wire.head()
                await wire.chunk()
            else:
                await served.until_leased("a")
                await served.events("a", "request")
        with anyio.fail_after(60):
            events = await served.events("a", "disconnect")
            await served.until_idle()
    assert events["in_flight"] == 0


async def test_who_closes_its_half_has_gone() -> None:
    """As with llama-swap, whose library takes it for a client that has hung up, too."""
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.post(CHAT, stream("a", gate="g"))
        await served.events_once_leased("a", "request")
        wire.writer.write_eof()
        await served.events("a", "disconnect")
        await served.until_idle()


async def test_client_gone_while_queued_or_loading_leaves_its_place() -> None:
    async with serving(fake("a", concurrency_limit=1), fake("b", flags={"no_listen": True})) as served:
        async with Wire.to(served) as first, Wire.to(served) as second:
            await first.post(CHAT, stream("a", gate="g"))
            await served.until_leased("a")
            await second.post(CHAT, stream("a"))
            await served.until_waiting("a")
            second.hang_up()
            await served.until_waiting("a", 0)
            async with Wire.to(served) as third:
                await third.post(CHAT, stream("b"))
                await served.until_waiting("b")
                await served.open_gate("a", "g", 3)
                await first.head()
                assert (await first.chunks())[-1].endswith(b"data: [DONE]\n\n")
                await served.until_phase("b", Phase.STARTING)
            await served.until_waiting("b", 0)
        assert (await served.ask("GET", "/running"))[2]["running"][0]["model"] == "b"


# Breaking off -------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_upstream_that_dies_midway_is_no_clean_end(framing: str, version: str) -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        body = json.dumps(stream("a", die_after=2, chunks=4, framing=framing)).encode()
        await wire.send(
            f"POST {CHAT} HTTP/{version}\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        got = await wire.rest()
    assert b"w1 " in got or got.endswith(b"<reset>")
    if version == "1.0":
        assert got.endswith(b"<reset>") or b"Content-Length" in got
    else:
        assert not got.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in got


async def test_answer_that_broke_off_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=forward.__name__):
        async with serving(fake("a")) as served, Wire.to(served) as wire:
            await wire.post(CHAT, stream("a", die_after=1))
            await wire.rest()
    (record,) = [record for record in caplog.records if record.name == forward.__name__]
    assert record.message.startswith("a: an answer broke off: ")


async def test_upstream_that_dies_midway_has_died_though_another_model_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps: list[Observation] = []
    with caplog.at_level(logging.WARNING, logger=forward.__name__):
        async with serving(fake("a"), fake("b")) as served, Wire.to(served) as first:
            served.driver.watch(steps.append)
            await first.post(CHAT, stream("a", gate="g", die_after=1))
            await served.until_leased("a")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(served.chat, "b")
                await served.until_waiting("b")
                await served.open_gate("a", "g", 2)
                await first.rest()
    # Had its lease come back first, it would have been stopped to make room.
    assert [step.event.run for step in steps if isinstance(step.event, Lost)] == [1]
    assert not any(
        isinstance(command, Stop) and command.model == "a" for step in steps for command in step.commands
    )
    assert "a: an answer broke off: a went away: exited with status 9" in caplog.text


async def test_upstream_that_dies_before_its_answer() -> None:
    async with serving(fake("a")) as served:
        status, _, answer = await served.chat("a", die_after=0)
        assert status == 502
        assert answer["error"]["code"] == "bad_gateway"
        assert "exited with status 9" in answer["error"]["message"]
        # The next caller finds it started again.
        assert (await served.chat("a"))[0] == 200


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", "the connection was closed before the answer began"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "Bad status line"),
        (b"HTTP/1.1 200 OK\r\nBad\0: secret\r\n\r\n", "Malformed header field"),
    ],
)
async def test_half_a_head_is_no_answer(answer: bytes, why: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async with (
        scripted(serve) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
    ):
        status, _, body = await served.ask("POST", CHAT, {"model": "a"})
    assert status == 502
    assert body["error"]["message"] == f"the upstream of a did not answer: {why}"


async def test_upstream_that_switches_protocols_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        await reader.read()

    async with scripted(serve) as url, serving(unrun("a"), launch=answering_at(url)) as served:
        status, _, body = await served.ask("GET", "/upstream/a/ws")
    assert status == 502
    assert body["error"]["message"] == "the upstream of a switched to websocket: that cannot pass"


async def test_upstream_that_cannot_be_reached() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with serving(unrun("a"), launch=answering_at(url)) as served:
            status, _, body = await served.ask("POST", CHAT, {"model": "a"})
    assert status == 502
    assert "Cannot connect" in body["error"]["message"]


@pytest.mark.parametrize("begun", [True, False])
async def test_a_cut_lease_cuts_the_answer(*, begun: bool) -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {**stream("a", gate="g"), "stream": begun})
        await served.until_leased("a")
        if begun:
            await wire.head()
        else:
            await served.events("a", "request")
        await served.driver.unload(["a"], Urgency.NOW)
        got = await wire.rest() if begun else (await wire.head())[0].encode()
    assert got == (b"" if begun else b"HTTP/1.1 502 Bad Gateway")


# Trying again -------------------------------------------------------------------


async def drop_when_reused(served: Served, method: str, path: str, body: bytes = b"") -> int:
    """Use the one kept connection, then have the upstream drop the request on it."""
    await served.ask("GET", "/upstream/a/echo")
    fields = {"X-Fake-Drop": "reused", "Content-Type": "application/json"}
    status, _, _ = await served.ask(method, path, body or None, headers=fields)
    return status


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", CHAT, b'{"model":"a"}'),
        ("POST", "/v1/images/generations", json.dumps({"model": "a", "pad": "x" * 2_000_000}).encode()),
        ("GET", "/upstream/a/echo", b""),
    ],
)
async def test_stale_connection_is_made_good_once(method: str, path: str, body: bytes) -> None:
    async with serving(fake("a")) as served:
        assert await drop_when_reused(served, method, path, body) == 200
        log = await served.events("a", "done", 2)
    assert log["in_flight"] == 0


async def test_body_that_streams_goes_on_a_fresh_connection() -> None:
    async with serving(fake("a")) as served:
        assert await drop_when_reused(served, "PUT", "/upstream/a/echo", b"hello") == 200


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
async def test_request_is_sent_twice_at_most(method: str) -> None:
    """One kept connection, then a fresh one: what aiohttp repeats by itself must not come on top."""
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            if b"/poison" in head:
                seen.append(head)
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
    ):
        # Several idle connections, so that a second old one could be taken.
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(served.ask, "GET", "/upstream/a/x")
        status, _, _ = await served.ask(method, "/upstream/a/poison")
        assert status == 502
    assert len(seen) == 2


async def test_new_connection_that_is_dropped_is_not_repeated() -> None:
    async with serving(fake("a")) as served:
        status, _, _ = await served.ask("POST", CHAT, {"model": "a"}, headers={"X-Fake-Drop": "always"})
        assert status == 502
        # The health check's, and that one.
        assert (await served.events("a"))["connections"] <= 4


async def test_answer_that_began_is_not_asked_for_again() -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Len")

    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
    ):
        assert (await served.ask("GET", "/upstream/a/x"))[0] == 200
        status, _, _ = await served.ask("GET", "/upstream/a/x")
    assert (status, len(seen)) == (502, 1)
