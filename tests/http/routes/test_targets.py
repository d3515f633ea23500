"""Do selectors send requests where they should, through the whole server?"""

import asyncio
import json
from typing import Any

import pytest

from swapcore import Phase
from swapcore_http.config import FiltersConfig, GroupConfig, ProfileConfig, SelectorConfig
from tests.http.serving import Served, fake, serving

pytestmark = pytest.mark.anyio

TOGETHER = GroupConfig("all", swap=False, members=("a", "b"))
ECHO = "/v1/images/generations"


def selector(strategy: str, *targets: str, **fields: Any) -> SelectorConfig:
    return SelectorConfig("s", strategy=strategy, targets=targets or ("a", "b"), **fields)


async def echo(served: Served, **body: Any) -> tuple[str, dict[str, Any]]:
    status, _, answer = await served.ask("POST", ECHO, {"model": "s", **body})
    assert status == 200, answer
    return answer["model"], json.loads(answer["body"])


async def test_pin_names_the_first_target() -> None:
    async with serving(fake("a"), fake("b"), selectors=[selector("pin", "b", "a")]) as served:
        assert await echo(served, x=1) == ("b", {"model": "b", "x": 1})
        _, _, answer = await served.ask("GET", "/props?model=s&y")
        assert (answer["model"], answer["target"]) == ("b", "/props?model=b&y")


async def test_warm_stays_with_what_is_up() -> None:
    async with serving(fake("a"), fake("b"), selectors=[selector("warm")]) as served:
        assert (await echo(served))[0] == "a"
        await served.chat("b")
        assert (await echo(served))[0] == "b"
        assert served.view("a").phase is Phase.STOPPED


async def test_warm_sees_a_swap_that_is_queued() -> None:
    models = [fake(name) for name in "abc"]
    async with serving(*models, selectors=[selector("warm", "a", "b")]) as served:
        busy = asyncio.create_task(served.chat("c", gate="g"))
        await served.until_leased("c")
        queued = asyncio.create_task(served.chat("b"))
        await served.until_waiting("b")
        chosen = asyncio.create_task(echo(served))
        await served.until_waiting("b", 2)
        await served.open_gate("c", "g")
        assert (await chosen)[0] == "b"
        await queued
        await busy


async def test_spillover_fills_a_target_and_then_the_next() -> None:
    async with serving(
        fake("a"), fake("b"), groups=[TOGETHER], selectors=[selector("spillover", spillover=2)]
    ) as served:
        asked = []
        for expected in ("a", "a", "b", "b"):
            body = {"model": "s", "fake": {"gate": "g"}}
            asked.append(asyncio.create_task(served.ask("POST", "/v1/completions", body)))
            count = ["a", "a", "b", "b"][: len(asked)].count(expected)
            await served.until_leased(expected, count)
        await served.open_gate("a", "g", 2)
        await served.open_gate("b", "g", 2)
        answers = [answer["model"] for _, _, answer in await asyncio.gather(*asked)]
        assert answers == ["a", "a", "b", "b"]
        # What is answered counts no more.
        assert (await echo(served))[0] == "a"


async def test_spillover_counts_requests_that_did_not_ask_for_it() -> None:
    async with serving(fake("a"), fake("b"), groups=[TOGETHER], selectors=[selector("spillover")]) as served:
        direct = asyncio.create_task(served.chat("a", gate="g"))
        await served.until_leased("a")
        assert (await echo(served))[0] == "b"
        await served.open_gate("a", "g")
        await direct


async def test_spillover_with_nowhere_to_go() -> None:
    broken: dict[str, object] = {"exit_at_start": 1}
    async with serving(
        fake("a", flags=broken), fake("b", flags=broken), groups=[TOGETHER], selectors=[selector("spillover")]
    ) as served:
        assert [(await served.chat(name))[0] for name in "ab"] == [502, 502]
        status, _, answer = await served.ask("POST", ECHO, {"model": "s"})
        assert status == 503
        assert answer["error"]["message"].startswith("no target of 's' takes requests now")


async def test_filters_are_those_of_the_target_and_its_name() -> None:
    filters = FiltersConfig(strip_params="t", set_params_by_id={"a:fast": {"u": 1}, "a": {"u": 2}})
    model = fake("a", filters=filters)
    async with serving(model, selectors=[selector("pin", "a:fast")]) as served:
        assert (await echo(served, t=1))[1] == {"model": "a:fast", "u": 1}
        _, _, answer = await served.ask("POST", ECHO, {"model": "a"})
        assert json.loads(answer["body"]) == {"model": "a", "u": 2}


async def test_the_model_is_told_its_own_name_after_all_that() -> None:
    models = [fake("a", use_model_name="real"), fake("b")]
    profiles = [ProfileConfig("p", pins={"gpt": "s"})]
    async with serving(*models, selectors=[selector("pin")], profiles=profiles) as served:
        assert (await served.ask("PUT", "/api/profiles/active", {"name": "p"}))[0] == 200
        assert await echo(served, model="gpt") == ("a", {"model": "real"})
        # No filter and no name of its own in a query.
        _, _, answer = await served.ask("GET", "/props?model=gpt")
        assert answer["target"] == "/props?model=a"


async def test_a_form_is_told_the_chosen_target_and_keeps_everything_else() -> None:
    body = (
        b'--X\r\nContent-Disposition: form-data; name="file"; filename=x\r\nX-Part: kept\r\n\r\n\x00\xff\r\n'
        b'--X\r\nContent-Disposition: form-data; name="model"\r\n\r\ns\r\n--X--\r\n'
    )
    async with serving(fake("a"), fake("b"), selectors=[selector("pin", "b")]) as served:
        headers = {"Content-Type": "multipart/form-data; boundary=X"}
        _, _, answer = await served.ask("POST", "/v1/images/edits", body, headers=headers)
        assert answer["model"] == "b"
        assert answer["body"].encode("latin-1", "replace").endswith(b"\r\n\r\nb\r\n--X--\r\n")
        assert "X-Part: kept" in answer["body"]
        assert answer["body_length"] == len(body)


async def test_selectors_are_no_upstreams() -> None:
    async with serving(fake("a"), fake("b"), selectors=[selector("pin")]) as served:
        status, _, answer = await served.ask("GET", "/upstream/s/x")
        assert status == 404
        assert "model not found" in answer["error"]["message"]


async def test_a_body_that_cannot_be_filtered_is_refused() -> None:
    body = b'{"model":"a","t":[1,]}'
    headers = {"Content-Type": "application/json"}
    async with serving(fake("a", filters=FiltersConfig(strip_params="t")), fake("b")) as served:
        status, _, answer = await served.ask("POST", ECHO, body, headers=headers)
        assert status == 400
        assert answer["error"]["message"].startswith("the body is not valid JSON")
        # Whether it is good enough is for the model to say where nothing is filtered.
        _, _, answer = await served.ask("POST", ECHO, body.replace(b'"a"', b'"b"'), headers=headers)
        assert answer["body"] == body.decode().replace('"a"', '"b"')
