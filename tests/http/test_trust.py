"""Tests of `swapcore_http.trust`: who is trusted is read late, but by whoever asks by TLS."""

import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import anyio
import pytest
import trustme
from aiohttp import web

import swapcore_http
from swapcore_http import trust
from swapcore_http.config import PeerConfig
from swapcore_http.identity import what_else
from swapcore_http.metrics.upstreams import ask_all
from swapcore_http.peers import Peers
from swapcore_http.readiness import wait_until_ready
from tests.http.programs import program, write

pytestmark = pytest.mark.anyio

ROWS = {"data": [{"id": "m"}]}


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An upstream behind TLS, whose authority the system trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv(trust.FILE, str(tmp_path / "ca.pem"))
    trust.authorities.cache_clear()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v1/models":
            return web.json_response(ROWS)
        if request.path == "/v1/chat/completions":
            return web.json_response({"model": (await request.json())["model"]})
        return web.Response(text="up 1\n")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield f"https://localhost:{runner.addresses[0][1]}"
    await runner.cleanup()
    trust.authorities.cache_clear()


async def test_whoever_asks_with_aiohttp_trusts_whom_the_system_trusts(url: str) -> None:
    with anyio.fail_after(30):
        base = await wait_until_ready(
            url, "/health", spawned=time.monotonic(), patience=5, progressed=lambda _: None
        )
    assert base == url
    assert await what_else(url, "m", patience=5) is None
    assert await ask_all({"m": url}) == {"m": "up 1\n"}
    peers = Peers()
    async with aiohttp.ClientSession() as session:
        await peers._look(session, PeerConfig(id="p", proxy=url, models="auto"))
    assert peers.discovered == {"p": ("m",)}


async def test_the_program_reaches_an_upstream_behind_tls(url: str, tmp_path: Path) -> None:
    upstream = {"_cmd": "sleep 1000", "_proxy": url}
    path = write(tmp_path, a=upstream)
    async with program("serve", "--config", str(path), "--listen", "127.0.0.1:0") as server:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        async with server.chat("a") as answer:
            assert await answer.json() == {"model": "a"}


@pytest.mark.parametrize("before", ["ca.pem", None])
def test_aiohttp_is_imported_without_reading_whom_the_system_trusts(
    before: str | None, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    environment = {key: value for key, value in os.environ.items() if key != trust.FILE}
    if before is not None:
        environment[trust.FILE] = str(tmp_path / before)
    code = """
import os, ssl
from swapcore_http.trust import import_aiohttp
before = dict(os.environ)
import_aiohttp()
import gc
print(max(one.cert_store_stats()["x509_ca"] for one in gc.get_objects() if isinstance(one, ssl.SSLContext)))
print(os.environ == before, ssl.create_default_context().cert_store_stats()["x509_ca"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    most, restored, *_ = done.stdout.split()
    assert (most, restored) == ("0", "True")
    if before is not None:
        assert done.stdout.split()[2] == "1"


def test_nobody_asks_with_aiohttp_who_does_not_say_whom_it_trusts() -> None:
    """What aiohttp itself would trust is nobody."""
    asking = set()
    for path in Path(swapcore_http.__file__).parent.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "ClientSession(" in source:
            asking.add(path.name)
            assert "from swapcore_http.trust import" in source, f"{path.name} trusts nobody"
    assert asking == {"identity.py", "peers.py", "readiness.py", "upstreams.py"}
