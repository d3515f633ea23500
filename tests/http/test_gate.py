"""Do keys, names and origins decide what is answered, and do keys stay where they belong?"""

import asyncio
import base64
import json
import logging
from typing import Any

import pytest

from swapcore import Arrived, Phase
from swapcore_http.config import ApiKeyConfig, GroupConfig, ProfileConfig, SelectorConfig
from swapcore_http.driver import Observation
from tests.http.serving import Served, Wire, fake, serving

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
FULL = "full-secret"
ALL = ("infer", "swap", "admin", "logs")


def shown(key: str) -> dict[str, str]:
    return {"x-api-key": key}


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


async def chat(served: Served, model: str, key: str, **headers: str) -> tuple[int, Any]:
    status, _, answer = await served.ask("POST", CHAT, {"model": model}, headers=shown(key) | headers)
    return status, answer


# Keys ---------------------------------------------------------------------------


async def test_every_way_to_show_a_key() -> None:
    async with serving(fake("a"), api_keys=[FULL]) as served:
        for fields in (
            {"Authorization": f"Bearer {FULL}"},
            {"Authorization": basic(f"whoever:{FULL}")},
            {"X-Api-Key": FULL},
        ):
            assert (await served.ask("GET", "/v1/models", headers=fields))[0] == 200
        assert (await served.ask("GET", f"/v1/models?key={FULL}"))[0] == 401


async def test_a_refusal_on_an_anthropic_path_has_that_apis_shape() -> None:
    async with serving(fake("a"), api_keys=[FULL, ApiKeyConfig("weak", scopes=["infer"])]) as served:
        body = {"model": "a"}
        status, _, answer = await served.ask("POST", "/v1/messages", body)
        assert (status, answer["error"]["type"]) == (401, "authentication_error")
        status, _, answer = await served.ask("POST", "/v1/messages", body, headers=shown("weak"))
        assert (status, answer["error"]["type"]) == (403, "permission_error")


async def test_the_keys_of_a_new_configuration_count_at_once() -> None:
    async with serving(fake("a"), api_keys=["old"]) as served:
        assert (await served.ask("GET", "/running", headers=shown("old")))[0] == 200
        await served.replace(fake("a"), api_keys=["new"])
        assert (await served.ask("GET", "/running", headers=shown("old")))[0] == 401
        assert (await served.ask("GET", "/running", headers=shown("new")))[0] == 200
        await served.replace(fake("a"))
        assert (await served.ask("GET", "/running"))[0] == 200


async def test_only_a_key_that_may_do_everything_uses_paths_that_nobody_knows() -> None:
    weak = ApiKeyConfig("weak", models=["a"])
    async with serving(fake("a"), api_keys=[FULL, weak]) as served:
        for key, expected in ((FULL, 200), ("weak", 403), ("wrong", 401)):
            status, _, _ = await served.ask("POST", "/v1/new", {"model": "a"}, headers=shown(key))
            assert status == expected
        assert (await served.ask("GET", "/v1/new"))[0] == 404
        assert (await served.ask("DELETE", "/v1/models"))[0] == 405


# Models -------------------------------------------------------------------------


async def test_a_key_is_for_models_by_any_of_their_names() -> None:
    keys = [
        FULL,
        ApiKeyConfig("q", models=["qwen*"]),
        ApiKeyConfig("f", models=["fast"]),
        ApiKeyConfig("s", models=["any"]),
        ApiKeyConfig("p", models=["best"]),
    ]
    async with serving(
        fake("qwen-1", aliases=("fast",)),
        fake("gemma"),
        groups=[GroupConfig("g", members=("qwen-1", "gemma"), swap=False)],
        selectors=[SelectorConfig("any", strategy="pin", targets=("gemma", "qwen-1"))],
        profiles=[ProfileConfig("work", pins={"best": "gemma", "fast": "gemma"})],
        api_keys=keys,
    ) as served:
        expected = {
            ("q", "qwen-1"): 200,
            ("q", "fast"): 200,
            ("q", "gemma"): 403,
            ("q", "nobody"): 404,
            ("q", "best"): 404,
            ("f", "qwen-1"): 200,
            ("f", "gemma"): 403,
            ("s", "any"): 200,
            ("s", "gemma"): 403,
            ("p", "qwen-1"): 403,
        }
        for (key, model), status in expected.items():
            assert (await chat(served, model, key))[0] == status, (key, model)
        # A selector chooses among what the key is for.
        status, answer = await chat(served, "any", "q")
        assert (status, answer["model"]) == (200, "qwen-1")
        status, answer = await chat(served, "any", "s")
        assert (status, answer["model"]) == (200, "gemma")

        async def listed(path: str, key: str) -> list[str]:
            _, _, answer = await served.ask("GET", path, headers=shown(key))
            return sorted(row["id"] for row in answer["data"])

        assert await listed("/v1/models", FULL) == ["any", "gemma", "qwen-1"]
        assert await listed("/models", "q") == ["any", "qwen-1"]
        assert await listed("/v1/models", "s") == ["any"]
        assert await listed("/v1/models", "p") == []
        status, _, answer = await served.ask("GET", "/running", headers=shown("q"))
        assert [row["model"] for row in answer["running"]] == ["qwen-1"]
        # While a profile is active, a model's name is good for what it means then only if the key is.
        await served.ask("PUT", "/api/profiles/active", {"name": "work"}, headers=shown(FULL))
        assert (await chat(served, "best", "p"))[0] == 200
        assert (await chat(served, "fast", "q"))[0] == 403
        assert (await chat(served, "fast", "f"))[0] == 403
        assert await listed("/v1/models", "p") == ["best"]


async def test_a_key_reads_logs_and_unloads_only_what_it_is_for() -> None:
    keys = [FULL, ApiKeyConfig("k", models=["a"])]
    async with serving(
        fake("a"), fake("b"), groups=[GroupConfig("g", members=("a", "b"), swap=False)], api_keys=keys
    ) as served:
        for model in ("a", "b"):
            assert (await chat(served, model, FULL))[0] == 200
        for name, status in (("a", 200), ("b", 403), ("proxy", 403), ("upstream", 403)):
            got, _, _ = await served.ask("HEAD", f"/logs/stream/{name}", headers=shown("k"))
            assert got == status, name
        assert (await served.ask("POST", "/api/models/unload/b", headers=shown("k")))[0] == 403
        assert (await served.ask("GET", "/unload", headers=shown("k")))[0] == 200
        assert served.view("a").phase is Phase.STOPPED
        assert served.view("b").phase is Phase.READY


async def test_what_the_root_says_depends_on_who_asks() -> None:
    async with serving(fake("a"), fake("b"), api_keys=[ApiKeyConfig("k", models=["a"])]) as served:
        _, _, text = await served.ask("GET", "/")
        assert text.endswith(b"Which models there are is for who shows a key.\n")
        _, _, text = await served.ask("GET", "/", headers=shown("k"))
        assert text.endswith(b"Models: a\n")


async def test_paths_of_a_models_own_server_that_are_none_of_ours_take_admin() -> None:
    keys = [ApiKeyConfig("weak", scopes=["infer", "swap"]), FULL]
    async with serving(fake("a"), api_keys=keys) as served:
        body = {"model": "a"}
        path = f"/upstream/a{CHAT}"
        assert (await served.ask("POST", path, body, headers=shown("weak")))[0] == 200
        for path in ("/upstream/a/events", "/upstream/a/", f"/upstream/a{CHAT}/", "/upstream/a/v1//x/../x"):
            assert (await served.ask("GET", path, headers=shown("weak")))[0] == 403, path
        assert (await served.ask("GET", "/upstream/a/events", headers=shown(FULL)))[0] == 200


# Swaps, and turns ---------------------------------------------------------------


async def test_without_the_scope_swap_a_model_serves_only_while_it_is_up() -> None:
    keys = [FULL, ApiKeyConfig("weak", scopes=["infer"])]
    async with serving(fake("a", concurrency_limit=1), fake("b"), api_keys=keys) as served:
        status, answer = await chat(served, "a", "weak")
        assert status == 403
        assert answer["error"]["message"].startswith("a is not up")
        assert served.view("a").phase is Phase.STOPPED
        assert (await chat(served, "a", FULL))[0] == 200
        assert (await chat(served, "a", "weak"))[0] == 200
        status, _ = await chat(served, "b", "weak")
        assert status == 403
        assert served.view("a").phase is Phase.READY
        # One that waits for its turn when the model leaves does not bring it back.
        body = {"model": "a", "fake": {"gate": "g"}}
        busy = asyncio.create_task(served.ask("POST", CHAT, body, headers=shown(FULL)))
        await served.events("a", "request", 3)
        waiting = asyncio.create_task(chat(served, "a", "weak"))
        await served.until_waiting("a")
        unloading = asyncio.create_task(served.ask("GET", "/unload?now=1", headers=shown(FULL)))
        assert (await waiting)[0] == 503
        await busy
        await unloading
        assert served.view("a").phase is Phase.STOPPED


async def test_without_the_scope_swap_nothing_stops_by_a_one_way_rule() -> None:
    groups = [
        GroupConfig("one", members=("a",), exclusive=True),
        GroupConfig("other", members=("b",), exclusive=False),
    ]
    keys = [FULL, ApiKeyConfig("weak", scopes=["infer"])]
    async with serving(fake("a"), fake("b"), groups=groups, api_keys=keys) as served:
        for model in ("a", "b"):
            assert (await chat(served, model, FULL))[0] == 200
        for model in ("a", "b", "a"):
            assert (await chat(served, model, "weak"))[0] == 200
            assert [served.view(each).phase for each in "ab"] == [Phase.READY, Phase.READY]
        assert (await chat(served, "a", FULL))[0] == 200
        await served.until_phase("b", Phase.STOPPED)


@pytest.mark.parametrize(
    ("key", "headers", "priority", "patience"),
    [
        ("plain", {}, 3, None),
        ("plain", {"X-Swap-Priority": "7", "X-Swap-Patience": "2"}, 7, 2.0),
        ("set", {}, -5, 100.0),
        # A caller may be more modest than its key has it, and no less.
        ("set", {"X-Swap-Priority": "7", "X-Swap-Patience": "2"}, -5, 100.0),
        ("set", {"X-Swap-Priority": "-7", "X-Swap-Patience": "200"}, -7, 200.0),
    ],
)
async def test_how_a_key_arrives(
    key: str, headers: dict[str, str], priority: int, patience: float | None
) -> None:
    keys = [ApiKeyConfig("plain"), ApiKeyConfig("set", name="n", priority=-5, patience=100.0, share=0.25)]
    async with serving(fake("a"), api_keys=keys, caller_headers=True, priorities={"a": 3}) as served:
        steps: list[Observation] = []
        served.driver.watch(steps.append)
        assert (await chat(served, "a", key, **headers))[0] == 200
        (arrived,) = [step.event for step in steps if isinstance(step.event, Arrived)]
        assert (arrived.priority, arrived.patience) == (priority, patience)
        assert (arrived.caller, arrived.share) == (("n", 0.25) if key == "set" else ("apiKeys[0]", None))


async def test_no_key_fills_more_than_its_share_of_the_queue() -> None:
    keys = [FULL, ApiKeyConfig("greedy", share=0.5)]
    async with serving(fake("a", concurrency_limit=1, max_queue=4), api_keys=keys) as served:
        body = {"model": "a", "fake": {"gate": "g"}}
        busy = asyncio.create_task(served.ask("POST", CHAT, body, headers=shown(FULL)))
        await served.events_once_leased("a", "request")
        waiting = [asyncio.create_task(chat(served, "a", "greedy")) for _ in range(2)]
        await served.until_waiting("a", 2)
        status, answer = await chat(served, "a", "greedy")
        assert status == 429
        assert "of this caller wait" in answer["error"]["message"]
        waiting.append(asyncio.create_task(chat(served, "a", FULL)))
        await served.until_waiting("a", 3)
        await served.open_gate("a", "g")
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200] * 3
        await busy


# Keys stay here -----------------------------------------------------------------


@pytest.mark.parametrize("forward_auth", [False, True])
async def test_a_key_of_ours_is_not_shown_to_the_upstream(*, forward_auth: bool) -> None:
    async with serving(fake("a", forward_auth=forward_auth), api_keys=[FULL]) as served:
        for fields, passing in (
            ({"Authorization": f"Bearer {FULL}", "x-api-key": "upstream's"}, {"x-api-key"}),
            ({"x-api-key": FULL, "Authorization": "Bearer upstream's"}, {"authorization"}),
            ({"Authorization": f"Bearer  {FULL}", "x-api-key": FULL}, set()),
        ):
            status, _, echo = await served.ask("POST", "/upstream/a/echo", {}, headers=fields)
            assert status == 200
            names = {name.lower() for name, _ in echo["headers"]} & {"authorization", "x-api-key"}
            assert names == ({name.lower() for name in fields} if forward_auth else passing)


async def test_a_key_is_nowhere_to_be_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "s3cr3t-" + "k" * 20
    keys = [ApiKeyConfig(secret, name="me"), ApiKeyConfig("weak", scopes=["infer", "swap"])]
    async with serving(fake("a"), api_keys=keys) as served:
        steps: list[Observation] = []
        served.driver.watch(steps.append)
        for fields in ({"Authorization": f"Bearer {secret}"}, {"Authorization": basic(f"u:{secret}")}):
            assert (await served.ask("POST", CHAT, {"model": "a"}, headers=fields))[0] == 200
            assert (await served.ask("POST", CHAT, {"model": "no"}, headers=fields))[0] == 404
        texts = [caplog.text, repr(steps), repr(served.config)]
        _, _, answer = await served.ask("GET", "/api/metrics/activity", headers=shown(secret))
        assert [row["metadata"]["key"] for row in answer["data"]] == ["me", "me"]
        for path in ("/running", "/api/metrics/activity", "/api/captures/1", "/logs", "/metrics"):
            status, _, answer = await served.ask("GET", path, headers=shown(secret))
            assert status == 200, path
            texts.append(answer.decode() if isinstance(answer, bytes) else json.dumps(answer))
        for text in texts:
            assert secret not in text
            assert base64.b64encode(f"u:{secret}".encode()).decode() not in text


async def test_commands_are_for_those_who_operate() -> None:
    keys = [FULL, ApiKeyConfig("weak", scopes=["infer", "swap", "logs"])]
    async with serving(fake("a"), api_keys=keys) as served:
        await chat(served, "a", FULL)
        for key, masked in ((FULL, False), ("weak", True)):
            _, _, answer = await served.ask("GET", "/running", headers=shown(key))
            (row,) = answer["running"]
            assert (row["cmd"] == "[REDACTED]") is masked
            assert row["proxy"] == served.url("a")


# Browsers -----------------------------------------------------------------------

EVIL = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}


async def test_pages_of_other_origins_change_nothing() -> None:
    async with serving(fake("a"), cors_origins=["https://ui.example"]) as served:
        body = {"model": "a"}
        changing = [
            ("POST", CHAT, body),
            ("POST", "/upstream/a/x", body),
            ("GET", "/unload", None),
            ("HEAD", "/unload", None),
            ("POST", "/api/models/unload", None),
            ("POST", "/api/config/reload", None),
            ("PUT", "/api/profiles/active", {"name": None}),
            ("POST", "/v1/new", body),
            ("DELETE", "/upstream/a/x", None),
            ("PATCH", "/upstream/a/x", None),
            ("GET", "/upstream/a/x", None),
            ("GET", "/props?model=a", None),
        ]
        for method, path, content in changing:
            for fields in (
                EVIL,
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
                # A key proves nothing where there are none.
                EVIL | {"Authorization": "Bearer whatever"},
            ):
                status, _, answer = await served.ask(method, path, content, headers=fields)
                assert status == 403, (method, path, fields)
                if method != "HEAD":
                    assert "corsOrigins" in answer["error"]["message"]
        status, _, _ = await served.ask("GET", "/unload", headers={"Referer": "http://evil.example/"})
        assert status == 403
        assert served.view("a").phase is Phase.STOPPED
        for path in ("/v1/models", "/running", "/health"):
            assert (await served.ask("GET", path, headers=EVIL))[0] == 200


async def test_the_servers_own_pages_links_and_listed_origins_may() -> None:
    async with serving(fake("a"), cors_origins=["https://ui.example"]) as served:
        body = {"model": "a"}
        own = {"Origin": served.base, "Sec-Fetch-Site": "same-origin"}
        listed = {"Origin": "https://ui.example", "Sec-Fetch-Site": "cross-site"}
        for fields in (own, {"Origin": served.base}, {"Sec-Fetch-Site": "none"}, {}, listed):
            status, got, _ = await served.ask("POST", CHAT, body, headers=fields)
            assert status == 200, fields
            assert got.get("Access-Control-Allow-Origin") == (fields["Origin"] if fields is listed else None)
        # What is refused can be read by such a page as well.
        status, got, _ = await served.ask("POST", CHAT, {"model": "no"}, headers=listed)
        assert (status, got["Access-Control-Allow-Origin"]) == (404, "https://ui.example")
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await served.ask("GET", "/upstream/a/events", headers=link))[0] == 200
        frame = link | {"Sec-Fetch-Dest": "iframe"}
        assert (await served.ask("GET", "/upstream/a/events", headers=frame))[0] == 403
        assert (await served.ask("GET", "/unload", headers=link))[0] == 403
        assert (await served.ask("GET", "/unload", headers=listed))[0] == 200


async def test_a_page_that_knows_a_key_may_but_not_one_whose_browser_remembers_it() -> None:
    async with serving(fake("a"), api_keys=[FULL]) as served:
        body = {"model": "a"}
        for fields, expected in (
            ({"Authorization": f"Bearer {FULL}"}, 200),
            ({"x-api-key": FULL}, 200),
            ({"Authorization": basic(f"u:{FULL}")}, 403),
            ({}, 401),
        ):
            status, _, _ = await served.ask("POST", CHAT, body, headers=EVIL | fields)
            assert status == expected, fields


async def test_a_websocket_of_another_origins_page_starts_nothing() -> None:
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Origin: http://evil.example")
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.get("/upstream/a/ws", *upgrade)
        line, _ = await wire.head()
        assert line.startswith("HTTP/1.1 403 ")
        assert served.view("a").phase is Phase.STOPPED


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["localhost"], 200),
        (["LOCALHOST.:8080"], 200),
        (["127.0.0.1:1"], 200),
        (["[::1]:8080"], 200),
        (["box.lan"], 200),
        (["evil.example"], 403),
        (["localhost.evil.example"], 403),
        (["0.0.0.0"], 403),  # noqa: S104 - what browsers take for this machine, as pages know.
        ([""], 403),
        ([], 200),
        (["localhost", "evil.example"], 403),
    ],
)
async def test_names_by_which_a_server_on_loopback_is_asked(hosts: list[str], status: int) -> None:
    async with (
        serving(fake("a"), on_loopback=True, allowed_hosts=["box.lan"]) as served,
        Wire.to(served) as wire,
    ):
        # No HTTP/1.1 without a Host, so that is what an old client asks with.
        lines = [f"GET /v1/models HTTP/1.{1 if hosts else 0}", *(f"Host: {host}" for host in hosts)]
        await wire.send("\r\n".join([*lines, "", ""]).encode())
        line, fields = await wire.head()
        # Two of them are refused by the parser, with a 400.
        assert int(line.split()[1]) in ({status, 400} if len(hosts) > 1 else {status})
        if status == 403 and len(hosts) == 1:
            assert "allowedHosts" in (await wire.json(fields))["error"]["message"]


async def test_a_server_on_all_interfaces_is_asked_by_any_name() -> None:
    async with serving(fake("a")) as served:
        assert (await served.ask("GET", "/v1/models", headers={"Host": "evil.example"}))[0] == 200
