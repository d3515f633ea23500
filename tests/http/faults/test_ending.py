"""Faults around models that end while others go on: times to live, unloads, and who is not to notice."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from swapcore import Phase
from swapcore_http.config import GroupConfig
from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio

STUBBORN: dict[str, object] = {"ignore_sigterm": True}
TOGETHER = [GroupConfig("together", members=("a", "b"), swap=False)]


async def test_t01_a_request_that_meets_the_end_of_a_time_to_live_is_served_by_the_next_run() -> None:
    async with serving(fake("a", ttl=1, unload_timeout=1, flags=STUBBORN)) as served:
        assert (await served.chat("a"))[0] == 200
        await served.until_phase("a", Phase.STOPPING)
        status, fields, _ = await served.chat("a")
        assert (status, fields["X-Model"]) == (200, "a")
        assert served.view("a").run == 2


async def test_t19_a_time_to_live_counts_from_the_end_of_the_last_lease() -> None:
    async with serving(fake("a", ttl=1)) as served:
        streaming = asyncio.create_task(served.chat("a", gate="g", chunks=1))
        await served.until_leased("a")
        began = served.driver.snapshot().now
        await served.open_gate("a", "g")
        assert (await streaming)[0] == 200
        await served.until_idle()
        idle_since = served.view("a").idle_since
        assert idle_since is not None
        assert idle_since > began
        await served.until(lambda snapshot: snapshot.upstream("a").phase is not Phase.READY)
        # Never early. How late the timer of a busy machine is, is not the server's doing.
        assert served.driver.snapshot().now - idle_since >= 1.0


async def test_t19_a_model_that_nobody_asked_for_lives_as_long_from_ready() -> None:
    async with serving(fake("a", ttl=1)) as served:
        served.driver.load(["a"])
        await served.until_phase("a", Phase.READY)
        ready = served.view("a").idle_since
        assert ready is not None
        await served.until(lambda snapshot: snapshot.upstream("a").phase is not Phase.READY)
        assert served.driver.snapshot().now - ready >= 1.0


async def test_unloading_a_deaf_model_keeps_nobody_else_waiting() -> None:
    deaf = fake("a", unload_timeout=300, flags=STUBBORN)
    async with serving(deaf, fake("b"), groups=TOGETHER) as served:
        for model in ("a", "b"):
            assert (await served.chat(model))[0] == 200
        unloading = asyncio.create_task(served.ask("POST", "/api/models/unload/a"))
        await served.until_phase("a", Phase.STOPPING)
        status, fields, _ = await served.chat("b")
        assert (status, fields["X-Model"]) == (200, "b")
        assert served.view("a").phase is Phase.STOPPING, "the model that was asked is served meanwhile"
        with suppress(aiohttp.ClientError):
            await served.tell("a", "/exit?code=0", "POST")
        assert (await unloading)[0] == 200
