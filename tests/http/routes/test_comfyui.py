"""Does ComfyUI find its model, and does only its page start it?"""

import asyncio

import pytest

from swapcore import Phase
from tests.http.serving import Wire, fake, serving

pytestmark = pytest.mark.anyio

MODEL = "comfyui_auto"


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308)])
async def test_without_its_slash_it_is_sent_to_the_one_with(method: str, status: int) -> None:
    async with serving(fake(MODEL)) as served:
        got, fields, _ = await served.ask(method, "/comfyui?x=%2F")
        assert (got, fields["Location"]) == (status, "/comfyui/?x=%2F")
        assert served.view(MODEL).phase is Phase.STOPPED


async def test_only_the_page_starts_it() -> None:
    async with serving(fake(MODEL)) as served:
        for path in ("/comfyui/api/queue", "/comfyui//", "/comfyui/%2F"):
            status, _, answer = await served.ask("GET", path)
            assert status == 409, path
            assert answer["error"]["message"] == f"{MODEL} is not ready, and only /comfyui/ can start it"
            assert answer["error"]["code"] == "conflict"
        assert served.view(MODEL).phase is Phase.STOPPED
        _, _, answer = await served.ask("GET", "/comfyui/?client=1")
        assert (answer["model"], answer["target"]) == (MODEL, "/?client=1")
        assert served.view(MODEL).phase is Phase.READY


async def test_the_rest_passes_as_it_was_sent_once_it_is_up() -> None:
    async with serving(fake(MODEL)) as served, Wire.to(served) as wire:
        await served.ask("POST", "/comfyui/")
        await wire.post("/comfyui/api/x%2Fy//z?q=a+b&&", {"a": 1})
        answer = await wire.json((await wire.head())[1])
        assert (answer["method"], answer["target"]) == ("POST", "/api/x%2Fy//z?q=a+b&&")
        assert answer["body"] == '{"a": 1}'


async def test_a_model_that_starts_is_not_ready() -> None:
    async with serving(fake(MODEL, flags={"no_listen": True})) as served:
        served.driver.load([MODEL])
        await served.until_phase(MODEL, Phase.STARTING)
        assert (await served.ask("GET", "/comfyui/x"))[0] == 409


async def test_a_model_about_to_leave_is_not_brought_back_by_an_open_tab() -> None:
    async with serving(fake(MODEL), fake("b"), patience=0.0) as served, Wire.to(served) as wire:
        await wire.post("/upstream/comfyui_auto/v1/completions", {"fake": {"gate": "g"}})
        await served.events_once_leased(MODEL, "request")
        other = asyncio.create_task(served.chat("b"))
        await served.until(lambda now: now.upstream(MODEL).closed)
        assert served.view(MODEL).phase is Phase.READY
        assert (await served.ask("GET", "/comfyui/x"))[0] == 409
        await served.open_gate(MODEL, "g")
        await wire.head()
        assert (await other)[0] == 200


async def test_without_such_a_model_nothing_is_there() -> None:
    async with serving(fake("b", aliases=(MODEL,))) as served:
        status, _, answer = await served.ask("GET", "/comfyui/")
        assert (status, answer["error"]["code"]) == (404, "not_found")
