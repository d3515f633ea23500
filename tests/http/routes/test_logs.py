"""Can the log be read along, by whoever and however slowly?"""

import logging

import anyio
import pytest

from swapcore_http import logstreams
from swapcore_http.routes.context import CONTEXT
from tests.http.serving import Served, Wire, fake, serving

pytestmark = pytest.mark.anyio

logger = logging.getLogger("swapcore_http")


async def until_read(wire: Wire, text: bytes) -> bytes:
    """Read chunks up to one with that text."""
    read = b""
    while text not in read:
        piece = await wire.chunk()
        assert piece, read
        read += piece
    return read


def streams(served: Served) -> logstreams.LogStreams:
    return served.runner.app[CONTEXT].logs


async def test_history_of_the_combined_log() -> None:
    async with serving(fake("a"), log_time_format="") as served:
        logger.warning("hello")
        status, fields, body = await served.ask("GET", "/logs", headers={"Accept": "*/*"})
        assert (status, fields["Content-Type"]) == (200, "text/plain")
        assert b"[WARN] hello\n" in body
        status, fields, _ = await served.ask("GET", "/logs", headers={"Accept": "text/html,*/*"})
        assert (status, fields["Location"]) == (302, "/ui")


async def test_streams_start_with_the_past_and_go_on() -> None:
    async with serving(fake("a")) as served:
        logger.warning("before")
        for path in ("/logs/stream", "/logs/stream/proxy"):
            async with Wire.to(served) as wire:
                await wire.get(path)
                line, fields = await wire.head()
                assert line == "HTTP/1.1 200 OK"
                assert (
                    dict(fields).items()
                    >= {
                        "Content-Type": "text/plain",
                        "X-Accel-Buffering": "no",
                        "X-Content-Type-Options": "nosniff",
                    }.items()
                )
                assert b"[WARN] before\n" in await wire.chunk()
                logger.warning("after")
                assert await wire.chunk() == b"[WARN] after\n"


@pytest.mark.parametrize("query", ["?no-history", "?no-history=", "?x=1&no-history=true"])
async def test_without_the_past(query: str) -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        logger.warning("before")
        await wire.get(f"/logs/stream{query}")
        await wire.head()
        logger.warning("after")
        assert await wire.chunk() == b"[WARN] after\n"


async def test_streams_of_upstreams() -> None:
    models = (
        fake("org/a", aliases=("alias",), flags={"print": "I am a"}),
        fake("b", flags={"print": "I am b"}),
    )
    async with serving(*models) as served:
        for model in ("org/a", "b"):
            await served.chat(model)
        for path in ("org/a", "org%2Fa", "alias", "org/a/"):
            async with Wire.to(served) as wire:
                await wire.get(f"/logs/stream/{path}")
                await wire.head()
                read = await until_read(wire, b"I am a")
                assert b"I am b" not in read
        async with Wire.to(served) as wire:
            await wire.get("/logs/stream/upstream")
            await wire.head()
            read = await until_read(wire, b"I am b")
            assert b"I am a" in read
            assert b"[INFO]" not in read


@pytest.mark.parametrize("name", ["nobody", "nobody/x", "proxyx"])
async def test_unknown_stream(name: str) -> None:
    async with serving(fake("a")) as served:
        assert (await served.ask("GET", f"/logs/stream/{name}"))[0] == 400


async def test_head_does_not_wait_for_the_end() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.get("/logs/stream", method="HEAD")
        assert (await wire.head())[0] == "HTTP/1.1 200 OK"
        await wire.get("/health")
        assert (await wire.head())[0] == "HTTP/1.1 200 OK"


async def test_readers_are_bounded_and_leave_room_when_they_hang_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logstreams, "MOST_READERS", 2)
    async with serving(fake("a")) as served:
        async with Wire.to(served) as one, Wire.to(served) as other:
            for wire in (one, other):
                await wire.get("/logs/stream")
                await wire.head()
            status, _, answer = await served.ask("GET", "/logs/stream")
            assert status == 503
            assert "2 read the log already" in answer["error"]["message"]
        with anyio.fail_after(60):
            while streams(served)._readers:  # noqa: ASYNC110 - nobody says when aiohttp has noticed.
                await anyio.sleep(0.005)


async def test_a_slow_reader_is_told_what_it_misses() -> None:
    async with serving(fake("a"), log_to_stdout="upstream") as served, Wire.to(served) as wire:
        await wire.get("/logs/stream?no-history")
        await wire.head()
        line = b"x" * 65535 + b"\n"
        # More than the systems' buffers and ours take together; nobody reads meanwhile.
        for _ in range(400):
            streams(served).of("a").write(line)
            await anyio.lowlevel.checkpoint()
        (reader,) = streams(served)._readers
        assert reader._missed
        assert reader._size <= logstreams.AHEAD
        assert b"bytes are missing here: you read too slowly" in await until_read(wire, b"are missing here")
        streams(served).of("a").write(b"the end")
        await until_read(wire, b"the end")


async def test_streams_end_with_the_server() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.get("/logs/stream?no-history")
        await wire.head()
        with anyio.fail_after(60):
            await served.runner.cleanup()
        assert (await wire.rest()).endswith(b"0\r\n\r\n")


async def test_what_a_removed_model_wrote_is_forgotten_and_the_rest_kept() -> None:
    async with serving(fake("a", flags={"print": "of a"}), fake("b", flags={"print": "of b"})) as served:
        for model in ("a", "b"):
            status, _, _ = await served.chat(model)
            assert status == 200
        assert b"of a" in streams(served).of("a").history
        await served.replace(fake("b", flags={"print": "of b"}))
        assert streams(served).of("a").history == b""
        assert b"of b" in streams(served).of("b").history
