"""What do callers of a stream hear while they wait, and what comes after it?"""

import asyncio
import re
from typing import Any

import pytest

from swapcore import Urgency
from tests.http.serving import Wire, unrun
from tests.http.waiting.streams import CHAT, SOON, STREAM, answer, data, frames, late, thought

pytestmark = pytest.mark.anyio

COMMENT = re.compile(rb": swapcore queued \d+ eta \d+s\n\n")


async def test_comments_then_the_models_own_events() -> None:
    async with late() as world, world.asking("a") as wire:
        line, fields = await wire.head()
        first, second = await wire.chunk(), await wire.chunk()
        world.gate.set()
        rest = b"".join(await wire.chunks())
    assert line == "HTTP/1.1 200 OK"
    head = dict(fields)
    assert head["Content-Type"] == "text/event-stream"
    assert head["Cache-Control"] == "no-cache"
    assert head["X-Accel-Buffering"] == "no"
    assert head["X-Swap-Model"] == "a"
    assert COMMENT.fullmatch(first)
    assert second.startswith(b": swapcore queued 1 eta ")
    assert COMMENT.sub(b"", rest) == STREAM


async def test_comments_count_who_is_before() -> None:
    async with late(answer(STREAM), unrun("a"), unrun("b")) as world, world.asking("a") as first:
        await first.head()
        async with world.asking("b") as second:
            await second.head()
            while not (await second.chunk()).startswith(b": swapcore queued 2 eta "):
                pass
            world.gate.set()
            await first.chunks()
            await second.chunks()


@pytest.mark.parametrize("begun", [True, False])
async def test_nothing_is_packed_once_it_has_begun(*, begun: bool) -> None:
    async with (
        late(keep_alive_after=SOON if begun else 0) as world,
        world.asking("a", "Accept-Encoding: gzip, br", "X-Other: 1") as wire,
    ):
        await world.served.until_waiting("a")
        if begun:
            await wire.head()
        world.gate.set()
        if not begun:
            await wire.head()
            await wire.reader.readexactly(len(STREAM))
        else:
            await wire.chunks()
    (asked,) = world.requests
    assert (b"Accept-Encoding:" in asked) is not begun
    assert b"X-Other: 1" in asked


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"stream": False}),
        (CHAT, {"stream": None}),
        ("/v1/embeddings", {"stream": True}),
        ("/v1/images/generations", {"stream": True}),
        ("/api/chat", {"stream": True}),
        ("/upstream/a/tokenize", {"stream": True}),
    ],
)
async def test_who_asks_for_no_events_waits_in_silence(path: str, body: dict[str, Any]) -> None:
    async with late() as world, world.asking("a", path=path, **body) as silent:
        await world.served.until_waiting("a")
        async with world.asking("a") as other:
            # Whoever came later has heard something by now.
            await other.head()
            await other.chunk()
            world.gate.set()
            _, fields = await silent.head()
            await silent.reader.readexactly(len(STREAM))
            await other.chunks()
    assert "Content-Length" in dict(fields)
    assert int(dict(fields)["X-Swap-Wait-Ms"]) >= SOON * 1000


@pytest.mark.parametrize(
    "path",
    [
        CHAT,
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v/chat/completions",
        "/v/messages",
        "/infill",
        "/completion",
        "/upstream/a/v1/chat/completions",
    ],
)
async def test_where_streams_are_comments(path: str) -> None:
    async with late() as world, world.asking("a", path=path) as wire:
        await wire.head()
        assert COMMENT.fullmatch(await wire.chunk())
        world.gate.set()
        assert b"".join(await wire.chunks()).endswith(STREAM)


async def test_never() -> None:
    async with late(keep_alive_after=0) as world, world.asking("a") as wire:
        await world.served.until_waiting("a")
        await asyncio.sleep(3 * SOON)
        world.gate.set()
        _, fields = await wire.head()
        await wire.reader.readexactly(len(STREAM))
    assert "Content-Length" in dict(fields)


async def test_who_need_not_wait_gets_the_plain_answer() -> None:
    async with late() as world:
        world.gate.set()
        for number in range(2):
            async with world.asking("a") as wire:
                _, fields = await wire.head()
                await wire.reader.readexactly(len(STREAM))
            head = dict(fields)
            assert head["X-Swap-Model"] == "a"
            assert number == 0 or head["X-Swap-Wait-Ms"] == "0"


@pytest.mark.parametrize(
    ("path", "event"),
    [
        (CHAT, {"error": {"type": "server_error", "code": "bad_gateway", "param": None}}),
        ("/v1/completions", {"error": {"type": "server_error", "code": "bad_gateway", "param": None}}),
        ("/v1/messages", {"type": "error", "error": {"type": "api_error"}}),
        ("/upstream/a/v1/messages", {"type": "error", "error": {"type": "api_error"}}),
        ("/v1/responses", {"type": "error", "code": "bad_gateway", "param": None, "sequence_number": 0}),
    ],
)
async def test_a_failure_is_an_event(path: str, event: dict[str, Any]) -> None:
    async with late(fails=True) as world, world.asking("a", path=path) as wire:
        await wire.head()
        await wire.chunk()
        world.gate.set()
        last = (await frames(wire))[-1]
        # The connection is as good as any other for what comes next.
        await wire.get("/health")
        assert (await wire.head())[0] == "HTTP/1.1 200 OK"
    assert last.startswith(b"event: error\ndata: ") is ("messages" in path or "responses" in path)
    told = data(last)
    message = told["error"]["message"]
    assert message == "starting a failed: exited with status 3"
    for key, value in event.items():
        assert told[key] == (value | {"message": message} if isinstance(value, dict) else value)


@pytest.mark.parametrize(
    ("reply", "status", "message"),
    [
        (
            answer(b'{"error": {"message": "no such voice"}}', status="400 Bad"),
            "bad_request",
            "no such voice",
        ),
        (answer(b'{"error": "too long"}', status="413 Bad"), "invalid_request", "too long"),
        (answer(b"gibberish", status="500 Bad"), "internal_error", "500 Internal Server Error"),
        (answer(b"{}", kind="application/json"), "bad_gateway", "a answered with application/json where"),
        (answer(b"x", "Content-Encoding: gzip"), "bad_gateway", "a answered with text/event-stream, packed"),
        (answer(b"", status="302 Found"), "bad_gateway", "a answered with status 302 where"),
        (b"nonsense\r\n\r\n", "bad_gateway", "the upstream of a did not answer"),
    ],
)
async def test_what_is_no_stream_is_an_error(reply: bytes, status: str, message: str) -> None:
    async with late(reply) as world, world.asking("a") as wire:
        await wire.head()
        await wire.chunk()
        world.gate.set()
        told = data((await frames(wire))[-1])["error"]
    assert told["code"] == status
    assert told["message"].startswith(message)


async def test_what_is_refused_at_once_is_refused_plainly() -> None:
    async with (
        late(answer(STREAM), unrun("a", max_queue=1), send_loading_state=True) as world,
        world.asking("a") as first,
    ):
        await first.head()
        async with world.asking("a") as second:
            line, fields = await second.head()
            told = await second.json(fields)
        assert line.startswith("HTTP/1.1 429 ")
        assert int(dict(fields)["Retry-After"]) >= 1
        assert dict(fields)["X-Swap-Model"] == "a"
        assert told["error"]["code"] == "rate_limit_exceeded"
        world.gate.set()
        await first.chunks()


async def test_unloaded_while_it_waits() -> None:
    async with late() as world, world.asking("a") as wire:
        await wire.head()
        await world.served.driver.unload(["a"], Urgency.NOW)
        told = data((await frames(wire))[-1])["error"]
    assert told["code"] == "service_unavailable"
    assert "unloaded" in told["message"]


async def test_who_hangs_up_gives_its_place_back() -> None:
    async with late() as world:
        async with world.asking("a") as wire:
            await wire.head()
            await wire.chunk()
            wire.hang_up()
        await world.served.until_idle()


async def test_http_1_0() -> None:
    async with late() as world, Wire.to(world.served) as wire:
        body = b'{"model": "a", "stream": true}'
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        await wire.send(f"POST {CHAT} HTTP/1.0\r\n{fields}".encode() + body)
        await wire.head()
        assert (await wire.reader.readuntil(b"\n\n")).startswith(b": swapcore queued 1 ")
        world.gate.set()
        assert COMMENT.sub(b"", await wire.rest()) == STREAM


async def test_a_name_that_no_field_can_hold() -> None:
    async with late(answer(STREAM), unrun("模型 1")) as world, world.asking("模型 1") as wire:
        _, fields = await wire.head()
        assert dict(fields)["X-Swap-Model"] == "%E6%A8%A1%E5%9E%8B%201"
        world.gate.set()
        await wire.chunks()


async def test_the_activity_shows_what_came_of_it() -> None:
    async with late(fails=True) as world:
        async with world.asking("a") as wire:
            await wire.head()
            world.gate.set()
            await wire.chunks()
        _, _, found = await world.served.ask("GET", "/api/metrics/activity")
    (row,) = found["data"]
    assert row["resp_status_code"] == 502
    assert row["error_msg"] == "starting a failed: exited with status 3"


# The loading state ---------------------------------------------------------------


def loads(**fields: Any) -> Any:
    return late(answer(STREAM), unrun("a", **fields), keep_alive_after=0)


async def test_loading_state() -> None:
    async with loads(send_loading_state=True) as world, world.asking("a") as wire:
        line, fields = await wire.head()
        first = await wire.chunk()
        world.gate.set()
        rest = await frames(wire)
    assert line == "HTTP/1.1 200 OK"
    assert dict(fields)["Content-Type"] == "text/event-stream"
    assert dict(fields)["Connection"] == "keep-alive"
    assert first == 'data: {"choices":[{"delta":{"reasoning_content":"━━━━━"}}]}\n\n'.encode()
    told = thought([first.strip(), *rest])
    assert re.fullmatch(
        r"━━━━━(\n(swapcore loading model: a(\n[^\n]*)?)?)?.*\nDone! \(\d+\.\d\ds\)\n━━━━━\n \n",
        told,
        re.DOTALL,
    )
    assert b"\n\n".join([*rest, b""]).endswith(STREAM)
    pieces = [data(frame)["choices"][0]["delta"]["reasoning_content"] for frame in rest[:-2]]
    assert max(map(len, pieces)) == 5


async def test_loading_state_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapcore_http.waiting.loading.PACE", 100_000)
    monkeypatch.setattr("swapcore_http.waiting.loading.TICK", 0.01)
    monkeypatch.setattr("swapcore_http.waiting.loading.FIRST_REMARK", (0.05, 0.05))
    async with loads(send_loading_state=True) as world, world.asking("a") as wire:
        await wire.head()
        told = ""
        while not re.fullmatch(r"━━━━━\nswapcore loading model: a\n\.+\n[A-Z][^\n.]+ \..*", told, re.DOTALL):
            told += thought([(await wire.chunk()).strip()])
        world.gate.set()
        await wire.chunks()


async def test_loading_state_tells_the_place_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapcore_http.waiting.loading.TICK", 0.01)
    monkeypatch.setattr("swapcore_http.waiting.places.LOOK_EVERY", 0.0)
    shows = unrun("b", send_loading_state=True)
    async with (
        late(answer(STREAM), unrun("a"), shows, keep_alive_after=0) as world,
        world.asking("a") as first,
        world.asking("b") as second,
    ):
        await second.head()
        told = ""
        while "\nQueue position: #2 " not in told:
            told += thought([(await second.chunk()).strip()])
        world.gate.set()
        await first.head()
        await second.chunks()


@pytest.mark.parametrize(
    ("path", "stream", "model", "everywhere", "shown"),
    [
        (CHAT, True, True, False, True),
        (CHAT, True, None, True, True),
        (CHAT, True, None, False, False),
        (CHAT, True, False, True, False),
        (CHAT, False, True, True, False),
        ("/v/chat/completions", True, True, True, False),
        ("/upstream/a/v1/chat/completions", True, True, True, False),
        ("/v1/messages", True, True, True, False),
        ("/v1/responses", True, True, True, False),
        ("/v1/completions", True, True, True, False),
    ],
)
async def test_who_is_shown_how_it_loads(
    path: str, *, stream: bool, model: bool | None, everywhere: bool, shown: bool
) -> None:
    one = unrun("a", send_loading_state=model)
    async with (
        late(answer(STREAM), one, keep_alive_after=0, send_loading_state=everywhere) as world,
        world.asking("a", path=path, stream=stream) as wire,
    ):
        await world.served.until_waiting("a")
        if shown:
            await wire.head()
            await wire.chunk()
        world.gate.set()
        if shown:
            await wire.chunks()
        else:
            _, fields = await wire.head()
            assert "Content-Length" in dict(fields)
            await wire.reader.readexactly(len(STREAM))


async def test_a_model_that_is_up_loads_not() -> None:
    """Who waits for a place at a model that is up is told nothing of loading."""
    one = unrun("a", send_loading_state=True, concurrency_limit=1)
    hold = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\n"
    async with late(hold, one) as world:
        world.gate.set()
        async with world.asking("a") as first:
            await first.head()
            async with world.asking("a") as second:
                await second.head()
                assert COMMENT.fullmatch(await second.chunk())
                second.hang_up()
            first.hang_up()


async def test_a_failed_load_is_an_error_and_not_done() -> None:
    shows = unrun("a", send_loading_state=True)
    async with late(b"", shows, keep_alive_after=0, fails=True) as world, world.asking("a") as wire:
        await wire.head()
        world.gate.set()
        rest = await frames(wire)
    assert data(rest[-1])["error"]["message"] == "starting a failed: exited with status 3"
    assert "Done!" not in thought(rest[:-1])
