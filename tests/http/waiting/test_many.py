"""Do thousands of streams that wait cost little more than a few?"""

import asyncio
import resource

import psutil
import pytest

from tests.http.serving import unrun
from tests.http.waiting.streams import STREAM, answer, late

pytestmark = pytest.mark.anyio

STREAMS = 2000

MOST = 150 * 1024 * 1024
"""Bytes that server and clients, in one process, may need for all of these together."""

ASK = b'{"model": "a", "stream": true}'


async def test_two_thousand_streams_wait_and_are_served() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3 * STREAMS:
        pytest.skip(f"a process may have {hard} files open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3 * STREAMS), hard))
    try:
        one = unrun("a", concurrency_limit=50)
        async with late(answer(STREAM), one, keep_alive_after=0.5) as world:
            before = psutil.Process().memory_info().rss
            looks = 0
            look = world.served.driver.snapshot

            def counted() -> object:
                nonlocal looks
                looks += 1
                return look()

            world.served.driver.snapshot = counted  # type: ignore[assignment, method-assign] # It is only counted.
            waiting = asyncio.Semaphore(0)
            ended: list[bool] = []
            tasks = [
                asyncio.ensure_future(_stream(world.served.port, waiting, ended)) for _ in range(STREAMS)
            ]
            for _ in range(STREAMS):
                await waiting.acquire()
            grown = psutil.Process().memory_info().rss - before
            # Everybody has heard twice by now, and has not been looked up one by one.
            assert looks < STREAMS / 10
            status, _, _ = await world.served.ask("GET", "/health")
            assert status == 200
            world.gate.set()
            await asyncio.gather(*tasks)
        assert ended == [True] * STREAMS
        assert grown < MOST, f"{grown / STREAMS:.0f} bytes for each"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _stream(port: int, waiting: asyncio.Semaphore, ended: list[bool]) -> None:
    """Ask for a stream, say so once two comments have come, and read it to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(ASK), ASK)
    )
    await reader.readuntil(b": swapcore queued ")
    await reader.readuntil(b": swapcore queued ")
    waiting.release()
    try:
        await reader.readuntil(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        ended.append(True)
    finally:
        writer.close()
