"""How do tests ask the same of two servers, one of which answers nothing without a task?

    async with both(unrun("a")) as ways:
        await ways.same(post({"model": "a"}), fast=True)

What comes back, what their upstreams have read, what was recorded and counted
must be the same, and what they took must be given back; else the test fails.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from attrs import define, field

from swapcore_http.config import ModelConfig
from swapcore_http.conversation import Conversation, Server
from swapcore_http.routes.context import CONTEXT, Context
from swapcore_http.routes.fastpath import FastPath
from tests.http.processes import until
from tests.http.serving import Served, Wire, answering_at, scripted, serving

__all__ = ["ANSWER", "PATH", "Both", "Side", "Upstream", "at_rest", "both", "post", "read_message", "watched"]

PATH = "/v1/chat/completions"
JSON = "Content-Type: application/json"

CONTENT = b'{"choices": [{"text": "hi"}], "usage": {"prompt_tokens": 11, "completion_tokens": 22}}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Two: 1\r\nx-two: 2\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(CONTENT), CONTENT)
)

LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
TIMES = re.compile(rb"\r\n(Date|X-Swap-Wait-Ms): [^\r]*")


def post(
    body: object, *fields: str, path: str = PATH, length: str = "Content-Length", kind: str = JSON
) -> bytes:
    """Write a request with a body: JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: test",
        *([kind] if kind else []),
        f"{length}: {len(raw)}",
        *fields,
    ]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + raw


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """Read one request or answer as it comes."""
    whole = await reader.readuntil(b"\r\n\r\n")
    if CHUNKED.search(whole):
        while not whole.endswith(b"\r\n0\r\n\r\n"):
            line = await reader.readuntil(b"\r\n")
            whole += line + await reader.readexactly(int(line, 16) + 2)
    elif length := LENGTH.search(whole):
        whole += await reader.readexactly(int(length[1]))
    return whole


@define(eq=False)
class Upstream:
    """What is asked instead of an inference server."""

    asked: list[bytes] = field(factory=list)
    """All requests as they came."""

    connections: int = 0
    answer: Callable[["Upstream", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]] | None = (
        None
    )
    """Answers one request, and may close the connection; `None` for `ANSWER`."""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while not writer.is_closing():
            try:
                self.asked.append(await read_message(reader))
            except asyncio.IncompleteReadError:
                return
            if self.answer is None:
                writer.write(ANSWER)
            else:
                await self.answer(self, reader, writer)


def conversation_of(served: Served, wire: Wire) -> Conversation | None:
    """Find the server's side of a connection, once it has been accepted."""
    port = wire.writer.get_extra_info("sockname")[1]
    assert served.runner.server is not None
    for each in served.runner.server.connections:
        peer = each.peername
        if isinstance(each, Conversation) and peer is not None and peer[1] == port:
            return each
    return None


async def at_rest(served: Served, wire: Wire) -> Conversation:
    """Wait until aiohttp's task waits for the next request of that connection."""

    def rests() -> bool:
        found = conversation_of(served, wire)
        return found is not None and found._waiter is not None and not found._waiter.done()

    await until(rests)
    found = conversation_of(served, wire)
    assert found is not None
    return found


@asynccontextmanager
async def resting(served: Served) -> AsyncIterator[Wire]:
    """Connect, and wait until a request can be answered without a task."""
    async with Wire.to(served) as wire:
        await at_rest(served, wire)
        yield wire


@define(eq=False)
class Side:
    """One of the two servers."""

    served: Served
    upstream: Upstream

    @property
    def context(self) -> Context:
        return self.served.runner.app[CONTEXT]

    async def exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """Ask on a connection of its own; return the answer, and that to one more question on it."""
        async with resting(self.served) as wire:
            await wire.send(request)
            return await _answer(wire), await _after(wire)

    async def books(self, key: str) -> dict[str, Any]:
        """Return all that is to be seen of what was asked, but for times."""
        await until(lambda: len(self.context.inflight) == 0)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        rows: list[dict[str, Any]] = []
        captures = []
        while True:
            where = f"/api/metrics/activity?limit=100&page={len(rows) // 100 + 1}"
            _, _, activity = await self.served.ask("GET", where, headers=headers)
            rows += activity["data"]
            if len(activity["data"]) < 100:
                break
        for row in rows:
            for name in [name for name in row if name.endswith("_ms")]:
                assert (row.pop(name) or 0) < 50_000
            del row["timestamp"]
            captures.append(await self.served.ask("GET", f"/api/captures/{row['id']}", headers=headers))
        _, _, metrics = await self.served.ask("GET", "/metrics", headers=headers)
        counts = [
            line
            for line in metrics.decode().splitlines()
            if line.startswith("swapcore_") and "_sum{" not in line and "_bucket{" not in line
        ]
        idle = [len(pool.idle) for pool in self.context.upstreams._pools.values()]
        shown = [(status, content) for status, _, content in captures]
        return {"activity": rows, "captures": shown, "metrics": counts, "idle": idle}


async def _answer(wire: Wire) -> bytes:
    try:
        return TIMES.sub(rb"\r\n\1: x", await read_message(wire.reader))
    except (asyncio.IncompleteReadError, ConnectionResetError) as error:
        return b"<broken off after %b>" % TIMES.sub(rb"\r\n\1: x", getattr(error, "partial", b""))


async def _after(wire: Wire) -> bytes:
    try:
        await wire.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    except ConnectionError:
        return b"<closed>"
    return await _answer(wire)


@asynccontextmanager
async def watched() -> AsyncIterator[list[bool]]:
    """Yield what the fast path has said to each request that it was given whole."""
    taken: list[bool] = []
    take = FastPath.take

    def watch(*arguments: Any) -> bool:
        taken.append(take(*arguments))
        return taken[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastPath, "take", watch)
        yield taken


@define(eq=False)
class Both:
    """Two servers that differ in one thing only."""

    fast: Side
    usual: Side
    taken: list[bool]
    """What the fast path of the one said to each request."""

    key: str
    """What shows the books, where there are keys."""

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.fast, self.usual

    async def same(self, request: bytes, *, fast: bool | None) -> bytes:
        """Ask both, and return what both answer.

        Args:
            request: What to ask.
            fast: Whether it is to be answered without a task; `None` if that may be or not.
        """
        del self.taken[:]
        marks = [len(side.upstream.asked) for side in self.sides]
        answers = [await side.exchange(request) for side in self.sides]
        assert answers[0] == answers[1], request
        asked = [side.upstream.asked[mark:] for side, mark in zip(self.sides, marks, strict=True)]
        assert asked[0] == asked[1], request
        if fast is not None:
            assert (True in self.taken) == fast, request
        return answers[0][0]


@asynccontextmanager
async def both(
    *models: ModelConfig, key: str = "", on_loopback: bool = False, **fields: Any
) -> AsyncIterator[Both]:
    """Run two servers of these models, the first of which is up and has an idle connection.

    Args:
        models: The models; no command is run for them.
        key: A key that may do everything, where there are keys.
        on_loopback: See `make_app`.
        fields: Those of `Config`.
    """
    async with AsyncExitStack() as stack:
        taken = await stack.enter_async_context(watched())

        async def side() -> Side:
            upstream = Upstream()
            url = await stack.enter_async_context(scripted(upstream.talk))
            server = serving(*models, launch=answering_at(url), on_loopback=on_loopback, **fields)
            return Side(await stack.enter_async_context(server), upstream)

        ways = Both(await side(), await side(), taken, key)
        server = ways.usual.served.runner.server
        assert isinstance(server, Server)
        server.interceptor = None
        shown = (f"Authorization: Bearer {key}",) if key else ()
        first = post({"model": models[0].id}, *shown).replace(b"Host: test", b"Host: localhost")
        await ways.same(first, fast=False)
        yield ways
        books = [await each.books(ways.key) for each in ways.sides]
        for name, shown_by_fast in books[0].items():
            assert shown_by_fast == books[1][name]
        for each in ways.sides:
            assert len(each.context.inflight) == 0
            assert not each.served.driver._leases
