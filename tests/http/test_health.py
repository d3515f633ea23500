"""Tests of `swapcore_http.health`: when is a server not fit to be asked for anything?"""

import asyncio
import time
from typing import Any

import anyio
import pytest

from swapcore import Urgency
from swapcore_http.config import PeerConfig
from tests.http.serving import Served, fake, serving

pytestmark = pytest.mark.anyio


async def health(served: Served) -> tuple[int, Any]:
    status, _, answer = await served.ask("GET", "/api/health")
    return status, answer


async def test_a_server_is_ready_also_while_callers_wait() -> None:
    async with serving(fake("a"), fake("b"), patience=0) as served:
        status, answer = await health(served)
        assert answer.pop("loop_lag") >= 0
        assert (status, answer) == (200, {"ready": True, "reasons": [], "waiting": 0, "oldest_wait": 0.0})
        streaming = asyncio.create_task(served.chat("a", gate="go"))
        await served.until_leased("a")
        waiting = asyncio.create_task(served.chat("b"))
        await served.until_waiting("b")
        status, answer = await health(served)
        assert (status, answer["ready"], answer["waiting"]) == (200, True, 1)
        await served.open_gate("a", "go")
        assert [(await one)[0] for one in (streaming, waiting)] == [200, 200]


async def test_who_waits_beyond_the_bound_makes_it_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [fake(name, health_check_timeout=20, unload_timeout=5) for name in "ab"]
    async with serving(*models, patience=30) as served:
        streaming = asyncio.create_task(served.chat("a", gate="go"))
        await served.until_leased("a")
        waiting = asyncio.create_task(served.chat("b"))
        await served.until_waiting("b")
        real = served.driver.now
        # Patience, and for each of the two its start, its stop and the wait for what will not die.
        bound = 30 + 2 * (20 + 5 + 10)
        monkeypatch.setattr(served.driver, "now", lambda: real() + bound - 10)
        assert (await health(served))[0] == 200
        monkeypatch.setattr(served.driver, "now", lambda: real() + bound + 10)
        status, answer = await health(served)
        assert status == 503
        assert answer["reasons"][0].startswith("a request for b has waited ")
        monkeypatch.undo()
        await served.open_gate("a", "go")
        assert [(await one)[0] for one in (streaming, waiting)] == [200, 200]


async def test_a_server_that_shuts_down_is_not_ready() -> None:
    async with serving(fake("a")) as served:
        await served.driver.shutdown(Urgency.DRAIN)
        status, answer = await health(served)
        assert (status, answer["reasons"]) == (503, ["the server is shutting down"])
        assert (await served.ask("GET", "/health"))[0] == 200


async def test_a_driver_that_does_not_keep_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(fake("a")) as served:
        monkeypatch.setattr(type(served.driver), "late", 7.0)
        status, answer = await health(served)
        assert (status, answer["reasons"]) == (503, ["the driver is 7.0 s behind"])


async def test_how_long_everything_stood_still() -> None:
    async with serving(fake("a")) as served:
        with anyio.fail_after(60):
            while (await health(served))[1]["loop_lag"] < 0.1:
                # Longer than from one look to the next, so that one of them is late.
                time.sleep(0.4)  # noqa: ASYNC251 - it is what is to be seen.
                await asyncio.sleep(0.01)


async def test_peers_that_do_not_answer_are_named_but_make_nothing_unready() -> None:
    down = PeerConfig("far", proxy="http://127.0.0.1:1", models=("m",))
    async with serving(fake("a"), peers=[down]) as served:
        assert (await health(served))[1]["reasons"] == []
        assert (await served.chat("m"))[0] == 502
        status, answer = await health(served)
        assert (status, answer["ready"]) == (200, True)
        assert answer["reasons"][0].startswith("the peer far does not answer: Cannot connect to 127.0.0.1:1")
        # Lists show its models as before, as llama-swap's do.
        _, _, listed = await served.ask("GET", "/v1/models")
        assert [row["id"] for row in listed["data"]] == ["a", "far/m"]
        await served.replace(fake("a"))
        assert (await health(served))[1]["reasons"] == []
