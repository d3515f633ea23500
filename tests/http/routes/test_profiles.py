"""Are profiles listed and chosen, and do their pins hold?"""

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from swapcore import Phase
from swapcore_http.config import ProfileConfig
from tests.http.serving import Served, fake, serving

pytestmark = pytest.mark.anyio

ACTIVE = "/api/profiles/active"
WORK = ProfileConfig("work", description="at work", pins={"gpt": "a", "b": "a", "off": "", "x/y": "b"})
PLAY = ProfileConfig("play", pins={"gpt": "b"})


def profiled() -> AbstractAsyncContextManager[Served]:
    return serving(fake("a"), fake("b", aliases=("off",)), profiles=[WORK, PLAY])


async def activate(served: Served, name: str | None) -> None:
    status, _, answer = await served.ask("PUT", ACTIVE, {"name": name})
    assert (status, answer) == (200, {"active": name or None})


async def asked(served: Served, name: str, path: str = "/v1/images/generations") -> Any:
    status, _, answer = await served.ask("POST", path, {"model": name})
    return (answer["model"], json.loads(answer["body"])["model"]) if status == 200 else status


async def test_they_are_listed() -> None:
    async with profiled() as served:
        _, _, answer = await served.ask("GET", "/api/profiles")
        assert answer == {
            "active": None,
            "profiles": [
                {"id": "play", "description": "", "pins": {"gpt": "b"}},
                {"id": "work", "description": "at work", "pins": dict(WORK.pins)},
            ],
        }
        await activate(served, "play")
        assert (await served.ask("GET", "/api/profiles"))[2]["active"] == "play"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "the body is not valid JSON"),
        (b"{", 400, "the body is not valid JSON"),
        (b'["work"]', 400, "expected {"),
        (b"{}", 400, "expected {"),
        (b'{"name":5}', 400, "name is 5; expected a text or null"),
        (b'{"name":"nobody"}', 404, "no profile is called 'nobody'"),
    ],
)
async def test_what_cannot_be_chosen(body: bytes, status: int, says: str) -> None:
    async with profiled() as served:
        await activate(served, "work")
        got, _, answer = await served.ask("PUT", ACTIVE, body)
        assert got == status
        assert says in answer["error"]["message"]
        assert (await served.ask("GET", "/api/profiles"))[2]["active"] == "work"


async def test_pins_hold_while_their_profile_is_active() -> None:
    async with profiled() as served:
        assert await asked(served, "gpt") == 404
        await activate(served, "work")
        assert await asked(served, "gpt") == ("a", "a")
        # A pin goes before the model of that name, and names that are not pinned mean what they do.
        assert await asked(served, "b") == ("a", "a")
        assert await asked(served, "a") == ("a", "a")
        await activate(served, "play")
        assert await asked(served, "gpt") == ("b", "b")
        assert await asked(served, "b") == ("b", "b")
        await activate(served, "")
        assert await asked(served, "gpt") == 404


async def test_a_name_can_be_switched_off() -> None:
    async with profiled() as served:
        assert await asked(served, "off") == ("b", "off")
        await activate(served, "work")
        status, _, answer = await served.ask("POST", "/v1/embeddings", {"model": "off"})
        assert status == 404
        assert answer["error"]["message"] == "'off' is not to be had while the profile 'work' is active"


async def test_pins_hold_in_queries_and_paths() -> None:
    async with profiled() as served:
        await activate(served, "work")
        _, _, answer = await served.ask("GET", "/props?x=1&model=gpt&y=%2F")
        assert (answer["model"], answer["target"]) == ("a", "/props?x=1&model=a&y=%2F")
        for path, model, target in (
            ("/upstream/gpt/x%2Fy?z", "a", "/x%2Fy?z"),
            ("/upstream/x/y/z", "b", "/z"),
            ("/upstream/a/z", "a", "/z"),
        ):
            _, _, answer = await served.ask("GET", path)
            assert (answer["model"], answer["target"]) == (model, target), path
        assert (await served.ask("GET", "/upstream/off/z"))[0] == 404
        assert (await served.ask("GET", "/upstream/gpt?x"))[1]["Location"] == "/upstream/gpt/?x"


async def test_management_knows_no_profiles() -> None:
    async with profiled() as served:
        await served.chat("b")
        await activate(served, "work")
        assert (await served.ask("POST", "/api/models/unload/gpt"))[0] == 404
        assert (await served.ask("POST", "/api/models/unload/b"))[0] == 200
        await served.until_phase("b", Phase.STOPPED)


async def test_new_names_are_listed_while_they_mean_something() -> None:
    async with profiled() as served:
        await activate(served, "work")
        _, _, answer = await served.ask("GET", "/v1/models")
        rows = {row["id"]: row for row in answer["data"]}
        assert list(rows) == ["a", "b", "gpt", "x/y"]
        assert rows["gpt"]["meta"]["llamaswap"] == {"type": "profile"}
        assert rows["gpt"]["status"] == {"value": "unloaded"}
