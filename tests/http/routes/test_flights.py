"""Can an operator see who is on the way and who waits for what, and end a request?"""

import asyncio
from typing import Any

import pytest

from swapcore_http.config import ApiKeyConfig
from tests.http.serving import Served, Wire, answering_at, fake, read_request, scripted, serving, unrun
from tests.http.test_websockets import say, tunnelling
from tests.http.waiting.streams import CHAT, STREAM, answer, data, frames, late

pytestmark = pytest.mark.anyio


async def first(served: Served) -> str:
    """Return the id of the one request that is on its way."""
    (row,) = (await served.ask("GET", "/api/inflight"))[2]["requests"]
    return str(row["id"])


async def cancel(served: Served, number: str) -> tuple[int, Any]:
    status, _, told = await served.ask("POST", f"/api/inflight/{number}/cancel")
    return status, told


async def test_cancel_one_that_waits() -> None:
    async with late(keep_alive_after=0) as world, world.asking("a") as wire:
        await world.served.until_waiting("a")
        assert await cancel(world.served, await first(world.served)) == (200, {"msg": "ok"})
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 503 ")
        assert dict(fields)["x-should-retry"] == "false"
        assert (await wire.json(fields))["error"]["message"] == "the request was cancelled by an operator"
        await world.served.until_idle()
        _, _, found = await world.served.ask("GET", "/api/metrics/activity")
    (row,) = found["data"]
    assert row["resp_status_code"] == 503
    assert row["error_msg"] == "the request was cancelled by an operator"


async def test_cancel_one_that_hears_that_it_waits() -> None:
    async with late() as world, world.asking("a") as wire:
        await wire.head()
        await cancel(world.served, await first(world.served))
        told = data((await frames(wire))[-1])["error"]
    assert told["message"] == "the request was cancelled by an operator"


@pytest.mark.parametrize("on_abort", ["cancel", "drain"])
async def test_cancel_one_that_is_being_answered(on_abort: str) -> None:
    async with serving(fake("a", on_client_abort=on_abort)) as served, Wire.to(served) as wire:
        body = {"model": "a", "stream": True, "fake": {"gate": "g", "chunks": 2}}
        await wire.post("/v1/chat/completions", body)
        await wire.head()
        await cancel(served, await first(served))
        # What was cut off does not look whole.
        assert not (await wire.rest()).endswith(b"0\r\n\r\n")
        # And the upstream works no more for it, though it may finish for clients that hang up.
        assert [each["event"] for each in (await served.events("a", "disconnect"))["events"]] == [
            "request",
            "disconnect",
        ]


@pytest.mark.parametrize("number", ["7", "0", "-1", "x", "9" * 30, "%C2%B2"])
async def test_cancel_nobody(number: str) -> None:
    async with serving(fake("a")) as served:
        status, told = await cancel(served, number)
    assert status == 404
    assert told["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "tracked"),
    [
        ("POST", "/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v/chat/completions", "/chat/completions"),
        ("POST", "/upstream/a/v1/embeddings", "/v1/embeddings"),
        ("POST", "/api/new", "/api/new"),
        ("GET", "/props?model=a", "/props"),
        ("GET", "/upstream/a/props", "/props"),
        ("GET", "/upstream/a/slots", None),
        ("POST", "/upstream/a/tokenize", None),
    ],
)
async def test_what_is_on_its_way(method: str, path: str, tracked: str | None) -> None:
    async with late(answer(STREAM), keep_alive_after=0) as world:
        body = {"model": "a"} if method == "POST" else None
        asked = asyncio.ensure_future(world.served.ask(method, path, body))
        await world.served.until_waiting("a")
        _, _, found = await world.served.ask("GET", "/api/inflight")
        world.gate.set()
        await asked
        assert (await world.served.ask("GET", "/api/inflight"))[2] == {"requests": []}
    assert [row["req_path"] for row in found["requests"]] == ([] if tracked is None else [tracked])


async def in_flight(served: Served) -> dict[str, Any]:
    (row,) = (await served.ask("GET", "/api/inflight"))[2]["requests"]
    assert isinstance(row, dict)
    return row


async def test_how_far_an_answer_is_that_nobody_records() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nX-So: yes\r\nSet-Cookie: s=1\r\nContent-Length: 10\r\n\r\nhello")
        await reader.read()

    async with (
        scripted(half) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
        Wire.to(served) as wire,
    ):
        await wire.get("/props?model=a")
        await wire.head()
        await wire.reader.readexactly(5)
        row = await in_flight(served)
        assert row["resp_headers"] == {"X-So": "yes", "Set-Cookie": "[REDACTED]", "Content-Length": "10"}
        assert row["resp_bytes"] == 5
        assert "metadata" not in row


@pytest.mark.parametrize("path", ["/upstream/a/ws", "/v1/realtime?model=a"])
async def test_how_far_a_websocket_is(path: str) -> None:
    async with tunnelling() as served, served.http.ws_connect(served.base + path) as socket:
        await say(socket, "hello")
        row = await in_flight(served)
        assert row["resp_headers"]["Upgrade"] == "websocket"
        before = row["resp_bytes"]
        assert before > 0
        await say(socket, "hello")
        assert (await in_flight(served))["resp_bytes"] == 2 * before
        await socket.close()
        await served.until_idle()
        # As with llama-swap, what was asked with a GET is no activity.
        assert (await served.ask("GET", "/api/metrics/activity"))[2]["total"] == 0


async def test_queue() -> None:
    models = unrun("a"), unrun("b", patience=0.0)
    async with late(answer(STREAM), *models, keep_alive_after=0) as world, world.asking("a") as one:
        await world.served.until_waiting("a")
        async with world.asking("b") as other:
            await world.served.until_waiting("b")
            _, _, found = await world.served.ask("GET", "/api/queue")
            _, _, short = await world.served.ask("GET", "/api/queue?limit=1")
            assert (await world.served.ask("GET", "/api/queue?limit=many"))[0] == 400
            world.gate.set()
            for wire in (one, other):
                await wire.head()
                await wire.reader.readexactly(len(STREAM))
    assert found["waiting"] == 2
    waits, queued = found["queue"]
    assert (waits["model"], waits["position"], waits["request"]) == ("a", 1, "1")
    assert (queued["model"], queued["position"], queued["request"]) == ("b", 2, "2")
    assert waits["waited"] >= queued["waited"] >= 0
    assert waits["due_in"] > queued["due_in"] > 0
    assert queued["estimate"] >= 0
    states = {row["model"]: (row["state"], row["waiting"]) for row in found["models"]}
    assert states == {"a": ("starting", 1), "b": ("stopped", 1)}
    assert (short["waiting"], len(short["queue"])) == (2, 1)


async def test_a_key_that_is_for_some_models_sees_and_ends_no_others() -> None:
    full, some = {"x-api-key": "all"}, {"x-api-key": "some"}
    keys = [ApiKeyConfig("all"), ApiKeyConfig("some", models=["b"])]
    async with late(answer(STREAM), unrun("a"), unrun("b"), keep_alive_after=0, api_keys=keys) as world:
        served = world.served
        asked = [asyncio.ensure_future(served.ask("POST", CHAT, {"model": m}, headers=full)) for m in "ab"]
        for model in "ab":
            await served.until_waiting(model)
        _, _, flights = await served.ask("GET", "/api/inflight", headers=some)
        assert [row["model"] for row in flights["requests"]] == ["b"]
        _, _, queue = await served.ask("GET", "/api/queue", headers=some)
        assert [row["model"] for row in queue["queue"]] == [row["model"] for row in queue["models"]] == ["b"]
        assert queue["waiting"] == 1
        _, _, flights = await served.ask("GET", "/api/inflight", headers=full)
        ids = {row["model"]: row["id"] for row in flights["requests"]}
        for model, status in (("a", 404), ("b", 200)):
            path = f"/api/inflight/{ids[model]}/cancel"
            assert (await served.ask("POST", path, headers=some))[0] == status
        world.gate.set()
        assert [(await each)[0] for each in asked] == [200, 503]
