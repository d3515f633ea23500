"""Can an operator see what runs and end it, and what becomes of callers then?"""

import asyncio
import socket

import anyio
import pytest

from swapcore import Phase, Snapshot, Start, orders
from swapcore_http.config import GroupConfig
from swapcore_http.driver import Control
from tests.http.serving import Wire, fake, serving, unrun

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"

TOGETHER = GroupConfig("together", members=("stuck", "slow"), swap=False)


async def test_running_shows_what_is_resident() -> None:
    async with serving(
        fake("b", ttl=99, name="B ", description="what"), fake("a", flags={"no_listen": True}), global_ttl=7
    ) as served:
        assert (await served.ask("GET", "/running"))[2] == {"running": []}
        await served.chat("b")
        status, _, answer = await served.ask("GET", "/running")
        assert status == 200
        (row,) = answer["running"]
        port = served.url("b").rpartition(":")[2]
        assert f"--port={port}" in row.pop("cmd")
        assert row == {
            "model": "b",
            "state": "ready",
            "proxy": served.url("b"),
            "ttl": 99,
            "name": "B ",
            "description": "what",
        }
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_phase("a", Phase.STARTING)
        _, _, answer = await served.ask("GET", "/running")
        assert [(row["model"], row["state"], row["ttl"]) for row in answer["running"]] == [
            ("a", "starting", 7)
        ]
        await served.ask("GET", "/unload")
        assert (await waiting)[0] == 503


async def test_running_shows_the_port_that_a_run_had_to_move_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with serving(fake("a"), start_port=port) as served:
            await served.chat("a")
            _, _, answer = await served.ask("GET", "/running")
            (row,) = answer["running"]
            assert row["proxy"] == served.url("a")
            assert not row["proxy"].endswith(f":{port}")
            assert f"--port={row['proxy'].rpartition(':')[2]}" in row["cmd"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/unload", b"OK"), ("POST", "/api/models/unload", {"msg": "ok"})],
)
async def test_unloading_everything(method: str, path: str, body: object) -> None:
    async with serving(fake("a"), fake("b")) as served:
        await served.chat("a")
        status, _, answer = await served.ask(method, path)
        # It answers when the model is gone.
        assert served.view("a").phase is Phase.STOPPED
        assert (status, answer) == (200, body)
        assert (await served.ask(method, path))[0] == 200
        assert (await served.chat("a"))[0] == 200


@pytest.mark.parametrize("name", ["org/a", "org%2Fa", "alias", "an/alias"])
async def test_unloading_one(name: str) -> None:
    async with serving(fake("org/a", aliases=("alias", "an/alias"))) as served:
        await served.chat("org/a")
        status, _, body = await served.ask("POST", f"/api/models/unload/{name}")
        assert (status, body) == (200, b"OK")
        assert served.view("org/a").phase is Phase.STOPPED


async def test_unloading_what_does_not_exist() -> None:
    async with serving(fake("a")) as served:
        status, _, answer = await served.ask("POST", "/api/models/unload/nobody/x")
    assert status == 404
    assert answer["error"]["message"] == "model not found: 'nobody/x'"


async def test_draining_lets_callers_finish_and_refuses_who_waits() -> None:
    async with serving(fake("a", concurrency_limit=1)) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await wire.head()
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_waiting("a")
        unloading = asyncio.create_task(served.ask("POST", "/api/models/unload/a"))
        status, _, answer = await waiting
        assert status == 503
        assert answer["error"]["message"] == "a was unloaded while this request waited for it"
        assert not unloading.done()
        await served.open_gate("a", "g", 3)
        assert b"".join(await wire.chunks()).endswith(b"data: [DONE]\n\n")
        assert (await unloading)[0] == 200


async def test_draining_has_a_limit() -> None:
    async with serving(fake("a", unload_timeout=1)) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await wire.head()
        assert (await served.ask("POST", "/api/models/unload/a"))[0] == 200
        assert await wire.rest() == b""


@pytest.mark.parametrize("path", ["/unload?now=1", "/api/models/unload?now=1", "/api/models/unload/a?now=1"])
async def test_now_cuts_callers(path: str) -> None:
    async with serving(fake("a", unload_timeout=300)) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await wire.head()
        method = "GET" if path.startswith("/unload") else "POST"
        assert (await served.ask(method, path))[0] == 200
        assert await wire.rest() == b""


async def test_unloading_while_loading_refuses_and_ends_the_start() -> None:
    async with serving(fake("a", flags={"no_listen": True})) as served:
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_phase("a", Phase.STARTING)
        await served.ask("GET", "/unload")
        assert (await waiting)[0] == 503
        assert served.view("a").phase is Phase.STOPPED


@pytest.mark.parametrize("path", ["/unload", "/api/models/unload", "/api/models/unload/stuck"])
async def test_run_that_does_not_go_is_not_waited_for(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "STUCK_AFTER", 0.1)
    gone = {"stuck": anyio.Event(), "slow": anyio.Event()}

    async def launch(start: Start, control: Control) -> str:
        control.ready("http://not.used")
        await gone[start.model].wait()
        return "gone at last"

    models = [unrun("stuck", unload_timeout=1), unrun("slow", unload_timeout=300)]
    async with serving(*models, launch=launch, groups=[TOGETHER]) as served:
        served.driver.load(gone)
        await served.until(lambda now: all(view.phase is Phase.READY for view in now.upstreams))
        method = "GET" if path == "/unload" else "POST"
        unloading = asyncio.create_task(served.ask(method, path))
        await served.until(lambda now: now.upstream("stuck").stuck)
        snapshot, looks = served.driver.snapshot, []

        def look(*, tickets: bool = True) -> Snapshot:
            looks.append(path)
            if len(looks) == 2:
                # While anything may still go, it is waited for.
                gone["slow"].set()
            return snapshot(tickets=tickets)

        monkeypatch.setattr(served.driver, "snapshot", look)
        status, _, answer = await unloading
        assert status == 503
        assert answer["error"]["message"] == "killed, and not gone: stuck (run 1); what they hold is not free"
        for event in gone.values():
            event.set()
        await served.until_phase("stuck", Phase.STOPPED)
