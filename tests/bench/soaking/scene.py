"""What is served, and what can be seen of the server from outside?"""

import asyncio
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from attrs import define, field

from tests.http import fake_upstream
from tests.http.processes import strays

LATE = "late"
"""The model that is not always there."""

GAUGE = re.compile(r'^swapcore_(?:queue_depth|inflight)\{model="([^"]*)"\} (\S+)$', re.MULTILINE)


def flags(folder: Path) -> dict[str, dict[str, object]]:
    """Say how each model behaves."""
    return {
        "quick": {},
        "slow": {"load": 0.4, "health_503": True, "hang_first": 1},
        "deaf": {"ignore_sigterm": True},
        "brittle": {"exit_after": 5, "exit_code": 3},
        "forking": {
            "fork_grandchild": folder / "forked",
            "setsid_grandchild": folder / "away",
            "flood": 200_000,
        },
        LATE: {"load": 0.1},
    }


@define
class Written:
    """The configuration, as it was last meant."""

    folder: Path
    editions: dict[str, int] = field(factory=dict)
    """Another number makes another model of the same name."""

    failing: set[str] = field(factory=set)
    """Those whose start fails."""

    late: bool = False
    ttl: int = 0

    @property
    def path(self) -> Path:
        return self.folder / "config.yaml"

    def text(self) -> str:
        models = {}
        for name, each in flags(self.folder).items():
            if name == LATE and not self.late:
                continue
            given = {**each, "print": f"edition {self.editions.get(name, 0)}"}
            if name in self.failing:
                given["exit_at_start"] = 7
            models[name] = {
                "cmd": fake_upstream.command(port="${PORT}", name=name, **given),
                "unloadTimeout": 1,
                "probeTimeout": 0.5,
                "ttl": self.ttl,
            }
        any_two = " | ".join(models)
        return json.dumps(
            {
                "startPort": 20_000 + os.getpid() % 10_000,
                "healthCheckTimeout": 30,
                "patience": 2,
                "models": models,
                "matrix": {"sets": {"two": f"({any_two}) & ({any_two})"}},
            }
        )

    def write(self, text: str, *, in_place: bool = False) -> None:
        if in_place:
            self.path.write_text(text)
        else:
            new = self.folder / "config.new"
            new.write_text(text)
            new.replace(self.path)


@define
class Scene:
    """The server as it looks from outside."""

    port: int
    server: psutil.Process
    marked: str
    client: aiohttp.ClientSession
    states: dict[str, str] = field(factory=dict)
    """The phase of each model that was up or starting a moment ago."""

    refused: set[str] = field(factory=set)
    """Models that were refused lately: an unload forgives them what they did."""

    async def get(self, path: str) -> tuple[int, str]:
        async with self.client.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()

    async def post(self, path: str) -> tuple[int, str]:
        async with self.client.post(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()

    async def look(self) -> None:
        """See what is up."""
        running: list[dict[str, Any]] = json.loads((await self.get("/running"))[1])["running"]
        self.states = {str(row["model"]): str(row["state"]) for row in running}

    async def callers(self) -> dict[str, int]:
        """Say how many wait or are served, by model."""
        found: dict[str, int] = {}
        for model, count in GAUGE.findall((await self.get("/metrics"))[1]):
            found[model] = found.get(model, 0) + int(float(count))
        return {model: count for model, count in found.items() if count}

    def upstreams(self, chance: random.Random) -> list[psutil.Process]:
        """List the server's upstreams, in some order."""
        found = [child for child in self.server.children() if is_upstream(child)]
        chance.shuffle(found)
        return found

    def others(self) -> list[int]:
        """List what runs besides the server and its watchdog."""
        own = {self.server.pid, *(each.pid for each in self.server.children() if is_watchdog(each))}
        return [pid for pid in strays(self.marked) if pid not in own]


def is_upstream(process: psutil.Process) -> bool:
    return says(process, "fake_upstream")


def is_watchdog(process: psutil.Process) -> bool:
    return says(process, "guard.watchdog")


def says(process: psutil.Process, word: str) -> bool:
    try:
        return any(word in each for each in process.cmdline())
    except psutil.Error:
        return False


async def until(condition: Callable[[], Any], seconds: float) -> bool:
    """Look again and again, and say whether it came true in time."""
    loop = asyncio.get_running_loop()
    late = loop.time() + seconds
    while not condition():
        if loop.time() > late:
            return False
        await asyncio.sleep(0.02)
    return True
