"""Tests of `swapcore_http.conversation`: what aiohttp does not document is what it is taken for.

They run on the loops that there are, for both have their own transports.
"""

import ast
import asyncio
import importlib.util
import inspect
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest
from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.streams import StreamReader

from swapcore_http import conversation as module
from swapcore_http.config import ModelConfig
from swapcore_http.conversation import Conversation, Server, content_of
from swapcore_http.routes.context import CONTEXT
from tests.http.bothways import (
    Upstream,
    at_rest,
    conversation_of,
    post,
    read_message,
    resting,
    watched,
)
from tests.http.processes import until
from tests.http.serving import Served, Wire, answering_at, scripted, serving, unrun

LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend",
        [("asyncio", {"use_uvloop": loop == "uvloop"}) for loop in LOOPS],
        ids=LOOPS,
        scope="session",
    ),
]

A = {"model": "a"}
HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"
DEADLINE = 30.0

Answer = Callable[[Upstream, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


async def echo(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the request's body."""
    _, _, body = upstream.asked[-1].partition(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@asynccontextmanager
async def asking(
    answer: Answer | None = echo, *, keepalive: float | None = None, model: ModelConfig | None = None
) -> AsyncIterator[tuple[Served, Upstream, list[bool]]]:
    """Run a server whose model is up; yield what its upstream is asked, and what the fast path has taken."""
    upstream = Upstream(answer=echo)
    async with (
        watched() as taken,
        scripted(upstream.talk) as url,
        serving(model or unrun("a"), launch=answering_at(url)) as served,
    ):
        server = served.runner.server
        assert isinstance(server, Server)
        async with resting(served) as wire:
            await wire.send(post(A))
            assert b" 200 " in await read_message(wire.reader)
        await served.until_idle()
        if keepalive is not None:
            server._kwargs["keepalive_timeout"] = keepalive
        upstream.answer = answer
        del taken[:], upstream.asked[:]
        yield served, upstream, taken
        await until(lambda: len(served.runner.app[CONTEXT].inflight) == 0)
        assert not served.driver._leases


async def body_of(wire: Wire) -> Any:
    """Read an answer, which is 200, and return what it says."""
    answer = await read_message(wire.reader)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return json.loads(answer.partition(b"\r\n\r\n")[2])


# What is not documented ---------------------------------------------------------


def touched() -> set[str]:
    """Find the attributes of aiohttp's that begin with an underscore and are used."""
    tree = ast.parse(inspect.getsource(module))
    (kind,) = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == "Conversation"]
    own = {each.name for each in kind.body if isinstance(each, ast.FunctionDef)} | set(Conversation.__slots__)
    named = {
        each.attr
        for each in ast.walk(kind)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self"
    }
    return {name for name in named - own if name.startswith("_") and not name.startswith("__")}


async def test_what_is_touched_is_told_and_there() -> None:
    there = {name for kind in web.RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    there |= {name for name, _ in inspect.getmembers(web.RequestHandler, inspect.isfunction)}
    assert touched() <= there
    told = Conversation.__doc__ or ""
    assert {name for name in touched() if f"`{name}`" not in told} <= {"_loop", "_process_keepalive"}


async def test_an_idle_connection_waits_with_a_future_and_a_busy_one_has_none() -> None:
    if "uvloop" in type(asyncio.get_running_loop()).__module__:
        pytest.skip("aiohttp has the same attributes on every loop")
    gate, begun = asyncio.Event(), asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        await gate.wait()
        return web.Response()

    server = web.Server(handle, keepalive_timeout=77.0, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname()[:2])
    with anyio.fail_after(DEADLINE):
        await until(lambda: server.connections and server.connections[0]._waiter is not None)
        (handler,) = server.connections
        waiter: Any = handler._waiter
        assert isinstance(waiter, asyncio.Future)
        assert not waiter.done()
        assert isinstance(handler._messages, deque)
        assert (handler._request_in_progress, handler._handler_waiter) == (False, None)
        assert (handler._close, handler._force_close, handler._logging_enabled) == (False, False, False)
        assert handler._keepalive_timeout == 77.0
        handle_of_timer: Any = handler._keepalive_handle
        assert handle_of_timer.when() == handler._next_keepalive_close_time
        assert handler.peername[:2] == writer.get_extra_info("sockname")  # type: ignore[index]
        writer.write(HEALTH)
        await begun.wait()
        busy: Any = handler
        assert waiter.done()
        assert busy._waiter is None
        assert busy._request_in_progress
        assert not handler.writing_paused
        # It counts those that were read and not taken, and stops reading at a bound: see `keeps_back`.
        writer.write(HEALTH * 2)
        await until(lambda: len(handler._messages) == 2)
        message, payload = handler._messages[0]
        assert (message.method, message.path, message.should_close) == ("GET", "/health", False)  # type: ignore[union-attr]
        assert payload is EMPTY_PAYLOAD
        shutting = asyncio.ensure_future(handler.shutdown(5.0))
        await until(lambda: handler._handler_waiter is not None)
        gate.set()
        await shutting
        assert handler._force_close
        assert await reader.read() != b""
    writer.close()
    listening.close()


async def test_the_parser_stops_at_a_bound_and_goes_on_when_requests_are_taken() -> None:
    """If it did so otherwise, requests that come in one piece could be left there for ever."""
    from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE as BOUND  # noqa: PLC0415

    handler = web.Server(None)()  # type: ignore[arg-type]
    parser: Any = handler._parser
    messages, upgraded, tail = parser.feed_data(HEALTH * (BOUND + 3))
    assert (len(messages), upgraded, tail) == (BOUND, False, b"")
    for _ in range(BOUND):
        parser.message_consumed()
    assert len(parser.feed_data(b"")[0]) == 3


async def test_a_body_that_nobody_has_read_is_looked_at_and_left() -> None:
    protocol: Any = web.Server(None)()  # type: ignore[arg-type]
    payload = StreamReader(protocol, 2**16, loop=asyncio.get_running_loop())
    for piece in (b"ab", b"c", b"de"):
        payload.feed_data(piece)
    payload.feed_eof()
    assert payload.is_eof()
    assert payload.total_bytes == 5
    assert content_of(payload) == b"abcde"
    assert await payload.read() == b"abcde"
    assert (EMPTY_PAYLOAD.is_eof(), EMPTY_PAYLOAD.total_bytes) == (True, 0)


# What is read ------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 16, 31, 32, 33, 40, 70])
async def test_requests_in_one_piece_are_answered_in_order(count: int) -> None:
    async with asking() as (served, _, _), resting(served) as wire:
        numbered = [post({"model": "a", "n": number}) for number in range(count)]
        await wire.send(b"".join(numbered))
        for number in range(count):
            assert (await body_of(wire))["n"] == number
        await wire.send(numbered[0])
        assert (await body_of(wire))["n"] == 0


@pytest.mark.parametrize("count", [1, 30, 31, 32, 33, 40, 70])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("bodies", [False, True])
async def test_requests_behind_one_that_is_on_its_way_are_answered_after_it(
    count: int,
    split: bool,  # noqa: FBT001
    bodies: bool,  # noqa: FBT001
) -> None:
    gate = asyncio.Event()

    async def answer(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await echo(upstream, reader, writer)

    async with asking(answer) as (served, _, taken), resting(served) as wire:
        first, *others = [post({"model": "a", "n": number}) for number in range(count + 1)]
        if not bodies:
            others = [HEALTH] * count
        if split:
            # They come with the second half of its body.
            await wire.send(first[:-5])
            await until(partial(is_kept_back, served, wire))
            await wire.send(first[-5:] + b"".join(others))
        else:
            await wire.send(first)
            await served.until_leased("a")
            await wire.send(b"".join(others))
        await served.until_leased("a")
        assert taken == [True]
        gate.set()
        assert (await body_of(wire))["n"] == 0
        for number in range(1, count + 1):
            said = await read_message(wire.reader)
            assert not bodies or said.endswith(b'"n": %d}' % number)
        conversation = await at_rest(served, wire)
        assert not conversation._messages
        await wire.send(post({"model": "a", "n": "last"}))
        assert (await body_of(wire))["n"] == "last"
        assert taken[-1]


def is_kept_back(served: Served, wire: Wire) -> bool:
    """Tell whether the first half of a request has come."""
    found = conversation_of(served, wire)
    return found is not None and found.busy and found.passing is None


async def test_requests_of_both_kinds_are_answered_in_order() -> None:
    async with asking() as (served, _, taken), resting(served) as wire:
        slow = post({"model": "a", "n": "slow"}, path="/upstream/a/x")
        chunked = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        chunked += b'Transfer-Encoding: chunked\r\n\r\n1c\r\n{"model": "a", "n": "chunk"}\r\n0\r\n\r\n'
        pieces = [
            post({"model": "a", "n": 1}),
            slow + post({"model": "a", "n": 2}),
            chunked,
            post({"model": "a", "n": 3}) + slow + post({"model": "a", "n": 4}) + HEALTH,
            post({"model": "a", "n": 5}),
        ]
        for piece in pieces:
            await wire.send(piece)
        said = []
        for _ in range(9):
            answer = (await read_message(wire.reader)).partition(b"\r\n\r\n")[2]
            said.append(json.loads(answer)["n"] if answer.startswith(b"{") and b'"n"' in answer else "health")
        assert said == [1, "slow", 2, "chunk", 3, "slow", 4, "health", 5]
        await at_rest(served, wire)
        await wire.send(post(A))
        await body_of(wire)
        assert taken[-1]


async def test_a_request_may_come_in_two_pieces_split_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    receive = Conversation.data_received

    def note(self: Conversation, data: bytes) -> None:
        receive(self, data)
        read.append(len(data))

    monkeypatch.setattr(Conversation, "data_received", note)
    async with asking() as (served, _, taken), resting(served) as wire:
        request = post({"model": "a", "n": 7}, "X-A: 1")
        for place in range(1, len(request)):
            conversation = await at_rest(served, wire)
            assert conversation.transport is not None
            read.clear()
            await wire.send(request[:place])
            await until(lambda: sum(read) == place)  # noqa: B023 - it is awaited here.
            await wire.send(request[place:])
            assert (await body_of(wire))["n"] == 7
        assert taken == [True] * (len(request) - 1)
        for piece in range(len(request)):
            await wire.send(request[piece : piece + 1])
        assert (await body_of(wire))["n"] == 7


GARBAGE = b"\x00\x01 no HTTP\r\n\r\n"


@pytest.mark.parametrize("together", [False, True])
async def test_what_cannot_be_read_is_told_after_the_answer_before_it(together: bool) -> None:  # noqa: FBT001
    gate = asyncio.Event()

    async def answer(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        await echo(upstream, reader, writer)

    async with asking(answer) as (served, _, taken), resting(served) as wire:
        request = post({"model": "a", "n": 1})
        await wire.send(request[:-3])
        await until(partial(is_kept_back, served, wire))
        if together:
            await wire.send(request[-3:] + GARBAGE)
        else:
            await wire.send(request[-3:])
            await served.until_leased("a")
            await wire.send(GARBAGE)
        await served.until_leased("a")
        gate.set()
        assert (await body_of(wire))["n"] == 1
        answered = await read_message(wire.reader)
        assert answered.startswith(b"HTTP/1.1 400 ")
        assert "cannot be read as HTTP" in json.loads(answered.partition(b"\r\n\r\n")[2])["error"]["message"]
        assert await wire.rest() == b""
        assert taken == ([] if together else [True])
