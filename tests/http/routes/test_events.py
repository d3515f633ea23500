"""Does a follower hear of everything that happens, in llama-swap's words, and within bounds?"""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from swapcore_http.config import CapabilitiesConfig, PeerConfig, ProfileConfig
from swapcore_http.output import Written, upstream_logger
from swapcore_http.routes import events
from swapcore_http.routes.events import NEWS
from tests.http.processes import until
from tests.http.serving import Served, Wire, fake, serving
from tests.http.waiting.streams import late

pytestmark = pytest.mark.anyio

Message = tuple[str, Any]


class Follower:
    """One who reads `/api/events`."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._buffer = b""

    async def frame(self) -> bytes:
        while b"\n\n" not in self._buffer:
            chunk = await self.wire.chunk()
            assert chunk, "the stream has ended"
            self._buffer += chunk
        frame, _, self._buffer = self._buffer.partition(b"\n\n")
        return frame

    async def next(self) -> Message:
        """Read one message; its data is JSON in a text."""
        frame = await self.frame()
        while frame == b":":
            frame = await self.frame()
        assert frame.startswith(b"event:message\ndata:{")
        message = json.loads(frame.removeprefix(b"event:message\ndata:"))
        assert set(message) == {"type", "data"}
        assert isinstance(message["data"], str)
        return message["type"], json.loads(message["data"])

    async def until(self, kind: str, **data: Any) -> Any:
        """Read on to a message of that type whose data has that."""
        while True:
            found, told = await self.next()
            if found == kind and (not data or data.items() <= told.items()):
                return told

    async def opening(self) -> list[Message]:
        return [await self.next() for _ in range(6)]


@asynccontextmanager
async def following(served: Served) -> AsyncIterator[Follower]:
    async with Wire.to(served) as wire:
        await wire.get("/api/events")
        line, fields = await wire.head()
        assert line == "HTTP/1.1 200 OK"
        head = dict(fields)
        assert head["Content-Type"] == "text/event-stream"
        assert head["Cache-Control"] == "no-cache"
        assert head["X-Content-Type-Options"] == "nosniff"
        assert head["X-Accel-Buffering"] == "no"
        yield Follower(wire)


async def test_the_opening() -> None:
    able = CapabilitiesConfig(inputs=("text", "image"), outputs=("text",), context=4096)
    models = (
        fake("b", name="The b", description="It is b.", unlisted=True, aliases=("c",)),
        fake("a", capabilities=able),
    )
    peers = {"far": PeerConfig("far", proxy="http://127.0.0.1:9", models=("x",))}
    async with (
        serving(*models, peers=peers, session_ids=("X-Mine",)) as served,
        following(served) as follower,
    ):
        told = await follower.opening()
    assert [kind for kind, _ in told] == [
        "logData",
        "logData",
        "modelStatus",
        "uiConfig",
        "profileChanged",
        "inflight",
    ]
    common = {"state": "stopped", "peerID": ""}
    assert told[0][1]["source"] == "proxy"
    assert told[1][1] == {"source": "upstream", "data": ""}
    assert told[2][1] == [
        {
            "id": "a",
            "name": "",
            "description": "",
            "unlisted": False,
            "capabilities": {"vision": True},
            "context_length": 4096,
            **common,
        },
        {
            "id": "b",
            "name": "The b",
            "description": "It is b.",
            "unlisted": True,
            "aliases": ["c"],
            **common,
        },
        {"id": "far/x", "name": "", "description": "", "unlisted": False, "state": "", "peerID": "far"},
    ]
    assert told[3][1] == {"activity": {"session_id": ["X-Mine"]}}
    assert told[4][1] == {"active": None}
    # llama-swap leaves `requests` out where there are none.
    assert told[5][1] == {"operation": "snapshot"}


async def test_states_requests_and_activity_of_one_request() -> None:
    async with serving(fake("a")) as served, following(served) as follower:
        await follower.opening()
        asked = asyncio.ensure_future(served.chat("a", gate="g"))
        seen: list[Message] = []
        states: list[str] = []
        # Requests are told of a little later than models.
        while states[-1:] != ["ready"] or "inflight" not in dict(seen):
            seen.append(await follower.next())
            if seen[-1][0] == "modelStatus":
                states.append(seen[-1][1][0]["state"])
        assert states == ["starting", "ready"]
        (added,) = [data for kind, data in seen if kind == "inflight"]
        assert added["operation"] == "upsert"
        row = added["request"]
        assert row["id"] == "1"
        assert row["model"] == "a"
        assert row["req_path"] == "/v1/chat/completions"
        assert row["method"] == "POST"
        assert row["remote_ip"] == "127.0.0.1"
        assert row["resp_bytes"] == 0
        assert row["resp_headers"] == {}
        assert row["req_headers"]["Content-Type"] == "application/json"
        assert row["elapsed_ms"] >= 0
        await served.open_gate("a", "g")
        assert (await asked)[0] == 200
        # Two threads tell of its end, in whichever order.
        ended: dict[str, Any] = {}
        while ended.keys() < {"inflight", "activity"}:
            kind, data = await follower.next()
            if kind == "activity" or (kind == "inflight" and data["operation"] == "remove"):
                ended[kind] = data
        assert ended == {"inflight": {"operation": "remove", "id": "1"}, "activity": {"id": 1}}
        await served.ask("GET", "/unload")
        told: list[str] = []
        while told[-1:] != ["stopped"]:
            told.append((await follower.until("modelStatus"))[0]["state"])
        assert told[-2:] == ["stopping", "stopped"]


async def test_how_far_answers_have_come() -> None:
    async with serving(fake("a")) as served, following(served) as follower:
        await follower.opening()
        body = {"model": "a", "stream": True, "fake": {"gate": "g", "chunks": 2}}
        asked = asyncio.ensure_future(served.ask("POST", "/v1/chat/completions", body))
        while True:
            row = (await follower.until("inflight", operation="upsert"))["request"]
            if row["resp_headers"]:
                break
        assert row["resp_headers"]["X-Model"] == "a"
        assert row["resp_bytes"] == 0
        await served.open_gate("a", "g")
        while not row["resp_bytes"]:
            row = (await follower.until("inflight", operation="upsert"))["request"]
        await served.open_gate("a", "g")
        await asked
        async with following(served) as late:
            assert (await late.opening())[-1] == ("inflight", {"operation": "snapshot"})


async def test_secrets_of_requests_are_not_told() -> None:
    async with serving(fake("a")) as served:
        headers = {"Authorization": "Bearer sk-1", "X-Api-Key": "sk-2", "Cookie": "sk-3"}
        body = {"model": "a", "fake": {"gate": "g"}}
        asked = asyncio.ensure_future(served.ask("POST", "/v1/chat/completions", body, headers=headers))
        await served.until_leased("a")
        _, _, found = await served.ask("GET", "/api/inflight")
        async with following(served) as follower:
            told = await follower.opening()
        await served.open_gate("a", "g")
        await asked
    assert "sk-" not in json.dumps([found, told])
    assert found["requests"][0]["req_headers"]["Authorization"] == "[REDACTED]"


async def test_profiles_and_configurations() -> None:
    profiles = {"night": ProfileConfig("night", pins={"x": "a"})}
    async with serving(fake("a"), profiles=profiles) as served, following(served) as follower:
        await follower.opening()
        await served.ask("PUT", "/api/profiles/active", {"name": "night"})
        assert await follower.until("profileChanged") == {"active": "night"}
        assert [row["id"] for row in await follower.until("modelStatus")] == ["a"]
        await served.replace(fake("a"), fake("b"), profiles=profiles, session_ids=("X-New",))
        assert [row["id"] for row in await follower.until("modelStatus")] == ["a", "b"]
        assert await follower.until("uiConfig") == {"activity": {"session_id": ["X-New"]}}
        # It survives the reload.
        assert await follower.until("profileChanged") == {"active": "night"}


async def test_the_log_comes_once_and_whole() -> None:
    async with serving(fake("a")) as served:
        upstream_logger.debug("%s %s", "a", Written("before ☺\n".encode()))
        async with following(served) as follower:
            opening = await follower.opening()
            assert opening[1][1] == {"source": "upstream", "data": "before ☺\n"}
            smile = "after ☺\n".encode()
            # A letter that comes in two parts stays whole.
            upstream_logger.debug("%s %s", "a", Written(smile[:8]))
            upstream_logger.debug("%s %s", "a", Written(smile[8:]))
            told = ""
            while len(told) < len("after ☺\n"):
                told += (await follower.until("logData", source="upstream"))["data"]
            assert told == "after ☺\n"


async def test_many_changes_are_told_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapcore_http.news.news.MOST_CHANGES", 5)
    async with late(keep_alive_after=0) as world, following(world.served) as follower:
        await follower.opening()
        asked = [asyncio.ensure_future(world.served.chat("a")) for _ in range(20)]
        told = await follower.until("inflight", operation="snapshot")
        assert len(told["requests"]) > 5
        world.gate.set()
        await asyncio.gather(*asked)
        # In the end what was told comes to the same as what is.
        known = {row["id"] for row in told["requests"]}
        while known:
            told = await follower.until("inflight")
            match told["operation"]:
                case "snapshot":
                    known = {row["id"] for row in told.get("requests", ())}
                case "upsert":
                    known.add(told["request"]["id"])
                case _:
                    known.discard(told["id"])


async def test_the_end_of_the_server_ends_the_stream() -> None:
    async with serving(fake("a")) as served, following(served) as follower:
        await follower.opening()
        served.runner.app[NEWS].followers.end()
        assert await follower.wire.chunk() == b""


async def test_head_is_the_head_alone() -> None:
    async with serving(fake("a")) as served:
        status, head, _ = await served.ask("HEAD", "/api/events")
    assert (status, head["Content-Type"]) == (200, "text/event-stream")


CLIENTS = 500

MOST = 200 * 1024 * 1024
"""Bytes that server and clients, in one process, may need while more is said than anybody reads."""


async def test_clients_that_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the clients read, half do not; both are served as long as they take anything."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4 * CLIENTS)), hard))
    try:
        async with serving(fake("a")) as served:
            for site in served.runner.sites:
                for listener in site._server.sockets:  # type: ignore[union-attr] # It has some.
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
            before = psutil.Process().memory_info().rss
            writers, heard = [], asyncio.Semaphore(0)
            tasks = []
            for number in range(CLIENTS):
                sock = socket.socket()
                if number % 2:
                    # The system takes little for those who do not read.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect(("127.0.0.1", served.port))
                reader, writer = await asyncio.open_connection(sock=sock)
                writer.write(b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n")
                writers.append(writer)
                if number % 2:
                    writer.transport.pause_reading()  # type: ignore[attr-defined] # That of a socket.
                else:
                    tasks.append(asyncio.ensure_future(_hear(reader, heard)))
            news = served.runner.app[NEWS]
            await until(lambda: len(news.followers) == CLIENTS)
            text = b"x" * 1023 + b"\n"
            for _ in range(80):
                for _ in range(16):
                    upstream_logger.debug("%s %s", "a", Written(text))
                await asyncio.sleep(0.02)
            assert (await served.chat("a"))[0] == 200
            for _ in tasks:
                await heard.acquire()
            assert psutil.Process().memory_info().rss - before < MOST
            # It is a flood to those who do not read: what waited for them is gone.
            assert sum(follower._lost for follower in news.followers._all) > CLIENTS / 3
            monkeypatch.setattr(events, "PATIENCE", 0.1)
            for writer in writers:
                writer.close()
            await until(lambda: len(news.followers) == 0)
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _hear(reader: asyncio.StreamReader, heard: asyncio.Semaphore) -> None:
    """Read all, and say so once the model has been seen ready."""
    said = False
    tail = b""
    while data := await reader.read(1 << 16):
        tail = (tail + data)[-(1 << 17) :]
        if not said and b'\\"state\\": \\"ready\\"' in tail:
            said = True
            heard.release()


async def test_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PATIENCE", 0.2)
    async with serving(fake("a")) as served:
        news = served.runner.app[NEWS]
        async with Wire.to(served) as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined] # That of a socket.
            await wire.get("/api/events")
            await until(lambda: len(news.followers) == 1)
            while len(news.followers):
                upstream_logger.debug("%s %s", "a", Written(b"x" * 60_000 + b"\n"))
                await asyncio.sleep(0.01)
