"""Is each request logged once, with what came of it, if that is wanted?"""

import logging
import re

import pytest

from tests.http.serving import Served, Wire, fake, serving

pytestmark = pytest.mark.anyio


def requests(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "swapcore_http.requests"]


async def ask(served: Served, path: str, *fields: str) -> None:
    """Ask on a connection of its own, which is closed once all is said and logged."""
    async with Wire.to(served) as wire:
        await wire.get(path, "Connection: close", *fields)
        await wire.rest()


async def test_requests_are_logged_if_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swapcore_http")
    async with serving(fake("a"), log_requests=True) as served:
        await ask(served, "/upstream/a/x%2Fy?key=secret", 'User-Agent: me "2"')
        await ask(served, "/nowhere", "X-Forwarded-For: 1.2.3.4, 5.6.7.8", "X-Real-IP: 9.9.9.9")
        await ask(served, "/v1/models", "X-Real-IP: 9.9.9.9")
        for path in ("/health", "/wol-health", "/metrics", "/api/performance"):
            await ask(served, path)
    lines = requests(caplog)
    assert len(lines) == 3
    assert re.fullmatch(
        r"request 127\.0\.0\.1 \"GET /upstream/a/x%2Fy HTTP/1\.1\" 200 [1-9]\d+ \"me '2'\" \d+\.\d{3} s",
        lines[0],
    )
    assert lines[1].startswith('request 1.2.3.4 "GET /nowhere HTTP/1.1" 404 ')
    assert lines[2].startswith('request 9.9.9.9 "GET /v1/models HTTP/1.1" 200 ')
    assert "secret" not in caplog.text


async def test_they_are_not_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swapcore_http")
    async with serving(fake("a")) as served:
        await ask(served, "/v1/models")
    assert not requests(caplog)


async def test_all_bytes_of_a_stream_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "swapcore_http")
    async with serving(fake("a"), log_requests=True) as served:
        await ask(served, "/upstream/a/stream?bytes=300000&size=50000")
    (line,) = requests(caplog)
    assert 300_000 < int(line.split()[6]) < 301_000
