"""How do tests run `swapcore-http serve` as a process of its own, with real upstreams?"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import define, field

from tests.http import fake_upstream
from tests.http.processes import mark, strays, until

DEADLINE = 60.0


@define
class Program:
    """`swapcore-http serve` as a process."""

    process: anyio.abc.Process
    client: aiohttp.ClientSession
    log: str = ""
    base_url: str = ""
    _lines: BufferedByteReceiveStream = field(init=False)

    async def until_said(self, text: str) -> str:
        """Read its log up to a line with that text, and return the line."""
        with anyio.fail_after(DEADLINE):
            while True:
                line = (await self._lines.receive_until(b"\n", 65536)).decode()
                self.log += line + "\n"
                if text in line:
                    return line

    async def ends(self) -> int:
        """Wait for its exit and return its status."""
        with anyio.fail_after(DEADLINE):
            try:
                while True:
                    self.log += (await self._lines.receive()).decode()
            except anyio.EndOfStream:
                return await self.process.wait()

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def chat(self, model: str, **knobs: object) -> Any:
        return self.client.post(
            f"{self.base_url}/v1/chat/completions", json={"model": model, "stream": True, "fake": knobs}
        )

    async def upstream(self, model: str) -> str:
        """Return the URL of a model's upstream."""
        async with self.client.get(f"{self.base_url}/running") as response:
            running = (await response.json())["running"]
        return str(next(one["proxy"] for one in running if one["model"] == model))


LOOP = "uvloop" if "TEST_UVLOOP" in os.environ else "asyncio"
"""On which loop the program runs unless a test says that."""


@asynccontextmanager
async def program(*arguments: str, limit_of_files: int | None = None) -> AsyncIterator[Program]:
    marked = mark()
    # Not by a limit of the tests' own: they would run into it first.
    under = [] if limit_of_files is None else ["sh", "-c", f'ulimit -n {limit_of_files}; exec "$@"', "sh"]
    name, _, value = marked.partition("=")
    loop = [] if "--loop" in arguments else ["--loop", LOOP]
    async with (
        await anyio.open_process(
            [*under, sys.executable, "-m", "swapcore_http.cli", *arguments, *loop],
            env=os.environ | {name: value},
            stderr=subprocess.STDOUT,
        ) as process,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(DEADLINE)) as client,
    ):
        one = Program(process, client)
        assert process.stdout is not None
        one._lines = BufferedByteReceiveStream(process.stdout)
        try:
            yield one
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await until(lambda: not strays(marked))


@asynccontextmanager
async def serving(tmp_path: Path, **models: Mapping[str, object]) -> AsyncIterator[Program]:
    """Run the program with fake upstreams that have these flags."""
    config = write(tmp_path, **models)
    async with program("serve", "--config", str(config), "--listen", "127.0.0.1:0") as one:
        line = await one.until_said("listening on")
        one.base_url = line.split("listening on ")[1].split(",")[0]
        yield one


def write(tmp_path: Path, **models: Mapping[str, object]) -> Path:
    """Write a configuration; a model's flags of the form `_key` are keys of its own."""
    config: dict[str, Any] = {"startPort": 20_000 + os.getpid() % 10_000, "models": {}}
    for name, given in models.items():
        keys = {key[1:]: value for key, value in given.items() if key.startswith("_")}
        flags = {key: value for key, value in given.items() if not key.startswith("_")}
        if name == "top":
            config.update(keys)
        else:
            config["models"][name] = {
                "cmd": fake_upstream.command(port="${PORT}", name=name, **flags),
                **keys,
            }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML.
    return path
