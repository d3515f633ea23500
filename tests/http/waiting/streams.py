"""How do tests have callers of a stream wait, and read what they hear?

async with late(answer) as world, world.asking("a") as wire:
    await wire.head()
    ...                     # it waits
    world.gate.set()        # and is answered
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from attrs import define, field

from swapcore import Start
from swapcore_http.config import ModelConfig
from swapcore_http.driver import Control
from tests.http.serving import Served, Wire, read_request, scripted, serving, unrun

CHAT = "/v1/chat/completions"

SOON = 0.05
"""Seconds after which these tests' servers say something."""

STREAM = b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\ndata: [DONE]\n\n'


def answer(content: bytes, *fields: str, status: str = "200 OK", kind: str = "text/event-stream") -> bytes:
    """Write an upstream's answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(content)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content


@define
class World:
    """A server whose one upstream comes up when it is told to."""

    served: Served
    gate: anyio.Event = field(factory=anyio.Event)
    requests: list[bytes] = field(factory=list)
    """What the upstream was asked, headers and bodies."""

    @asynccontextmanager
    async def asking(self, model: str, *fields: str, path: str = CHAT, **body: object) -> AsyncIterator[Wire]:
        """Ask for a stream within the block."""
        async with Wire.to(self.served) as wire:
            await wire.post(path, {"model": model, "stream": True, **body}, *fields)
            yield wire


@asynccontextmanager
async def late(
    reply: bytes = answer(STREAM), *models: ModelConfig, fails: bool = False, **fields: Any
) -> AsyncIterator[World]:
    """Run a server of model `a`, or these, whose upstream answers with that once the gate is open."""
    fields.setdefault("keep_alive_after", SOON)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                world.requests.append(await read_request(reader))
                writer.write(reply)

    async with scripted(converse) as url:

        async def launch(_: Start, control: Control) -> str:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def end() -> None:
                        await control.stopping.wait()
                        scope.cancel()

                    tasks.start_soon(end)
                    await world.gate.wait()
                    if fails:
                        tasks.cancel_scope.cancel()
                        return "exited with status 3"
                    control.ready(url)
                    await anyio.sleep_forever()
            return "stopped"

        async with serving(*(models or (unrun("a"),)), launch=launch, **fields) as served:
            world = World(served)
            yield world


async def frames(wire: Wire) -> list[bytes]:
    """Read all frames that are left of a chunked stream."""
    return [frame for frame in b"".join(await wire.chunks()).split(b"\n\n") if frame]


def data(frame: bytes) -> Any:
    """Read the data of a frame."""
    lines = [line for line in frame.split(b"\n") if line.startswith(b"data:")]
    return json.loads(lines[0].removeprefix(b"data:"))


def thought(read: list[bytes]) -> str:
    """Join what a model is said to think."""
    deltas = [data(frame)["choices"][0]["delta"] for frame in read if b"reasoning_content" in frame]
    return "".join(delta["reasoning_content"] for delta in deltas)
