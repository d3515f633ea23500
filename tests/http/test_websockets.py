"""Do websockets get through, and do they keep their model no longer than bytes move?"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from swapcore import Phase
from swapcore_http.config import SelectorConfig
from tests.http.serving import Served, Wire, answering_at, serving, unrun

pytestmark = pytest.mark.anyio

WS = "/upstream/a/ws"
UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="

Plain = Callable[[web.Request], Awaitable[web.Response]]
Talk = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


async def echo(socket: web.WebSocketResponse, request: web.Request) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            match message.data:
                case "close":
                    await socket.close(code=4001, message=b"as asked")
                case "die":
                    assert request.transport is not None
                    request.transport.abort()
                case text:
                    await socket.send_str(f"{request.raw_path}: {text}")
        else:
            await socket.send_bytes(message.data)


async def answer(request: web.Request) -> web.Response:
    return web.json_response({"path": request.path_qs})


@asynccontextmanager
async def upstream(talk: Talk = echo, plain: Plain = answer) -> AsyncIterator[str]:
    """Run a server that speaks websockets, and plain HTTP elsewhere."""

    async def join(request: web.Request) -> web.StreamResponse:
        if request.path == "/refuse":
            return web.Response(status=403, text="no")
        if request.headers.get("Upgrade") is None:
            return await plain(request)
        socket = web.WebSocketResponse(protocols=("chat",), autoping=True, max_msg_size=0)
        await socket.prepare(request)
        await talk(socket, request)
        return socket

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", join)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tunnelling(
    *, talk: Talk = echo, plain: Plain = answer, model: dict[str, Any] | None = None, **fields: Any
) -> AsyncIterator[Served]:
    """Run a server of two models, of which one fits, both at such an upstream."""
    async with (
        upstream(talk, plain) as url,
        serving(unrun("a", **(model or {})), unrun("b"), launch=answering_at(url), **fields) as served,
    ):
        yield served


async def say(socket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    await socket.send_str(text)
    return str(await socket.receive_str(timeout=60))


async def closed_with(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    message = await socket.receive(timeout=60)
    assert message.type in {WSMsgType.CLOSE, WSMsgType.CLOSED}, message
    return socket.close_code


# Through ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/upstream/a/ws/x%2Fy?q=%20", "/ws/x%2Fy?q=%20"),
        ("/v1/realtime?model=a&x", "/v1/realtime?model=a&x"),
    ],
)
async def test_messages_of_all_sizes_get_through(path: str, target: str) -> None:
    async with (
        tunnelling() as served,
        served.http.ws_connect(served.base + path, protocols=["chat"], max_msg_size=0) as socket,
    ):
        assert socket.protocol == "chat"
        assert await say(socket, "hello") == f"{target}: hello"
        for size in (0, 1, 125, 126, 65_536, 5_000_000):
            await socket.send_bytes(b"x" * size)
            assert len(await socket.receive_bytes(timeout=60)) == size
        await served.until_leased("a")
        await socket.close(code=1000)
    await served.until_idle()


async def test_close_codes_get_through_both_ways() -> None:
    ended: asyncio.Queue[int | None] = asyncio.Queue()

    async def note(socket: web.WebSocketResponse, request: web.Request) -> None:
        await echo(socket, request)
        await ended.put(socket.close_code)

    async with tunnelling(talk=note) as served:
        async with served.http.ws_connect(served.base + WS) as socket:
            await socket.send_str("close")
            assert await closed_with(socket) == 4001
        assert await ended.get() is not None
        async with served.http.ws_connect(served.base + WS) as socket:
            await socket.close(code=4002)
        assert await asyncio.wait_for(ended.get(), 20) == 4002
        await served.until_idle()


async def test_what_the_upstream_says_instead_gets_through() -> None:
    async with tunnelling() as served:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await served.http.ws_connect(served.base + "/upstream/a/refuse")
        assert caught.value.status == 403
        await served.until_idle()
        # Its connection is of use afterwards.
        assert (await served.ask("GET", "/upstream/a/x"))[2] == {"path": "/x"}


async def test_bytes_sent_with_the_request_are_not_lost() -> None:
    async with tunnelling() as served, Wire.to(served) as wire:
        masked = b"\x81\x85\x00\x00\x00\x00hello"
        head = "\r\n".join([f"GET {WS} HTTP/1.1", "Host: x", *UPGRADE, KEY, "", ""]).encode()
        await wire.send(head + masked)
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 101 ")
        assert {name.lower(): value for name, value in fields}["sec-websocket-accept"]
        assert b"/ws: hello" in await wire.reader.readexactly(2 + len("/ws: hello"))


async def test_a_client_who_does_not_read_holds_its_upstream_back() -> None:
    piece, count = b"x" * 1_000_000, 60
    blocked = asyncio.Event()

    async def pour(socket: web.WebSocketResponse, request: web.Request) -> None:
        for _ in range(count):
            sending = asyncio.ensure_future(socket.send_bytes(piece))
            done, _pending = await asyncio.wait([sending], timeout=0.5)
            if not done:
                blocked.set()
            await sending

    async with (
        tunnelling(talk=pour) as served,
        served.http.ws_connect(served.base + WS, max_msg_size=0) as socket,
    ):
        await asyncio.wait_for(blocked.wait(), 20)
        for _ in range(count):
            assert await socket.receive_bytes(timeout=60) == piece


async def test_other_protocols_do_not_pass() -> None:
    async with tunnelling() as served, Wire.to(served) as wire:
        await wire.get("/upstream/a/x", "Connection: Upgrade", "Upgrade: h2c")
        line, _ = await wire.head()
        assert line.startswith("HTTP/1.1 200 ")


# Leases -------------------------------------------------------------------------


async def test_it_holds_a_lease_while_bytes_move() -> None:
    async with tunnelling() as served, served.http.ws_connect(served.base + WS) as socket:
        assert await say(socket, "x") == "/ws: x"
        await served.until_leased("a")
        waiting = asyncio.create_task(served.ask("GET", "/upstream/b/x"))
        await served.until_waiting("b")
        assert await say(socket, "y") == "/ws: y"
        assert served.view("a").leases == 1
        await socket.close()
        assert (await waiting)[0] == 200


async def test_idle_it_gives_its_lease_back_and_takes_it_again() -> None:
    async with tunnelling(websocket_idle=0.05) as served, served.http.ws_connect(served.base + WS) as socket:
        for text in ("one", "two", "three"):
            assert await say(socket, text) == f"/ws: {text}"
            await served.until_leased("a", 0)
            assert served.view("a").phase is Phase.READY


async def test_a_model_may_speak_first_after_idling() -> None:
    speak = asyncio.Event()

    async def talk(socket: web.WebSocketResponse, request: web.Request) -> None:
        await speak.wait()
        await socket.send_str("by myself")
        await echo(socket, request)

    async with (
        tunnelling(talk=talk, websocket_idle=0.05) as served,
        served.http.ws_connect(served.base + WS) as socket,
    ):
        await served.until_leased("a", 0)
        speak.set()
        assert await socket.receive_str(timeout=60) == "by myself"


async def test_idle_it_lets_its_model_go_and_says_so() -> None:
    async with tunnelling(websocket_idle=0.05) as served, served.http.ws_connect(served.base + WS) as socket:
        assert await say(socket, "x") == "/ws: x"
        await served.until_leased("a", 0)
        assert (await served.ask("GET", "/upstream/b/x"))[0] == 200
        assert await closed_with(socket) == 1012
        await served.until_phase("a", Phase.STOPPED)


async def test_with_idling_switched_off_it_stays() -> None:
    async with tunnelling(websocket_idle=0.0) as served, served.http.ws_connect(served.base + WS) as socket:
        waiting = asyncio.create_task(served.ask("GET", "/upstream/b/x"))
        await served.until_waiting("b")
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        await socket.close()
        assert (await waiting)[0] == 200


async def test_who_wants_to_go_on_while_its_model_is_about_to_leave_is_told() -> None:
    """Another caller holds the model while it makes room: the tunnel waits with it, and goes with it."""
    over = asyncio.Event()

    async def hold(request: web.Request) -> web.Response:
        if request.path == "/hold":
            await over.wait()
        return await answer(request)

    async with (
        tunnelling(plain=hold, websocket_idle=0.05, patience=0.0) as served,
        served.http.ws_connect(served.base + WS) as socket,
    ):
        await served.until_leased("a", 0)
        other = asyncio.create_task(served.ask("GET", "/upstream/a/hold"))
        await served.until_leased("a", 1)
        waiting = asyncio.create_task(served.ask("GET", "/upstream/b/x"))
        await served.until(lambda now: now.upstream("a").closed)
        await socket.send_str("too late")
        await served.until_waiting("a")
        over.set()
        assert await closed_with(socket) == 1012
        assert (await other)[0] == (await waiting)[0] == 200
        await served.until_waiting("a", 0)


async def test_a_client_who_hangs_up_gives_its_lease_back() -> None:
    async with tunnelling() as served, Wire.to(served) as wire:
        await wire.get(WS, *UPGRADE, KEY)
        await wire.head()
        await served.until_leased("a")
        wire.hang_up()
        await served.until_leased("a", 0)


async def test_an_upstream_that_dies_breaks_it_off() -> None:
    async with tunnelling() as served, served.http.ws_connect(served.base + WS) as socket:
        await socket.send_str("die")
        assert await closed_with(socket) in {1006, None}
        await served.until_leased("a", 0)


async def test_unloading_now_says_so() -> None:
    async with tunnelling() as served, served.http.ws_connect(served.base + WS) as socket:
        assert await say(socket, "x") == "/ws: x"
        assert (await served.ask("GET", "/unload?now=1"))[0] == 200
        assert await closed_with(socket) == 1012


# Ignored ------------------------------------------------------------------------

IGNORING = {"ignore_websockets": True}


async def test_ignored_ones_start_nothing() -> None:
    async with tunnelling(model=IGNORING) as served, Wire.to(served) as wire:
        await wire.get(WS, *UPGRADE, KEY)
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 409 ")
        answer = await wire.json(fields)
        assert answer["error"]["message"].startswith(
            "a is not ready, and an ignored websocket cannot start it"
        )
        assert served.view("a").phase is Phase.STOPPED


async def test_ignored_ones_pass_once_it_is_up_and_keep_it_from_nothing() -> None:
    async with tunnelling(model=IGNORING) as served:
        assert (await served.ask("GET", "/upstream/a/x"))[0] == 200
        async with served.http.ws_connect(served.base + WS) as socket:
            assert await say(socket, "x") == "/ws: x"
            assert served.view("a").leases == 0
            assert (await served.ask("GET", "/upstream/b/x"))[0] == 200
            assert await closed_with(socket) == 1012


async def test_selectors_do_not_count_ignored_ones() -> None:
    selectors = [SelectorConfig("s", strategy="spillover", targets=("a",))]
    async with tunnelling(model=IGNORING, selectors=selectors) as served:
        await served.ask("GET", "/upstream/a/x")
        async with served.http.ws_connect(served.base + "/v1/realtime?model=s") as socket:
            assert await say(socket, "x") == "/v1/realtime?model=a: x"
