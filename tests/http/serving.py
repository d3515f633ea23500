"""How do tests run a whole server, with real upstreams, on a real socket?

    async with serving(fake("a"), fake("b")) as served:
        status, _, body = await served.ask("POST", "/v1/chat/completions", {"model": "a"})

At the end of the block nobody holds a lease or waits, and no child process is
left; else the test fails.
"""

import asyncio
import io
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Self

import aiohttp
import anyio
import psutil
from aiohttp import web
from attrs import define, field
from yarl import URL

from swapcore import Phase, Snapshot, Start, UpstreamView, Urgency
from swapcore_http.app import make_app, make_runner
from swapcore_http.bodies import Bodies
from swapcore_http.config import Config, Loaded, ModelConfig
from swapcore_http.driver import Control, Driver, Launch
from swapcore_http.ports import Ports
from swapcore_http.present import Present, launching
from swapcore_http.reload import Difference, Reloader
from swapcore_http.routes.context import CONTEXT
from swapcore_http.serve import make_engine
from tests.http import fake_upstream
from tests.http.processes import until

DEADLINE = 60.0
"""Seconds after which whatever a test waits for is not coming."""

Answer = tuple[int, dict[str, str], Any]


def fake(model: str, /, *, flags: dict[str, object] | None = None, **fields: Any) -> ModelConfig:
    """Configure a model served by a fake upstream with these flags."""
    cmd = fake_upstream.command(port="${PORT}", name=model, **(flags or {}))
    return ModelConfig(model, cmd=cmd, proxy="http://127.0.0.1:${PORT}", **fields)


def unrun(model: str, **fields: Any) -> ModelConfig:
    """Configure a model without a command, for launchers of the test's own."""
    return ModelConfig(model, proxy="http://not.used", **fields)


@define
class Served:
    """A running server."""

    port: int
    driver: Driver
    present: Present
    reloader: Reloader
    runner: web.AppRunner
    http: aiohttp.ClientSession
    read: Callable[[], Loaded]
    """Reads what the next reload puts in place."""

    _changed: anyio.Event = field(factory=anyio.Event)

    @property
    def bodies(self) -> Bodies:
        """The room that the bodies of all requests share."""
        return self.runner.app[CONTEXT].bodies

    @property
    def config(self) -> Config:
        return self.present.config

    async def replace(self, *models: ModelConfig, **fields: Any) -> Difference:
        """Reload, and read this configuration."""
        fields.setdefault("start_port", self.config.start_port)
        self.read = partial(Loaded, Config(models=models, **fields), ())
        outcome = await self.reloader.reload()
        assert outcome.difference is not None, outcome.problems
        return outcome.difference

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        """Ask the server: status, header fields, and the body, parsed if it is JSON."""
        return await _ask(self.http, method, self.base + path, body, **options)

    async def chat(self, model: str, **fake_knobs: object) -> Answer:
        return await self.ask("POST", "/v1/chat/completions", {"model": model, "fake": fake_knobs})

    async def tell(self, model: str, path: str, method: str = "GET") -> Any:
        """Ask a model's upstream itself, past the server."""
        status, _, answer = await _ask(self.http, method, self.url(model) + path, None)
        assert status == 200, answer
        return answer

    async def open_gate(self, model: str, name: str, times: int = 1) -> None:
        await self.tell(model, f"/gate/{name}?n={times}", "POST")

    async def events(self, model: str, wait: str = "", count: int = 1) -> Any:
        """Return the upstream's log, once it has that many events of that kind."""
        query = f"?wait={wait}&count={count}&timeout=20" if wait else ""
        return await self.tell(model, "/events" + query)

    async def events_once_leased(self, model: str, wait: str, count: int = 1) -> Any:
        """Likewise, of an upstream that has to come up first."""
        await self.until_leased(model)
        return await self.events(model, wait, count)

    async def tell_to_die(self, model: str) -> None:
        """Let a model's upstream exit by itself, as after a crash."""
        with suppress(aiohttp.ClientError):
            await self.tell(model, "/exit?code=9", "POST")

    def url(self, model: str) -> str:
        """Where the model's run answers."""
        (control,) = [each for each in self.driver._runs.values() if each._model == model]
        assert control._url
        return control._url

    def view(self, model: str) -> UpstreamView:
        return self.driver.snapshot().upstream(model)

    def changed(self, _: object) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, what: Callable[[Snapshot], bool]) -> None:
        """Wait until the engine's state is like that."""
        with anyio.fail_after(DEADLINE):
            while not what(self.driver.snapshot()):
                await self._changed.wait()

    async def until_waiting(self, model: str, count: int = 1) -> None:
        await self.until(lambda snapshot: snapshot.upstream(model).waiting == count)

    async def until_leased(self, model: str, count: int = 1) -> None:
        await self.until(lambda snapshot: snapshot.upstream(model).leases == count)

    async def until_phase(self, model: str, phase: Phase) -> None:
        await self.until(lambda snapshot: snapshot.upstream(model).phase is phase)

    async def until_idle(self) -> None:
        """Wait until nobody is served or waits."""
        await self.until(lambda snapshot: not any(view.leases or view.waiting for view in snapshot.upstreams))


async def _ask(http: aiohttp.ClientSession, method: str, url: str, body: object, **options: Any) -> Answer:
    if isinstance(body, bytes):
        # aiohttp warns of large plain bytes.
        options["data"] = io.BytesIO(body)
    elif body is not None:
        options["json"] = body
    async with http.request(method, URL(url, encoded=True), allow_redirects=False, **options) as response:
        kind = response.content_type
        content = await response.read()
        answer = json.loads(content) if kind == "application/json" and content else content
        return response.status, dict(response.headers), answer


@asynccontextmanager
async def serving(
    *models: ModelConfig, launch: Launch | None = None, on_loopback: bool = False, **fields: Any
) -> AsyncIterator[Served]:
    """Run a server of these models; `fields` are those of `Config`."""
    # Below the range from which the system takes ports for outgoing connections.
    fields.setdefault("start_port", random.randrange(10_000, 30_000))
    config = Config(models=models, **fields)
    present, ports = Present(config), Ports()
    if launch is None:
        launch = launching(present, ports)
    engine = make_engine(config)
    observers: list[Callable[[object], None]] = []

    def observe(observation: object) -> None:
        for observer in observers:
            observer(observation)

    async with (
        Driver(engine, launch, observe=observe) as driver,
        aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(DEADLINE),
            skip_auto_headers=("Accept-Encoding",),
        ) as http,
        anyio.create_task_group() as tasks,
    ):
        reloader = Reloader(lambda: served.read(), present, driver, ports)  # noqa: PLW0108 - not made yet.
        tasks.start_soon(reloader.run)
        app = make_app(driver, present, reloader, on_loopback=on_loopback)
        runner = make_runner(app, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            unchanged = partial(Loaded, config, ())
            served = Served(runner.addresses[0][1], driver, present, reloader, runner, http, unchanged)
            observers.append(served.changed)
            room = served.bodies.room
            yield served
            await served.until_idle()
            engine.check()
            # A handler returns its room just after its lease.
            await until(lambda: served.bodies.room == room)
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await http.close()
                await runner.cleanup()
                with anyio.move_on_after(DEADLINE):
                    await driver.shutdown(Urgency.NOW)
    assert not psutil.Process().children(recursive=True)


def answering_at(url: str) -> Launch:
    """Make a launcher whose runs are a server of the test's own, at that URL."""

    async def launch(_: Start, control: Control) -> str:
        control.ready(url)
        await control.stopping.wait()
        return "stopped"

    return launch


@asynccontextmanager
async def scripted(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Listen, answer each connection with that function, and yield the base URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20, ssl=tls)
    try:
        base = "https://localhost" if tls else "http://127.0.0.1"
        yield f"{base}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read a request with a Content-Length or without a body."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.lower().rstrip().split(b"\r\n")[1:])
    return head + await reader.readexactly(int(fields.get(b"content-length", b"0")))


@define
class Wire:
    """A client that sees every byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    @asynccontextmanager
    async def to(cls, served: Served) -> AsyncIterator[Self]:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        try:
            with anyio.fail_after(DEADLINE):
                yield cls(reader, writer)
        finally:
            writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, path: str, body: object, *fields: str) -> None:
        """Send a request with a body: JSON unless it is bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(raw)}", *fields]
        if not isinstance(body, bytes):
            lines.append("Content-Type: application/json")
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    async def get(self, path: str, *fields: str, method: str = "GET", version: str = "1.1") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: test", *fields]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    async def head(self) -> tuple[str, list[tuple[str, str]]]:
        """Read the status line and the fields."""
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = raw.rstrip().split("\r\n")
        return line, [(name, value) for name, _, value in (field.partition(": ") for field in rest)]

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; the last one is empty."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def json(self, fields: list[tuple[str, str]]) -> Any:
        """Read a JSON body of the length that these fields give."""
        return json.loads(await self.reader.readexactly(int(dict(fields)["Content-Length"])))

    async def chunks(self) -> list[bytes]:
        """Read all chunks that are left but the last, empty one."""
        chunks = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return chunks

    async def rest(self) -> bytes:
        """Read until the server ends the connection, however it does."""
        pieces = []
        try:
            while piece := await self.reader.read(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pieces.append(b"<reset>")
        return b"".join(pieces)

    def hang_up(self) -> None:
        self.writer.transport.abort()
