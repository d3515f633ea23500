"""Are requests treated as their model's configuration says?"""

import asyncio

import pytest

from swapcore import Phase
from swapcore_http.config import TimeoutsConfig
from tests.http.serving import Wire, fake, serving

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(("way", "ends"), [("cancel", "disconnect"), ("drain", "done")])
async def test_what_becomes_of_an_answer_whose_client_has_gone(way: str, ends: str) -> None:
    async with serving(fake("a", on_client_abort=way)) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "g", "chunks": 2}})
        await served.events_once_leased("a", "request")
        await served.open_gate("a", "g")
        await wire.head()
        await wire.chunk()
        wire.hang_up()
        if way == "drain":
            assert served.view("a").leases == 1
            await served.open_gate("a", "g")
        log = await served.events("a", ends)
        assert [event["event"] for event in log["events"]] == ["request", ends]
        await served.until_leased("a", 0)


async def test_a_silent_model_loses_its_request_only_if_another_is_due() -> None:
    models = [fake("a", stall_timeout=0.1), fake("b", patience=0.0)]
    async with serving(*models) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "fake": {"gate": "g"}})
        await served.events_once_leased("a", "request")
        silent = asyncio.create_task(wire.head())
        done, _ = await asyncio.wait([silent], timeout=0.5)
        assert not done
        other = asyncio.create_task(served.chat("b"))
        line, fields = await silent
        assert line.startswith("HTTP/1.1 504 ")
        answer = await wire.json(fields)
        assert answer["error"]["code"] == "gateway_timeout"
        assert "silent for 0.1 s" in answer["error"]["message"]
        assert (await other)[0] == 200
        assert served.view("a").phase is Phase.STOPPED


async def test_a_model_that_stalls_amid_its_answer_breaks_it_off() -> None:
    models = [fake("a", stall_timeout=0.1), fake("b", patience=0.0)]
    async with serving(*models) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await served.events_once_leased("a", "request")
        await served.open_gate("a", "g")
        await wire.head()
        await wire.chunk()
        other = asyncio.create_task(served.chat("b"))
        assert await wire.rest() == b""
        assert (await other)[0] == 200


async def test_the_head_of_an_answer_may_take_so_long() -> None:
    async with serving(fake("a", timeouts=TimeoutsConfig(response_header=1))) as served:
        status, _, answer = await served.chat("a", gate="g")
    assert status == 504
    assert "no answer within 1 s" in answer["error"]["message"]
