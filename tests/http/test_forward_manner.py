"""Can a request be forwarded in another manner: listened to, timed, drained, after a start, or upgraded?"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import trustme
from aiohttp import web
from attrs import define, field

from swapcore import Catalog, Engine, Model
from swapcore_http.app import make_runner
from swapcore_http.bodies import Bodies, received
from swapcore_http.driver import Driver, Lease
from swapcore_http.forward import Manner, Unfit, forward, forward_into, forward_upgrade
from swapcore_http.framing import Fields
from swapcore_http.relay import Limits, Switched
from swapcore_http.responses import ApiError, error_response
from swapcore_http.trust import authorities
from swapcore_http.upstreams import Upstreams
from tests.http.serving import DEADLINE, Wire, answering_at, read_request, scripted

pytestmark = pytest.mark.anyio

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Handle = Callable[[web.Request, Lease, Upstreams], Awaitable[web.StreamResponse]]

OK = b"HTTP/1.1 200 OK\r\n"
EVENTS = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@define
class Listener:
    """A tap that notes what it hears."""

    heard: list[object] = field(factory=list)
    ended: anyio.Event = field(factory=anyio.Event)

    def head(self, status: int, fields: Fields) -> None:
        self.heard.append((status, dict(fields).get(b"X-A")))

    def feed(self, content: bytes) -> None:
        self.heard.append(content)

    def end(self, whole: bool) -> None:  # noqa: FBT001
        self.heard.append(whole)
        self.ended.set()


@asynccontextmanager
async def site(script: Script, handle: Handle, *, url: str | None = None) -> AsyncIterator[Wire]:
    """Connect to such a server."""
    upstreams = Upstreams()
    idle = anyio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal idle
        idle = anyio.Event()
        try:
            async with driver.lease("a") as lease:
                return await handle(request, lease, upstreams)
        except ApiError as error:
            return error_response(request, error.status, error.message)
        finally:
            idle.set()

    async with (
        scripted(script) as script_url,
        Driver(Engine(Catalog([Model("a")])), answering_at(url or script_url)) as driver,
    ):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = make_runner(app, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            reader, writer = await asyncio.open_connection(*runner.addresses[0])
            with anyio.fail_after(DEADLINE):
                yield Wire(reader, writer)
            writer.close()
            with anyio.fail_after(DEADLINE):
                await idle.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
                await upstreams.close()


def plainly(manner: Manner) -> Handle:
    async def handle(request: web.Request, lease: Lease, upstreams: Upstreams) -> web.StreamResponse:
        async with received(request, Bodies(1 << 20)) as body:
            return await forward(
                request, lease, upstreams, target=request.rel_url.raw_path_qs, body=body, manner=manner
            )

    return handle


def answering(*pieces: bytes, gate: asyncio.Event | None = None) -> Script:
    """Answer every request with these pieces, and wait at the gate, if there is one, before the next."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            for number, piece in enumerate(pieces):
                if number and gate is not None:
                    await gate.wait()
                writer.write(piece)
                await writer.drain()

    return script


# Listening ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (OK + b"X-A: 1\r\nContent-Length: 3\r\n\r\nabc", [(200, b"1"), b"abc", True]),
        (OK + b"Content-Length: 0\r\n\r\n", [(200, None), True]),
        (EVENTS + b"2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n", [(200, None), b"ab", b"c", True]),
    ],
)
async def test_a_tap_hears_the_answer_without_its_framing(answer: bytes, heard: list[object]) -> None:
    tap = Listener()
    async with site(answering(answer), plainly(Manner(tap=tap))) as wire:
        await wire.get("/x", "Connection: close")
        await wire.rest()
    assert tap.heard == heard


async def test_a_tap_hears_that_an_answer_broke_off() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK + b"Content-Length: 3\r\n\r\na")

    tap = Listener()
    async with site(script, plainly(Manner(tap=tap))) as wire:
        await wire.get("/x")
        await wire.rest()
    assert tap.heard == [(200, None), b"a", False]


async def test_no_answer_depends_on_who_listens(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Listener):
        def feed(self, content: bytes) -> None:
            raise RuntimeError(f"a bug with {content!r}")

    answer = EVENTS + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    async with site(answering(answer), plainly(Manner(tap=Broken()))) as wire:
        await wire.get("/x")
        await wire.head()
        assert await wire.chunks() == [b"a", b"b"]
    assert [record.getMessage() for record in caplog.records] == ["listening to an answer failed"]


# Fields -------------------------------------------------------------------------


async def test_fields_are_added_and_left_out() -> None:
    seen = b""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await read_request(reader)
        writer.write(OK + b"X-Swap-Model: theirs\r\nContent-Length: 0\r\n\r\n")

    manner = Manner(
        extra=((b"X-Swap-Model", b"a"),),
        request_extra=((b"Authorization", b"Bearer peer"),),
        request_without=frozenset({b"authorization"}),
    )
    async with site(script, plainly(manner)) as wire:
        await wire.get("/x", "Authorization: Bearer mine")
        _, fields = await wire.head()
    assert [value for name, value in fields if name == "X-Swap-Model"] == ["a"]
    assert b"mine" not in seen
    assert b"\r\nAuthorization: Bearer peer\r\n" in seen


# Time ---------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [Limits(head=0.1), Limits(silence=0.1)])
async def test_an_upstream_that_says_nothing_is_given_up(limits: Limits) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    async with site(script, plainly(Manner(limits=limits))) as wire:
        await wire.get("/x")
        line, fields = await wire.head()
        answer = await wire.json(fields)
    assert line == "HTTP/1.1 504 Gateway Timeout"
    assert answer["error"]["message"].startswith("the upstream of a did not answer: ")
    assert "0.1 s" in answer["error"]["message"]


async def test_an_upstream_that_falls_silent_breaks_off() -> None:
    answer = OK + b"Content-Length: 3\r\n\r\na"
    async with site(answering(answer), plainly(Manner(limits=Limits(head=0.05, silence=0.1)))) as wire:
        await wire.get("/x")
        await wire.head()
        # The limit for the head is over and does not count any more.
        assert await wire.rest() == b"a"


async def test_silence_can_be_excused() -> None:
    gate = asyncio.Event()
    asked = 0

    def excuse() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            gate.set()
        return True

    script = answering(OK + b"Content-Length: 2\r\n\r\na", b"b", gate=gate)
    async with site(script, plainly(Manner(limits=Limits(silence=0.02, excuse=excuse)))) as wire:
        await wire.get("/x", "Connection: close")
        await wire.head()
        assert await wire.rest() == b"ab"
    assert asked >= 3


# Draining -----------------------------------------------------------------------


@pytest.mark.parametrize("drain", [True, False])
async def test_an_upstream_may_finish_for_nobody(*, drain: bool) -> None:
    gate = asyncio.Event()
    tap = Listener()
    script = answering(OK + b"Content-Length: 2\r\n\r\na", b"b", gate=gate)
    async with site(script, plainly(Manner(tap=tap, drain=drain))) as wire:
        await wire.get("/x")
        await wire.head()
        wire.hang_up()
        if not drain:
            await tap.ended.wait()
        gate.set()
        await tap.ended.wait()
    assert tap.heard == [(200, None), b"a", b"b", True] if drain else [(200, None), b"a", False]


async def test_an_answer_that_has_not_begun_is_drained_too() -> None:
    asked, gate = asyncio.Event(), asyncio.Event()
    tap = Listener()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await gate.wait()
        writer.write(OK + b"Content-Length: 2\r\n\r\nab")

    async with site(script, plainly(Manner(tap=tap, drain=True))) as wire:
        await wire.get("/x")
        await asked.wait()
        wire.hang_up()
        # The server has seen it once its connection is gone.
        await wire.rest()
        gate.set()
        await tap.ended.wait()
    assert tap.heard == [(200, None), b"ab", True]


# After a start ------------------------------------------------------------------


def after_a_start(got: list[Unfit | None]) -> Handle:
    async def handle(request: web.Request, lease: Lease, upstreams: Upstreams) -> web.StreamResponse:
        started = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await started.prepare(request)
        await started.write(b": waiting\n\n")
        async with received(request, Bodies(1 << 20)) as body:
            unfit = await forward_into(started, request, lease, upstreams, target="/", body=body)
        got.append(unfit)
        if unfit is not None:
            await started.write(b"event: error\n\n")
        await started.write_eof()
        return started

    return handle


@pytest.mark.parametrize(
    "answer",
    [
        EVENTS + b"4\r\na\n\nb\r\n2\r\n\n\n\r\n0\r\n\r\n",
        OK + b"content-type: Text/Event-Stream; charset=utf-8\r\nContent-Length: 6\r\n\r\na\n\nb\n\n",
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_events_follow_what_was_sent_before(answer: bytes, version: str) -> None:
    got: list[Unfit | None] = []
    async with site(answering(answer), after_a_start(got)) as wire:
        await wire.get("/x", version=version)
        await wire.head()
        content = b"".join(await wire.chunks()) if version == "1.1" else await wire.rest()
    assert content == b": waiting\n\na\n\nb\n\n"
    assert got == [None]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Type: text/event-stream\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n",
    ],
)
async def test_what_is_no_stream_of_events_is_handed_back(head: bytes) -> None:
    got: list[Unfit | None] = []
    large = b"x" * 1_000_000
    answer = head + b"Content-Length: %d\r\n\r\n" % len(large) + large
    async with site(answering(answer), after_a_start(got)) as wire:
        await wire.get("/x")
        await wire.head()
        assert b"".join(await wire.chunks()) == b": waiting\n\nevent: error\n\n"
    (unfit,) = got
    assert unfit is not None
    assert unfit.head.status == int(head[9:12])
    assert unfit.content == large[:65536]


async def test_events_that_break_off_break_the_started_answer_off() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(EVENTS + b"1\r\na\r\n")

    async with site(script, after_a_start([])) as wire:
        await wire.get("/x")
        await wire.head()
        assert await wire.chunk() == b": waiting\n\n"
        assert b"0\r\n\r\n" not in await wire.rest()


# Upgrading ----------------------------------------------------------------------


class Echo:
    """Notes what comes on a connection that has switched."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.changed = anyio.Event()

    def connected(self, connection: object) -> None:
        raise AssertionError(connection)

    def received(self, data: bytes) -> None:
        self.came += data
        self.changed.set()

    def lost(self, error: Exception | None) -> None:
        self.came += f"<end {error}>".encode()
        self.changed.set()


async def test_a_switched_connection_is_the_callers() -> None:
    seen = b""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello")
        assert await reader.readexactly(4) == b"ping"
        writer.write(b"pong")

    echo = Echo()

    async def handle(request: web.Request, lease: Lease, upstreams: Upstreams) -> web.StreamResponse:
        switched = await forward_upgrade(request, lease, upstreams, target="/ws")
        assert isinstance(switched, Switched)
        assert switched.head.get(b"upgrade") == b"websocket"
        assert switched.early == b"hello"
        connection = switched.connection
        connection.taker = echo
        connection.transport.resume_reading()
        connection.transport.write(b"ping")
        while b"<end None>" not in echo.came:
            await echo.changed.wait()
            echo.changed = anyio.Event()
        return web.Response(text="switched")

    async with site(script, handle) as wire:
        await wire.get("/x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
        line, _ = await wire.head()
    assert line == "HTTP/1.1 200 OK"
    assert bytes(echo.came) == b"pong<end None>"
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in seen
    assert b"\r\nSec-WebSocket-Key: k\r\n" in seen


async def test_an_upstream_need_not_switch() -> None:
    async def handle(request: web.Request, lease: Lease, upstreams: Upstreams) -> web.StreamResponse:
        response = await forward_upgrade(request, lease, upstreams, target="/ws")
        assert isinstance(response, web.StreamResponse)
        return response

    async with site(answering(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), handle) as wire:
        await wire.get("/x", "Connection: Upgrade", "Upgrade: websocket")
        line, _ = await wire.head()
        assert await wire.reader.readexactly(2) == b"no"
    assert line == "HTTP/1.1 403 No"


# Connections --------------------------------------------------------------------


async def test_who_says_more_than_the_answer_is_not_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """What follows an answer would be taken for the next one."""
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write((OK + b"Content-Length: 1\r\n\r\na") * 2)
        await reader.read()

    async with site(script, plainly(Manner())) as wire:
        for _ in range(2):
            await wire.get("/x")
            await wire.head()
            assert await wire.reader.readexactly(1) == b"a"
    assert connections == 2


async def test_who_speaks_unasked_is_not_asked_again() -> None:
    connections = 0
    late = asyncio.Event()
    ended = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_request(reader)
        writer.write(OK + b"Content-Length: 1\r\n\r\na")
        if connections == 1:
            await late.wait()
            writer.write(OK + b"Content-Length: 1\r\n\r\nb")
            await reader.read()
            ended.set()

    async with site(script, plainly(Manner())) as wire:
        for _ in range(2):
            await wire.get("/x")
            await wire.head()
            assert await wire.reader.readexactly(1) == b"a"
            late.set()
            await ended.wait()
    assert connections == 2


async def test_connections_serve_again_and_again() -> None:
    connections = 0
    serve = answering(OK + b"Content-Length: 1\r\n\r\na")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await serve(reader, writer)

    async with site(script, plainly(Manner())) as wire:
        for _ in range(5):
            await wire.get("/x")
            await wire.head()
            assert await wire.reader.readexactly(1) == b"a"
    assert connections == 1


@pytest.mark.parametrize("trusted", [True, False])
async def test_an_upstream_behind_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    authority = trustme.CA()
    if trusted:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    authorities.cache_clear()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    serve = answering(OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000)
    lines = []
    async with scripted(serve, tls=context) as url, site(serve, plainly(Manner()), url=url) as wire:
        for _ in range(2):
            await wire.get("/x")
            line, fields = await wire.head()
            lines.append(line)
            if trusted:
                assert await wire.reader.readexactly(300_000) == b"x" * 300_000
            else:
                message = (await wire.json(fields))["error"]["message"]
                assert message.startswith("the upstream of a did not answer: Cannot connect to localhost:")
    authorities.cache_clear()
    assert lines == ["HTTP/1.1 200 OK" if trusted else "HTTP/1.1 502 Bad Gateway"] * 2
