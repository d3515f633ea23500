"""How does the server come up, and how does it end?"""

import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from aiohttp import web
from attrs import define, frozen

from swapcore import Engine, SwapcoreError, Urgency
from swapcore_http.app import make_app, make_runner
from swapcore_http.config import Config
from swapcore_http.driver import Driver
from swapcore_http.launcher import process_launch
from swapcore_http.logs import log_step
from swapcore_http.ports import Ports

__all__ = ["Address", "CannotListenError", "serve", "serving"]

logger = logging.getLogger(__name__)

LAST_ANSWERS = 5.0
"""Seconds that answers which need no upstream may take once all upstreams are gone."""


class CannotListenError(SwapcoreError):
    """The address cannot be listened on; the text says why."""


@frozen
class Address:
    """Where to listen."""

    host: str
    """A name or an IP address; empty for all of the machine's."""

    port: int
    """0 for any that is free."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@define
class Server:
    """A server that accepts requests."""

    driver: Driver
    base_url: str
    """Where clients on this machine reach it."""

    _site: web.SockSite

    async def stop_accepting(self) -> None:
        """Take no new connections."""
        await self._site.stop()


def listen(address: Address) -> socket.socket:
    """Bind that address before anything is started, so that no upstream starts for nothing.

    Raises:
        CannotListenError: it cannot be had.
    """
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, where = found[0]
        return socket.create_server(
            (str(where[0]), int(where[1])), family=family, backlog=1024, dualstack_ipv6=False
        )
    except OSError as error:
        why = "something else listens there already" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotListenError(f"cannot listen on {address}: {why}") from error


@asynccontextmanager
async def serving(config: Config, listener: socket.socket) -> AsyncIterator[Server]:
    """Serve these models on that socket; leaving ends everything at once, politely asked or not."""
    engine = Engine(config.catalog(), shutdown_timeout=config.shutdown_timeout)
    launch = process_launch(config.models.__getitem__, ports=Ports())
    async with Driver(engine, launch, observe=log_step) as driver:
        runner = make_runner(make_app(driver, config), shutdown_timeout=LAST_ANSWERS)
        await runner.setup()
        try:
            site = web.SockSite(runner, listener)
            await site.start()
            driver.load(config.preload)
            host, port = listener.getsockname()[:2]
            local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
            yield Server(driver, f"http://{local}:{port}", site)
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()


async def serve(config: Config, address: Address, *, greeting: str = "") -> None:
    """Serve until SIGINT or SIGTERM, then let what is being served finish, and return.

    A second signal cuts it off, a third kills the upstreams.

    Args:
        config: The models to serve.
        address: Where to listen.
        greeting: Printed once requests are accepted, with `{base_url}` filled in.

    Raises:
        CannotListenError: the address cannot be had; nothing was started.
        ExceptionGroup: the engine failed (`EngineFailedError`); everything has been stopped.
    """
    with (
        listen(address) as listener,
        # Before requests are accepted: whoever has seen the server answer may signal it.
        anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
    ):
        async with serving(config, listener) as server:
            logger.info("listening on %s, %d models", server.base_url, len(config.models))
            if not _is_loopback(listener):
                logger.info("other machines can reach this server; to prevent that: --listen 127.0.0.1:PORT")
            if greeting:
                print(greeting.replace("{base_url}", server.base_url), flush=True)  # noqa: T201 - for the user.
            await _end_when_told(server, signals)


async def _end_when_told(server: Server, signals: AsyncIterator[signal.Signals]) -> None:
    async with anyio.create_task_group() as tasks:
        ending = False

        async def end(urgency: Urgency) -> None:
            await server.driver.shutdown(urgency)
            tasks.cancel_scope.cancel()

        async for number in signals:
            if ending:
                logger.warning("%s again: hurrying", number.name)
            else:
                logger.info("%s: finishing what is being served", number.name)
                await server.stop_accepting()
            tasks.start_soon(end, Urgency.NOW if ending else Urgency.DRAIN)
            ending = True


def _is_loopback(listener: socket.socket) -> bool:
    host = str(listener.getsockname()[0])
    return host.startswith("127.") or host == "::1"
