"""T-31, T-40, T-41: whatever is too much, too slow or full, the memory is bounded and everybody is served."""

import hashlib
import io
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import psutil
import pytest

from tests.http.programs import Program, serving, write

pytestmark = pytest.mark.anyio

MB = 1_000_000
PIECE = b"0123456789" * (MB // 10)


def peak(pid: int) -> int:
    """Say how many bytes of memory a process had at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def written_by(pid: int) -> int:
    return int(psutil.Process(pid).io_counters().write_chars)


async def up(server: Program, model: str) -> None:
    async with server.chat(model) as answer:
        assert answer.status == 200, await answer.text()
        await answer.read()


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n',
    b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nslow\r\n--b--\r\n',
)


@pytest.mark.parametrize(
    ("path", "kind", "ends", "size"),
    [
        ("/v1/audio/transcriptions", "multipart/form-data; boundary=b", FORM, 300),
        ("/v1/images/generations", "application/json", (b'{"image": "', b'", "model": "slow"}'), 70),
        ("/upstream/slow/echo", "application/octet-stream", (b"", b""), 70),
    ],
    ids=["form", "json", "passthrough"],
)
async def test_t40_a_large_upload_while_the_model_loads_is_not_held_in_memory(
    path: str, kind: str, ends: tuple[bytes, bytes], size: int, tmp_path: Path
) -> None:
    head, tail = ends
    load = tmp_path / "load"
    digest = hashlib.sha256(head)
    told: dict[str, Any] = {}

    async def pieces() -> AsyncIterator[bytes]:
        yield head
        for _ in range(size):
            digest.update(PIECE)
            yield PIECE
        digest.update(tail)
        yield tail

    async with serving(tmp_path, slow={"load_until": load}, other={}, top={"_groups": GROUPS}) as server:

        async def upload() -> None:
            url, headers = server.base_url + path, {"Content-Type": kind}
            long = aiohttp.ClientTimeout(100)
            async with server.client.post(url, data=pieces(), headers=headers, timeout=long) as answer:
                assert answer.status == 200, await answer.text()
                told.update(await answer.json())

        await up(server, "other")
        pid = server.process.pid
        before, written = peak(pid), written_by(pid)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload)
            with anyio.fail_after(60):
                while written_by(pid) - written < size * MB:  # noqa: ASYNC110 - the system tells nobody.
                    await anyio.sleep(0.02)
            await up(server, "other")
            load.touch()
        assert told["body_length"] == len(head) + size * MB + len(tail)
        assert told["body_sha256"] == digest.hexdigest()
        assert peak(pid) - before < 40 * MB


async def test_t40_a_long_answer_to_a_slow_reader_is_not_held_in_memory(tmp_path: Path) -> None:
    """`python -m tests.bench memory` does so with a gigabyte."""
    chunks, padding = 1000, 65_536
    async with serving(tmp_path, a={}) as server:
        await up(server, "a")
        pid = server.process.pid
        before, read, pauses = peak(pid), 0, 0
        async with server.chat("a", chunks=chunks, padding=padding) as answer:
            assert answer.status == 200
            async for piece in answer.content.iter_any():
                read += len(piece)
                if read > pauses * 10 * MB:
                    pauses += 1
                    # Meanwhile the upstream sends all that anybody takes.
                    await anyio.sleep(0.1)
        assert read > chunks * padding
        assert peak(pid) - before < 20 * MB


GROUPS = {"all": {"swap": False, "members": ["slow", "other"]}}
"""Both may live at once."""


async def test_a_full_disk_costs_only_the_request_that_needs_it(tmp_path: Path) -> None:
    async with serving(tmp_path, a={}) as server:
        await up(server, "a")
        # A limit stands in for the disk: the system says much the same.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (5 * MB, 5 * MB))
        body = b'{"model": "a", "x": "' + b"y" * 20 * MB + b'"}'
        headers = {"Content-Type": "application/json"}
        url = server.base_url + "/v1/images/generations"
        async with server.client.post(url, data=io.BytesIO(body), headers=headers) as answer:
            assert answer.status == 507
            assert "no place to keep the body in" in (await answer.json())["error"]["message"]
        await up(server, "a")


@asynccontextmanager
async def mute(tmp_path: Path, stdout: int, **models: dict[str, object]) -> AsyncIterator[Program]:
    """Run a server whose output goes there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--config", str(write(tmp_path, **models)), "--listen", f"127.0.0.1:{port}"]
    process = await anyio.open_process(
        [sys.executable, "-m", "swapcore_http.cli", *words], stdout=stdout, stderr=subprocess.STDOUT
    )
    async with process, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as client:
        server = Program(process, client, base_url=f"http://127.0.0.1:{port}")

        async def answers() -> bool:
            try:
                async with client.get(server.base_url + "/health") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        with anyio.fail_after(60):
            while not await answers():  # noqa: ASYNC110 - it says so where nobody hears it.
                await anyio.sleep(0.02)
        yield server
        server.signal()
        with anyio.fail_after(60):
            assert await process.wait() == 0


FLOOD = 10 * MB


@pytest.mark.parametrize("where", ["full", "unread", "closed"])
async def test_t31_a_log_that_goes_nowhere_stops_nothing(where: str, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    if where == "full":
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, write_end)
        os.close(full)
    if where == "closed":
        os.close(read_end)
    try:
        models: dict[str, dict[str, object]] = {
            "a": {"flood": FLOOD},
            "top": {"_logToStdout": "both", "_logLevel": "debug"},
        }
        async with mute(tmp_path, write_end, **models) as server:
            before = peak(server.process.pid)
            await up(server, "a")
            # One who reads along and does not get on.
            async with server.client.get(server.base_url + "/logs/stream") as stuck:
                assert stuck.status == 200
                for _ in range(20):
                    await up(server, "a")
                assert peak(server.process.pid) - before < 30 * MB
    finally:
        os.close(write_end)
        if where != "closed":
            os.close(read_end)
