"""What does the way of one warm request cost inside the process, sockets apart?

Real servers, fed with bytes through transports that only pass them on: a bare
aiohttp handler, the plain pass-through, and ours, with and without API keys.
It counts processor time of all threads, the recorder's too, so that little of
what else the machine does shows; the lower quartile of many short rounds is
what is left of that.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from unittest.mock import patch

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler

from swapcore import Start
from swapcore_http.app import make_app, make_runner
from swapcore_http.config import loads
from swapcore_http.driver import Control, Driver
from swapcore_http.logs import log_step, logs_callers
from swapcore_http.present import Present
from swapcore_http.serve import make_engine
from swapcore_http.upstreams import Connection, Pool, Taker
from tests.bench import passthrough
from tests.bench.load import request_of
from tests.bench.measure import Figure, figure
from tests.bench.targets import BODY, CHAT, Options

CLIENTS = 16
"""Connections that ask at the same time."""

TURNS = 8
"""Requests that each of them makes in a round."""

CONFIG = "models:\n  a:\n    cmd: none\n    proxy: http://127.0.0.1:5800\n    concurrencyLimit: 1000\n"
KEYS = "apiKeys: [sk-none, sk-some]\n"
ANSWER_BODY = b'{"choices":[{"message":{"role":"assistant","content":"hello"}}]}' + b" " * 100
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\nContent-Length: %d\r\n\r\n"
    % len(ANSWER_BODY)
    + ANSWER_BODY
)
ASK = request_of({"path": CHAT, "body": BODY, "port": 8080})


class Wire(asyncio.Transport):
    """A transport without a socket: what is written to it is heard in the loop's next turn."""

    def __init__(self, owner: asyncio.Protocol, heard: Callable[[bytes], None]) -> None:
        super().__init__({"peername": ("127.0.0.1", 4711), "sockname": ("127.0.0.1", 8080)})
        self._owner = owner
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def write(self, data: Any) -> None:
        self._loop.call_soon(self._heard, data)

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.call_soon(self._owner.connection_lost, None)

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def wired(protocol: Any) -> Any:
    """Connect a client's end to an upstream that answers at once."""
    protocol.connection_made(Wire(protocol, lambda _: protocol.data_received(ANSWER)))
    return protocol


class WiredConnector(aiohttp.BaseConnector):
    """What the plain pass-through reaches its upstream by."""

    async def _create_connection(self, *_: Any) -> ResponseHandler:
        return wired(ResponseHandler(asyncio.get_running_loop()))  # type: ignore[no-any-return]


class Client:
    """One connection to a server."""

    def __init__(self, server: web.Server) -> None:
        self._server: Any = server()
        self._wire = Wire(self._server, self._heard)
        self._server.connection_made(self._wire)
        self._left = 0
        self._done: asyncio.Future[None]
        self._needed = 0

    async def ask(self, turns: int) -> None:
        """Make so many requests, one after the other."""
        self._done = asyncio.get_running_loop().create_future()
        self._left = turns
        self._server.data_received(ASK)
        await self._done

    def _heard(self, data: bytes) -> None:
        if not self._needed:
            head, _, data = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self._done.set_exception(RuntimeError(repr(head + data)))
                return
            fields = head.lower().partition(b"content-length: ")[2]
            self._needed = int(fields.partition(b"\r\n")[0])
        self._needed -= len(data)
        if self._needed:
            return
        self._left -= 1
        if self._left:
            self._server.data_received(ASK)
        else:
            self._done.set_result(None)

    def hang_up(self) -> None:
        self._wire.close()


async def answer(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER_BODY, content_type="application/json")


@asynccontextmanager
async def bare() -> AsyncIterator[web.Server]:
    """Serve as a handler does that knows the answer."""
    app = web.Application()
    app.router.add_post(CHAT, answer)
    async with running(web.AppRunner(app, access_log=None, handler_cancellation=True)) as server:
        yield server


@asynccontextmanager
async def plain() -> AsyncIterator[web.Server]:
    """Serve as the plain pass-through does."""
    app = web.Application(client_max_size=1 << 30)
    app["upstream"] = "http://127.0.0.1:5800"
    app.router.add_route("*", "/{path:.*}", passthrough.relay)
    async with aiohttp.ClientSession(connector=WiredConnector(), auto_decompress=False) as session:
        app["session"] = session
        async with running(web.AppRunner(app, access_log=None, handler_cancellation=True)) as server:
            yield server


async def connect(pool: Pool, taker: Taker, *_: Any) -> None:
    """Stand in for `Pool.connect`."""
    wired(Connection(pool, taker))


@asynccontextmanager
async def ours(text: str) -> AsyncIterator[web.Server]:
    """Serve as `swapcore-http serve` does with that configuration."""
    config = loads(text).config
    present = Present(config)

    async def launch(_: Start, control: Control) -> str:
        control.ready("http://127.0.0.1:5800")
        await control.stopping.wait()
        return "told to"

    async with Driver(make_engine(config), launch, observe=log_step, observe_passing=logs_callers) as driver:
        async with running(make_runner(make_app(driver, present))) as server:
            yield server
        await driver.shutdown()


@asynccontextmanager
async def running(runner: web.AppRunner) -> AsyncIterator[web.Server]:
    await runner.setup()
    try:
        assert runner.server is not None
        yield runner.server
    finally:
        await runner.cleanup()


SERVERS: dict[str, Callable[[], Any]] = {
    "bare": bare,
    "plain": plain,
    "swapcore": lambda: ours(CONFIG),
    "swapcore, with keys": lambda: ours(KEYS + CONFIG),
}


async def measure(rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of processor time that one request took, in each round, by server."""
    costs = defaultdict(list)
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.object(Pool, "connect", connect))
        clients = {}
        for name, server in SERVERS.items():
            made = await stack.enter_async_context(server())
            clients[name] = [Client(made) for _ in range(CLIENTS)]
            for client in clients[name]:
                stack.callback(client.hang_up)
        for number in range(rounds + 3):
            for name, own in clients.items():
                begun = time.process_time()
                await asyncio.gather(*(client.ask(TURNS) for client in own))
                # The first rounds connect, start and import.
                if number >= 3:
                    costs[name].append((time.process_time() - begun) / CLIENTS / TURNS * 1e6)
    return costs


def run(options: Options) -> Iterator[Figure]:
    costs = asyncio.run(measure(30 if options.short else 200))
    settled = {name: sorted(values)[: max(2, len(values) // 2)] for name, values in costs.items()}
    for name, values in settled.items():
        against = settled["plain"] if name.startswith("swapcore") else ()
        yield figure(f"one warm request, without sockets: {name}", values, "µs", baseline=against)
