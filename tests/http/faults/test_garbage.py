"""Does a request go when it is over, or only when the collector comes by?

It comes by seldom, and what refers to itself keeps all that it refers to until
then: requests with their bodies, leases, connections. A soak found that, as
memory that is only given back after minutes.
"""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web

from swapcore import Phase
from swapcore_http.bodies import Body
from swapcore_http.lease import Lease
from swapcore_http.relay import Relay
from swapcore_http.responses import ApiError
from tests.http.serving import Served, Wire, fake, serving

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
OURS = (ApiError, Body, Lease, Relay, web.Request)


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """Give what only the collector finds, once the test asks it to look."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def is_served(served: Served) -> None:
    assert (await served.chat("a"))[0] == 200


async def is_served_as_a_stream(served: Served) -> None:
    assert (await served.ask("POST", CHAT, {"model": "a", "stream": True}))[0] == 200


async def is_refused(served: Served) -> None:
    assert (await served.chat("full"))[0] == 429


async def has_no_model(served: Served) -> None:
    assert (await served.chat("nobody"))[0] == 404


async def cannot_be_started(served: Served) -> None:
    assert (await served.chat("broken"))[0] in {502, 503}


async def hangs_up_while_it_waits(served: Served) -> None:
    async with Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "loading"})
        await served.until_waiting("loading")
    await served.until_waiting("loading", 0)


async def hangs_up_mid_stream(served: Served) -> None:
    async with Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "never"}})
        await wire.head()
    await served.until_idle()


@pytest.mark.parametrize(
    "request_that",
    [
        is_served,
        is_served_as_a_stream,
        is_refused,
        has_no_model,
        cannot_be_started,
        hangs_up_while_it_waits,
        hangs_up_mid_stream,
    ],
)
async def test_a_request_that_is_over_is_gone(
    garbage: list[object], request_that: Callable[[Served], Awaitable[None]]
) -> None:
    models = (
        fake("a"),
        fake("full", max_queue=0, concurrency_limit=1),
        fake("broken", flags={"exit_at_start": 1}),
        fake("loading", flags={"health_503": True, "never_ready": True}),
    )
    async with serving(*models) as served:
        await request_that(served)
        if request_that is hangs_up_while_it_waits:
            await served.ask("POST", "/api/models/unload?now=1")
            await served.until_phase("loading", Phase.STOPPED)
        gc.collect()
        found = Counter(type(each).__name__ for each in garbage if isinstance(each, OURS))
        assert not found
