"""T-03, T-28, T-35: a ready upstream dies; callers are told, the waiting are served, loops cool down."""

import os
import signal

import anyio
import pytest

from swapcore import Phase
from tests.http.serving import Answer, Served, Wire, fake, serving

pytestmark = pytest.mark.anyio


async def kill(served: Served, model: str) -> None:
    os.kill((await served.events(model))["pid"], signal.SIGKILL)


async def test_a_request_that_has_no_answer_yet_gets_a_502_at_once() -> None:
    async with serving(fake("a")) as served:
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await served.chat("a", gate="never"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await served.events_once_leased("a", "request")
            await kill(served, "a")
        ((status, _, answer),) = answers
        assert status == 502
        assert "killed by SIGKILL" in answer["error"]["message"]


async def test_t35_a_stream_is_broken_off_and_never_ends_cleanly() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        fake_knobs = {"gate": "go", "chunks": 5}
        await wire.post("/v1/chat/completions", {"model": "a", "stream": True, "fake": fake_knobs})
        await served.events_once_leased("a", "request")
        await served.open_gate("a", "go", 2)
        await wire.head()
        assert b"w0" in await wire.chunk()
        await kill(served, "a")
        rest = await wire.rest()
        assert not rest.endswith(b"0\r\n\r\n")
        assert b"[DONE]" not in rest


async def test_who_waits_is_served_by_a_restart() -> None:
    async with serving(fake("a", concurrency_limit=1)) as served:
        answers: list[Answer] = []

        async def ask(**knobs: object) -> None:
            answers.append(await served.chat("a", **knobs))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: ask(gate="never"))
            await served.events_once_leased("a", "request")
            for _ in range(3):
                tasks.start_soon(ask)
            await served.until_waiting("a", 3)
            await kill(served, "a")
        assert sorted(status for status, _, _ in answers) == [200, 200, 200, 502]


async def test_t28_crashes_in_a_row_cool_down() -> None:
    async with serving(fake("a")) as served:
        statuses = []
        for _ in range(3):
            status, _, _ = await served.chat("a")
            statuses.append(status)
            if status != 200:
                break
            await kill(served, "a")
            await served.until_phase("a", Phase.STOPPED)
        assert statuses[-1] == 503
        status, _, _ = await served.ask("POST", "/api/models/unload/a")
        assert status == 200
        assert (await served.chat("a"))[0] == 200


async def test_t03_one_that_goes_by_itself_while_idle_is_started_again() -> None:
    async with serving(fake("a")) as served:
        assert (await served.chat("a"))[0] == 200
        first = (await served.events("a"))["pid"]
        await served.tell_to_die("a")
        await served.until_phase("a", Phase.STOPPED)
        assert (await served.ask("POST", "/api/models/unload/a"))[0] == 200
        assert (await served.chat("a"))[0] == 200
        assert (await served.events("a"))["pid"] != first
