"""What is done to the server and its upstreams meanwhile?"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import psutil
from attrs import define, field

from tests.bench.soaking.scene import LATE, Scene, Written, flags

BROKEN = (
    "models: [",
    '{"models": {"quick": {"cmd": "x", "tttl": 3}}}',
    '{"models": {"quick": {"cmd": "x"}}, "matrix": {"sets": {"one": "nobody"}}}',
)
"""Texts that are no configuration."""


@define
class Faults:
    """Breaks things, each kind so many seconds apart on the average."""

    scene: Scene
    written: Written
    chance: random.Random
    injected: Counter[str] = field(factory=Counter)
    wrong: list[str] = field(factory=list)
    """Answers to operators that are not as they should be."""

    going: asyncio.Event = field(factory=asyncio.Event)
    """Whether anything is broken at present."""

    at_it: int = 0
    """How many faults are being made just now."""

    def going_on(self) -> list[Coroutine[Any, Any, None]]:
        """Make what has to run for that."""
        return [
            self._every(3.0, self.kill),
            self._every(2.5, self.edit),
            self._every(8.0, self.unload),
            self._every(1.0, self.forgive),
        ]

    async def _every(self, seconds: float, fault: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self.chance.expovariate(1 / seconds))
            await self.going.wait()
            self.at_it += 1
            try:
                await fault()
            finally:
                self.at_it -= 1

    async def kill(self) -> None:
        """Kill an upstream, whatever it is at."""
        for process in self.scene.upstreams(self.chance)[:1]:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                self.injected["upstream killed"] += 1

    async def edit(self) -> None:
        """Edit the configuration, well or badly, and have the server notice in one of three ways."""
        chance, written = self.chance, self.written
        # What was broken by the last edit is mended by this one.
        written.failing.clear()
        kind = chance.choice(("model changed", "model added or removed", "broken", "start fails", "setting"))
        model = chance.choice(list(flags(written.folder)))
        match kind:
            case "model changed":
                written.editions[model] = written.editions.get(model, 0) + 1
            case "model added or removed":
                written.late = not written.late
            case "start fails":
                written.failing.add(model)
            case "setting":
                written.ttl = chance.choice((0, 1))
        text = chance.choice(BROKEN) if kind == "broken" else written.text()
        written.write(text, in_place=chance.random() < 0.5)
        self.injected[f"reload: {kind}"] += 1
        how = chance.choice(("watch", "signal", "ask"))
        if how == "signal":
            self.scene.server.send_signal(signal.SIGHUP)
        elif how == "ask":
            status, said = await self.scene.post("/api/config/reload")
            if status != (422 if kind == "broken" else 200):
                self.wrong.append(f"{status} to a reload ({kind}): {said[:300]}")

    async def unload(self) -> None:
        """Unload all models, or one of them, at once or when they have finished."""
        now = self.chance.random() < 0.5
        model = self.chance.choice(("", "", *sorted(self.scene.states)))
        path = "/api/models/unload" + (f"/{model}" if model else "") + ("?now=1" if now else "")
        self.injected["unload now" if now else "unload"] += 1
        await self._ask_to_unload(path)

    async def forgive(self) -> None:
        """Unload who was refused: otherwise those that were killed would cool down most of the time."""
        models, self.scene.refused = sorted(self.scene.refused), set()
        for model in models:
            await self._ask_to_unload(f"/api/models/unload/{model}")

    async def _ask_to_unload(self, path: str) -> None:
        status, said = await self.scene.post(path)
        # The one model may have been taken away meanwhile.
        if status not in ({200, 404} if path.removesuffix("?now=1").endswith(LATE) else {200}):
            self.wrong.append(f"{status} to {path}: {said[:300]}")
