"""Do requests reach models of peers, and is a peer left alone that does not answer?"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from swapcore_http.config import (
    FiltersConfig,
    PeerConfig,
    PeerTimeoutsConfig,
    ProfileConfig,
    SelectorConfig,
)
from swapcore_http.peers import Peers
from swapcore_http.routes.context import CONTEXT
from tests.http.serving import Served, Wire, fake, serving

pytestmark = pytest.mark.anyio

ECHO = "/v1/images/generations"
CHAT = "/v1/chat/completions"


@asynccontextmanager
async def peer_at(rows: list[dict[str, Any]] | None = None) -> AsyncIterator[str]:
    """Run a peer that says what it was asked, and lists these models."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/base/v1/models" and rows is not None:
            return web.json_response({"object": "list", "data": rows})
        if request.headers.get("Upgrade"):
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_str(request.raw_path)
            await socket.close()
            return socket
        body = await request.text()
        if "slow" in body:
            await asyncio.sleep(60)
        if '"stream": true' in body:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            for word in ("one", "two"):
                await response.write(f"data: {word}\n\n".encode())
            return response
        fields = [[name, value] for name, value in request.headers.items()]
        return web.json_response({"target": request.raw_path, "headers": fields, "body": body})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/base"
    finally:
        await runner.cleanup()


def peer(url: str, id_: str = "p", models: Any = ("m", "org/n"), **fields: Any) -> PeerConfig:
    return PeerConfig(id_, proxy=url, models=models, **fields)


async def ask(served: Served, name: str, path: str = ECHO, **options: Any) -> Any:
    status, _, answer = await served.ask("POST", path, {"model": name, "x": 1}, **options)
    assert status == 200, answer
    return answer


def sent(answer: Any, name: str) -> list[str]:
    return [value for field, value in answer["headers"] if field.lower() == name]


# Which -------------------------------------------------------------------------


async def test_whole_and_bare_names_reach_it_under_its_own() -> None:
    async with peer_at() as url, serving(peers=[peer(url)]) as served:
        for name, expected in (("p/m", "m"), ("m", "m"), ("p/org/n", "org/n"), ("org/n", "org/n")):
            answer = await ask(served, name)
            assert json.loads(answer["body"]) == {"model": expected, "x": 1}
            assert answer["target"] == "/base" + ECHO
        for name in ("x/m", "p", "p/", "n"):
            assert (await served.ask("POST", ECHO, {"model": name}))[0] == 404, name


async def test_a_bare_name_of_two_peers_means_neither() -> None:
    async with peer_at() as url, serving(peers=[peer(url), peer(url, "q")]) as served:
        assert (await served.ask("POST", ECHO, {"model": "m"}))[0] == 404
        assert json.loads((await ask(served, "q/m"))["body"])["model"] == "m"


async def test_models_of_this_machine_go_first() -> None:
    async with peer_at() as url, serving(fake("m"), peers=[peer(url)]) as served:
        assert (await ask(served, "m"))["model"] == "m"
        assert "model" not in await ask(served, "p/m")


async def test_names_in_queries_forms_and_paths() -> None:
    async with peer_at() as url, serving(peers=[peer(url)]) as served:
        _, _, answer = await served.ask("GET", "/props?x=%2F&model=p/org/n&y")
        assert answer["target"] == "/base/props?x=%2F&model=org%2Fn&y"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        _, _, answer = await served.ask("POST", "/v1/audio/speech", b"a=1&model=p%2Fm&b", headers=form)
        assert answer["body"] == "a=1&model=m&b"
        for path in ("/upstream/p/org/n/x%2Fy?z", "/upstream/org/n/x%2Fy?z"):
            _, _, answer = await served.ask("PUT", path, b'{"model":"p/m"}')
            assert (answer["target"], answer["body"]) == ("/base/x%2Fy?z", '{"model":"p/m"}')
        # Nothing is started by a path like that.
        assert (await served.ask("GET", "/upstream/p/m/style.css"))[0] == 200


async def test_pins_and_selectors_lead_to_peers() -> None:
    selectors = [SelectorConfig("s", strategy="spillover", targets=("p/m", "a"))]
    profiles = [ProfileConfig("f", pins={"gpt": "org/n"})]
    async with (
        peer_at() as url,
        serving(fake("a"), peers=[peer(url)], selectors=selectors, profiles=profiles) as served,
    ):
        assert json.loads((await ask(served, "s"))["body"])["model"] == "m"
        await served.ask("PUT", "/api/profiles/active", {"name": "f"})
        assert json.loads((await ask(served, "gpt"))["body"])["model"] == "org/n"


async def test_filters_of_a_peer() -> None:
    filters = FiltersConfig(
        strip_params="x", set_params={"t": 1}, set_params_by_id={"m": {"u": 1}, "p/m": {"u": 2}}
    )
    async with peer_at() as url, serving(peers=[peer(url, filters=filters)]) as served:
        assert json.loads((await ask(served, "m"))["body"]) == {"model": "m", "t": 1, "u": 1}
        assert json.loads((await ask(served, "p/m"))["body"]) == {"model": "m", "t": 1, "u": 2}
        assert json.loads((await ask(served, "org/n"))["body"]) == {"model": "org/n", "t": 1}


async def test_they_are_listed_by_their_whole_names() -> None:
    async with peer_at() as url, serving(fake("a"), peers=[peer(url)]) as served:
        _, _, answer = await served.ask("GET", "/v1/models")
        assert [row["id"] for row in answer["data"]] == ["a", "p/m", "p/org/n"]
        row = answer["data"][2]
        assert (row["name"], row["status"]) == ("p: org/n", {"value": "unloaded"})
        assert row["meta"]["llamaswap"] == {"type": "peer", "peerID": "p"}


# Headers ------------------------------------------------------------------------


async def test_a_peer_sees_its_own_name_and_no_hops() -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Other": "kept"}
    async with peer_at() as url, serving(peers=[peer(url)]) as served:
        answer = await ask(served, "m", headers=headers)
        assert sent(answer, "host") == [url.split("/")[2]]
        assert not [name for name, _ in answer["headers"] if name.lower().startswith("x-forwarded")]
        assert sent(answer, "x-other") == ["kept"]


async def test_a_peer_with_a_key_is_shown_that_one() -> None:
    own = {"Authorization": "Bearer mine", "x-api-key": "mine"}
    async with peer_at() as url, serving(peers=[peer(url), peer(url, "q", api_key="theirs")]) as served:
        answer = await ask(served, "p/m", headers=own)
        assert (sent(answer, "authorization"), sent(answer, "x-api-key")) == (["Bearer mine"], ["mine"])
        answer = await ask(served, "q/m", headers=own)
        assert (sent(answer, "authorization"), sent(answer, "x-api-key")) == (["Bearer theirs"], ["theirs"])


async def test_streams_and_websockets() -> None:
    async with peer_at() as url, serving(peers=[peer(url)]) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "m", "stream": True})
        _, fields = await wire.head()
        assert dict(fields)["X-Accel-Buffering"] == "no"
        assert b"".join(await wire.chunks()) == b"data: one\n\ndata: two\n\n"
        async with served.http.ws_connect(served.base + "/upstream/p/m/ws") as socket:
            assert await socket.receive_str(timeout=60) == "/base/ws"


# Down ---------------------------------------------------------------------------


async def test_a_peer_that_is_down_is_left_alone_for_a_while() -> None:
    async with peer_at() as url:
        pass
    async with serving(fake("a"), peers=[peer(url)]) as served:
        status, _, answer = await served.ask("POST", CHAT, {"model": "m"})
        assert (status, answer["error"]["code"]) == (502, "bad_gateway")
        assert "Cannot connect" in answer["error"]["message"]
        status, fields, answer = await served.ask("POST", CHAT, {"model": "m"})
        assert (status, fields["Retry-After"]) == (502, "1")
        assert answer["error"]["message"].startswith("the peer p did not answer lately: ")
        assert (await served.chat("a"))[0] == 200


async def test_spillover_goes_past_a_peer_that_is_down() -> None:
    selectors = [SelectorConfig("s", strategy="spillover", targets=("p/m", "a"))]
    async with peer_at() as url:
        pass
    async with serving(fake("a"), peers=[peer(url)], selectors=selectors) as served:
        assert (await served.ask("POST", ECHO, {"model": "s"}))[0] == 502
        assert (await ask(served, "s"))["model"] == "a"


async def test_a_peer_that_takes_too_long_is_not_down() -> None:
    timeouts = PeerTimeoutsConfig(response_header=1)
    async with peer_at() as url, serving(peers=[peer(url, timeouts=timeouts)]) as served:
        status, _, answer = await served.ask("POST", CHAT, {"model": "m", "x": "slow"})
        assert (status, answer["error"]["code"]) == (504, "gateway_timeout")
        assert (await served.ask("POST", CHAT, {"model": "m"}))[0] == 200


async def test_peers_that_ask_each_other_end_in_an_error_at_once() -> None:
    async with serving(fake("a")) as one, serving(fake("b")) as other:
        for served, to in ((one, other), (other, one)):
            await served.replace(fake("a"), peers=[peer(to.base, models=("m",))])
        for path in (CHAT, "/v1/messages"):
            status, fields, answer = await one.ask("POST", path, {"model": "m"})
            assert status == 508
            assert fields["X-Swap-Model"] == "p/m"
            assert "peers pass it on in a circle" in answer["error"]["message"]
            assert answer["error"]["type"] == ("server_error" if path == CHAT else "api_error")
        # Nobody is down because of that.
        assert (await one.ask("GET", "/api/health"))[2]["reasons"] == []


async def test_a_peer_is_told_which_servers_the_request_has_passed() -> None:
    async with peer_at() as url, serving(peers=[peer(url)]) as served:
        name = served.runner.app[CONTEXT].peers.name
        assert sent(await ask(served, "m"), "x-swap-via") == [name]
        answer = await ask(served, "m", headers={"X-Swap-Via": "one, two"})
        assert sent(answer, "x-swap-via") == [f"one, two, {name}"]
        many = {"X-Swap-Via": ",".join(f"s{number}" for number in range(8))}
        status, _, answer = await served.ask("POST", ECHO, {"model": "m"}, headers=many)
        assert (status, answer["error"]["code"]) == (508, "loop_detected")


def test_the_pause_doubles_and_ends_with_an_answer() -> None:
    now = 0.0
    peers = Peers(clock=lambda: now)
    pauses = []
    for _ in range(8):
        peers.failed("p", "why")
        down = peers.down("p")
        assert down is not None
        pauses.append(peers.wait(down))
        now = down.until
        assert peers.down("p") is None
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    peers.answered("p")
    peers.failed("p", "again")
    down = peers.down("p")
    assert down is not None
    assert peers.wait(down) == 1


# Discovery ----------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"id": "m"},
    {"id": "alias", "meta": {"llamaswap": {"type": "alias"}}},
    {"id": "far/m", "meta": {"llamaswap": {"type": "peer"}}},
    {"id": 5},
    {"id": "m"},
]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> dict[str, asyncio.Event]:
    """Events that are set when a peer has answered or failed."""
    events = {"answered": asyncio.Event(), "failed": asyncio.Event()}

    def noting(name: str) -> Callable[..., None]:
        original = getattr(Peers, name)

        def note(*arguments: Any) -> None:
            original(*arguments)
            events[name].set()

        return note

    for name in events:
        monkeypatch.setattr(Peers, name, noting(name))
    return events


async def test_a_peer_can_say_itself_what_it_has(heard: dict[str, asyncio.Event]) -> None:
    async with peer_at(ROWS) as url, serving(peers=[peer(url, models="auto")]) as served:
        await asyncio.wait_for(heard["answered"].wait(), 20)
        _, _, answer = await served.ask("GET", "/v1/models")
        assert [row["id"] for row in answer["data"]] == ["p/alias", "p/m"]
        for name in ("m", "p/m", "alias", "p/not/listed/yet"):
            assert json.loads((await ask(served, name))["body"])["model"] == name.removeprefix("p/")
        assert (await served.ask("POST", ECHO, {"model": "far/m"}))[0] == 404
        assert (await served.ask("GET", "/upstream/p/m/x"))[2]["target"] == "/base/x"
        assert (await served.ask("GET", "/upstream/p/nothing/x"))[0] == 404


@pytest.mark.parametrize("rows", [None, "nonsense"])
async def test_a_peer_that_lists_nothing_sensible_is_marked(
    rows: Any, heard: dict[str, asyncio.Event]
) -> None:
    async with peer_at(rows) as url, serving(peers=[peer(url, models="auto")]) as served:
        await asyncio.wait_for(heard["failed"].wait(), 20)
        peers = served.runner.app[CONTEXT].peers
        assert peers.down("p") is not None
        assert not peers.discovered
