"""Are the newest bytes kept, and is nobody kept waiting by who reads them?"""

import logging
import os
import threading

import anyio
import pytest
from anyio import to_thread

from swapcore_http import logstreams
from swapcore_http.logstreams import KEPT, LogStream, LogStreams, Reader, TooManyReadersError
from swapcore_http.output import Output, Written, upstream_logger

pytestmark = pytest.mark.anyio


async def read(reader: Reader) -> bytes:
    """Read until the end."""
    with anyio.fail_after(60):
        return b"".join([data async for data in reader.read()])


@pytest.mark.parametrize(
    ("combined", "expected"),
    [("proxy", b"p"), ("upstream", b"uv"), ("both", b"upv"), ("none", b"")],
)
async def test_who_writes_where(combined: str, expected: bytes) -> None:
    streams = LogStreams(combined)
    streams.of("a").write(b"u")
    streams.proxy.write(b"p")
    streams.of("b").write(b"v")
    assert streams.combined.history == expected
    assert (streams.proxy.history, streams.upstream.history) == (b"p", b"uv")
    assert (streams.of("a").history, streams.of("b").history) == (b"u", b"v")


async def test_only_the_newest_is_kept() -> None:
    stream = LogStream()
    for number in range(100_000):
        stream.write(b"%07d\n" % number)
        assert len(stream._kept) <= 2 * KEPT
    assert len(stream.history) == KEPT
    assert stream.history.endswith(b"0099998\n0099999\n")
    stream.write(b"x" * 10 * KEPT)
    assert stream.history == b"x" * KEPT


async def test_a_reader_gets_everything_in_order() -> None:
    streams = LogStreams()
    with streams.reading(streams.proxy) as reader:
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                for number in range(1000):
                    streams.proxy.write(b"%d\n" % number)
                    if number % 7 == 0:
                        await anyio.lowlevel.checkpoint()
                streams.end()

            tasks.start_soon(write)
            assert await read(reader) == b"".join(b"%d\n" % number for number in range(1000))
    streams.proxy.write(b"later")
    assert not reader._waiting


async def test_a_slow_reader_misses_some_and_is_told_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logstreams, "AHEAD", 100)
    streams = LogStreams()
    with streams.reading(streams.proxy) as reader:
        streams.proxy.write(b"a" * 90)
        streams.proxy.write(b"b" * 90)
        # It would fit, but its place is after the notice.
        streams.proxy.write(b"c")
        pieces = reader.read()
        assert await anext(pieces) == b"a" * 90
        assert await anext(pieces) == b"\n[swapcore: 91 bytes are missing here: you read too slowly]\n"
        streams.proxy.write(b"d")
        assert await anext(pieces) == b"d"
        await pieces.aclose()  # type: ignore[attr-defined]


async def test_one_piece_that_is_too_large_is_missed() -> None:
    streams = LogStreams()
    with streams.reading(streams.proxy) as reader:
        streams.proxy.write(b"x" * (logstreams.AHEAD + 1))
        streams.end()
        assert b"bytes are missing here" in await read(reader)


async def test_what_threads_write_is_read() -> None:
    streams = LogStreams()
    with streams.reading(streams.proxy) as reader, streams.listening():
        async with anyio.create_task_group() as tasks:

            async def log() -> None:
                await to_thread.run_sync(logging.getLogger("swapcore_http").warning, "from afar")
                streams.end()

            tasks.start_soon(log)
            assert await read(reader) == b"[WARN] from afar\n"


async def test_readers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logstreams, "MOST_READERS", 1)
    streams = LogStreams()
    with (
        streams.reading(streams.proxy),
        pytest.raises(TooManyReadersError),
        streams.reading(streams.upstream),
    ):
        pass
    with streams.reading(streams.upstream):
        pass


async def test_it_listens_to_the_server_and_to_upstreams_and_leaves_logging_as_it_was() -> None:
    before = upstream_logger.level, upstream_logger.propagate, list(logging.getLogger().handlers)
    streams = LogStreams("both")
    with streams.listening():
        logging.getLogger("swapcore_http.x").warning("of the server's")
        upstream_logger.debug("%s: %s", "a", Written(b"\x1b[1mraw\n"))
    assert streams.proxy.history == b"[WARN] of the server's\n"
    assert streams.of("a").history == b"\x1b[1mraw\n"
    assert (upstream_logger.level, upstream_logger.propagate, list(logging.getLogger().handlers)) == before


async def test_forgotten_models() -> None:
    streams = LogStreams()
    streams.of("a").write(b"1")
    streams.of("b").write(b"2")
    streams.keep_only({"b"}.__contains__)
    assert (streams.of("a").history, streams.of("b").history) == (b"", b"2")


async def test_a_flood_neither_blocks_its_writer_nor_fills_the_memory() -> None:
    """T-31: 50 MB through the pipe, while one reads along and does not get on."""
    streams = LogStreams("both")
    output = Output("a")
    with streams.listening(), streams.reading(streams.combined) as reader:
        total = 50_000_000

        def flood() -> None:
            left = total
            while left:
                left -= os.write(output.write_end, b"x" * min(left, 100_000))

        thread = threading.Thread(target=flood)
        thread.start()
        with anyio.fail_after(60):
            await to_thread.run_sync(thread.join)
        output.close_write_end()
        output.close()
        assert len(output._tail) <= 2 * KEPT
        for stream in (streams.of("a"), streams.upstream, streams.combined):
            assert len(stream._kept) <= 2 * KEPT
        assert reader._size <= logstreams.AHEAD
        assert reader._size + reader._missed == total
