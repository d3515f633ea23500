"""Are models listed as clients expect them?"""

import time

import pytest

from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/v1/models", "/models"])
async def test_models_are_listed_in_order_of_their_ids(path: str) -> None:
    models = [
        fake("b", name="  The B ", description=" what it is\n", aliases=("gpt", "b2")),
        fake("é"),
        fake("a", unlisted=True),
        fake("Z"),
    ]
    async with serving(*models) as served:
        status, fields, answer = await served.ask("GET", path)
        assert (status, fields["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert answer["object"] == "list"
        assert [row["id"] for row in answer["data"]] == ["Z", "b", "é"]
        row = answer["data"][1]
        assert abs(row.pop("created") - time.time()) < 60
        assert row == {
            "id": "b",
            "object": "model",
            "owned_by": "swapcore",
            "name": "The B",
            "description": "what it is",
            "meta": {"llamaswap": {"type": "model", "aliases": ["gpt", "b2"]}},
            "status": {"value": "unloaded"},
        }
        assert answer["data"][0].keys() == {"id", "object", "created", "owned_by", "meta", "status"}
        assert answer["data"][0]["meta"] == {"llamaswap": {"type": "model"}}


async def test_status_says_loaded_from_start_to_end() -> None:
    async with serving(fake("a", flags={"no_listen": True}), fake("b")) as served:
        load = served.driver.load
        load(["a"])
        _, _, answer = await served.ask("GET", "/v1/models")
        assert [row["status"]["value"] for row in answer["data"]] == ["loaded", "unloaded"]
        await served.driver.unload(["a"])
        _, _, answer = await served.ask("GET", "/v1/models")
        assert [row["status"]["value"] for row in answer["data"]] == ["unloaded", "unloaded"]


async def test_no_models_are_an_empty_list() -> None:
    async with serving() as served:
        assert (await served.ask("GET", "/v1/models"))[2] == {"object": "list", "data": []}


@pytest.mark.parametrize("path", ["/health", "/wol-health"])
async def test_health_needs_no_model(path: str) -> None:
    async with serving(fake("a")) as served:
        status, fields, body = await served.ask("GET", path)
        assert (status, body) == (200, b"OK")
        assert fields["Content-Type"] == "text/plain; charset=utf-8"
        assert (await served.ask("GET", "/running"))[2] == {"running": []}


async def test_the_root_says_what_this_is() -> None:
    async with serving(fake("a"), fake("hidden", unlisted=True)) as served:
        status, fields, body = await served.ask("GET", "/")
    assert (status, fields["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert b"swapcore" in body
    assert b"/v1/chat/completions" in body
    assert b"hidden" not in body


async def test_head_is_served_where_get_is() -> None:
    async with serving(fake("a")) as served:
        for path in ("/", "/health", "/v1/models", "/running"):
            status, fields, body = await served.ask("HEAD", path)
            assert (status, body) == (200, b""), path
            assert int(fields["Content-Length"]) > 0
