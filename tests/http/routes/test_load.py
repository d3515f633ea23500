"""Is a model loaded when an operator wishes it, and what is said if it is not?"""

import asyncio

import pytest

from swapcore import Phase, Urgency
from tests.http.serving import fake, serving, unrun
from tests.http.waiting.streams import late

pytestmark = pytest.mark.anyio


async def test_it_is_answered_when_it_is_ready() -> None:
    async with serving(fake("a/b", aliases=("c",), flags={"load": 0.1})) as served:
        for name in ("a/b", "c"):
            status, _, told = await served.ask("POST", f"/api/models/load/{name}")
            assert (status, told) == (200, {"msg": "ok", "model": "a/b"})
            assert served.view("a/b").phase is Phase.READY


async def test_it_need_not_be_waited_for() -> None:
    async with late() as world:
        status, _, told = await world.served.ask("POST", "/api/models/load/a?wait=0")
        assert (status, told) == (202, {"msg": "ok", "model": "a"})
        world.gate.set()
        await world.served.until_phase("a", Phase.READY)


async def test_a_failed_load_and_the_time_after_it() -> None:
    async with serving(fake("a", flags={"exit_at_start": 3})) as served:
        status, head, told = await served.ask("POST", "/api/models/load/a")
        assert (status, head["x-should-retry"]) == (502, "false")
        assert told["error"]["message"].startswith("starting a failed: exited with status 3")
        status, head, told = await served.ask("POST", "/api/models/load/a")
        assert status == 503
        assert 1 <= int(head["Retry-After"]) <= 10


async def test_a_load_that_takes_too_long() -> None:
    async with serving(fake("a", flags={"no_listen": True}), health_check_timeout=1) as served:
        status, _, told = await served.ask("POST", "/api/models/load/a")
    assert status == 502
    assert "starting a failed" in told["error"]["message"]


@pytest.mark.parametrize(("what", "status"), [("unload", 503), ("shutdown", 503), ("remove", 404)])
async def test_what_ends_a_wish(what: str, status: int) -> None:
    async with late() as world:
        served = world.served
        asked = asyncio.ensure_future(served.ask("POST", "/api/models/load/a"))
        await served.until_phase("a", Phase.STARTING)
        if what == "unload":
            await served.driver.unload(["a"], Urgency.NOW)
        elif what == "shutdown":
            await served.driver.shutdown(Urgency.NOW)
        else:
            await served.replace(unrun("b"))
        got, _, told = await asked
    assert got == status, told


async def test_unknown() -> None:
    async with serving(unrun("a")) as served:
        assert (await served.ask("POST", "/api/models/load/b"))[0] == 404
