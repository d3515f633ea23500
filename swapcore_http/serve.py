"""How does the server come up, and how does it end?"""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import attrs
from aiohttp import web
from attrs import define, frozen

from swapcore import Engine, SwapcoreError, Urgency
from swapcore_http.accepting import AT_ONCE, Accepting
from swapcore_http.app import make_app, make_runner
from swapcore_http.config import Config, Loaded
from swapcore_http.doors import DOORS
from swapcore_http.driver import Driver, Observation
from swapcore_http.guard.guard import Guard
from swapcore_http.loadtimes import keeping, remembered
from swapcore_http.logs import log_step, logs_callers, set_log_level
from swapcore_http.ports import Ports
from swapcore_http.present import Present, launching
from swapcore_http.reload import Reloader
from swapcore_http.tls import CannotShowError, Tls
from swapcore_http.watch import Watch

__all__ = ["Address", "CannotListenError", "make_engine", "serve", "serving"]

logger = logging.getLogger(__name__)

ENDING = (signal.SIGINT, signal.SIGTERM)
"""What ends the server."""

RELOADING = signal.SIGHUP
"""What has it read its configuration again."""

BACKLOG = 1024
"""Connections that the system may hold until they are accepted."""

LAST_ANSWERS = 5.0
"""Seconds that answers which need no upstream may take once all upstreams are gone."""


class CannotListenError(SwapcoreError):
    """The address cannot be listened on; the text says why."""


@frozen(eq=False, repr=False)
class Address:
    """Where to listen."""

    host: str
    """A name or an IP address; empty for all of the machine's."""

    port: int
    """0 for any that is free."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@define(eq=False, repr=False)
class Server:
    """A server that accepts requests."""

    driver: Driver
    present: Present
    """Owns the configuration."""

    base_url: str
    """Where clients on this machine reach it."""

    reloader: Reloader | None
    """Reads the configuration again, if it was read from anywhere."""

    tls: Tls | None
    """The certificate that is shown, if any is."""

    _runner: web.AppRunner
    _listening: asyncio.Server

    async def stop_accepting(self) -> None:
        """Take no new connections and no new requests."""
        self._listening.close()
        server = self._runner.server
        if server is not None:
            self._runner.app[DOORS].close(server)


def listen(address: Address) -> socket.socket:
    """Bind that address before anything is started, so that no upstream starts for nothing.

    Raises:
        CannotListenError: it cannot be had.
    """
    try:
        if not address.host and socket.has_dualstack_ipv6():
            with _unless_taken():
                # One socket that takes both kinds of address.
                return socket.create_server(
                    ("", address.port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
                )
        found = socket.getaddrinfo(
            address.host or "0.0.0.0",  # noqa: S104 - it was asked for.
            address.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        family, _, _, _, where = found[0]
        return socket.create_server((str(where[0]), int(where[1])), family=family, backlog=BACKLOG)
    except UnicodeError as error:
        raise CannotListenError(f"cannot listen on {address}: {address.host!r} is no host name") from error
    except OSError as error:
        why = "something else listens there already" if error.errno == errno.EADDRINUSE else error.strerror
        raise CannotListenError(f"cannot listen on {address}: {why}") from error


@contextmanager
def _unless_taken() -> Iterator[None]:
    """Go on with IPv4 where IPv6 is switched off, but not where the port is taken."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise


def make_engine(config: Config, loads: Mapping[str, float] | None = None) -> Engine:
    """Make the engine that this configuration describes.

    Args:
        config: The configuration.
        loads: How many seconds loads are expected to take, by `Model.revision`.
    """
    settings = attrs.asdict(config.engine_settings(), recurse=False)
    return Engine(config.catalog(loads), config.planner(), **settings)


@asynccontextmanager
async def serving(
    config: Config,
    listener: socket.socket,
    *,
    journal: Path | None = None,
    read: Callable[[], Loaded] | None = None,
    tls: Tls | None = None,
) -> AsyncIterator[Server]:
    """Serve these models on that socket; leaving ends everything at once, politely asked or not.

    Args:
        config: The models to serve.
        listener: What to accept connections from.
        journal: The file to record every decision in, if any.
        read: Reads the configuration again when that is asked for; called in a thread.
        tls: The certificate to show, if any.
    """
    loads = await remembered(config)
    engine = make_engine(config, loads)
    present = Present(config)
    ports, guard = Ports(), Guard()
    with _observed(engine, journal) as observe:
        async with (
            # The guard is the last to go: until then there are upstreams.
            guard.watching(),
            Driver(
                engine,
                launching(present, ports, guard),
                observe=observe,
                observe_passing=logs_callers if journal is None else None,
            ) as driver,
            anyio.create_task_group() as tasks,
        ):
            reloader = None if read is None else Reloader(read, present, driver, ports, loads)
            runner = make_runner(
                make_app(driver, present, reloader, on_loopback=_is_loopback(listener)),
                shutdown_timeout=LAST_ANSWERS,
            )
            await runner.setup()
            listening = None
            try:
                listening = await _accept(runner, present, listener, tls)
                driver.load(config.preload)
                tasks.start_soon(keeping, present, driver)
                if reloader is not None:
                    tasks.start_soon(reloader.run)
                host, port = listener.getsockname()[:2]
                local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(  # noqa: S104
                    host, f"[{host}]" if ":" in host else host
                )
                base_url = f"{'http' if tls is None else 'https'}://{local}:{port}"
                yield Server(driver, present, base_url, reloader, tls, runner, listening)
            finally:
                tasks.cancel_scope.cancel()
                if listening is not None:
                    listening.close()
                with anyio.CancelScope(shield=True):
                    await runner.cleanup()


async def _accept(
    runner: web.AppRunner, present: Present, listener: socket.socket, tls: Tls | None
) -> asyncio.Server:
    """Let clients in, up to a bound that the configuration may set."""
    assert runner.server is not None  # noqa: S101 - it is set up.
    accepting = Accepting(runner.server, runner.app[DOORS])
    accepting.follow(present.config.max_connections)
    present.on_replaced(lambda config: accepting.follow(config.max_connections))
    server = await asyncio.get_running_loop().create_server(
        accepting, sock=listener, backlog=AT_ONCE, ssl=None if tls is None else tls.context
    )
    # For the loop it is how many to accept at once, for the system how many may wait for that.
    listener.listen(BACKLOG)
    return server


@contextmanager
def _observed(engine: Engine, journal: Path | None) -> Iterator[Callable[[Observation], None]]:
    """Yield what observes the driver: the log, and the journal if there is one."""
    if journal is None:
        yield log_step
        return
    # Most servers record nothing, and need not wait for what can.
    from swapcore_http.journal import recording  # noqa: PLC0415

    with recording(journal, engine, also=log_step) as observe:
        yield observe


async def serve(
    config: Config,
    address: Address,
    *,
    greeting: str = "",
    journal: Path | None = None,
    read: Callable[[], Loaded] | None = None,
    watch: Watch | None = None,
    tls: Tls | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, then let what is being served finish, and return.

    A second signal cuts it off, a third kills the upstreams. SIGHUP has the
    configuration read again, and so does whatever `watch` sees.

    Args:
        config: The models to serve.
        address: Where to listen.
        greeting: Printed once requests are accepted, with `{base_url}` filled in.
        journal: The file to record every decision in, if any.
        read: Reads the configuration again; called in a thread. Without it nothing is reloaded.
        watch: Watches what it is read from, if it is to be watched.
        tls: The certificate to show, if any; SIGHUP has it read again, too.

    Raises:
        CannotListenError: the address cannot be had; nothing was started.
        CannotRecordError: the journal cannot be made; nothing was started.
        ExceptionGroup: the engine failed (`EngineFailedError`); everything has been stopped.
    """
    with (
        listen(address) as listener,
        # Before requests are accepted: whoever has seen the server answer may signal it.
        anyio.open_signal_receiver(*ENDING, RELOADING) as signals,
    ):
        async with serving(config, listener, journal=journal, read=read, tls=tls) as server:
            server.present.on_replaced(lambda present: set_log_level(present.log_level))
            logger.info("listening on %s, %d models", server.base_url, len(config.models))
            if not _is_loopback(listener):
                keyless = "" if config.api_keys else ", and need no key for it (apiKeys)"
                logger.info(
                    "other machines can reach this server%s; to prevent that: --listen 127.0.0.1:PORT",
                    keyless,
                )
            if greeting:
                with suppress(OSError):
                    print(greeting.replace("{base_url}", server.base_url), flush=True)  # noqa: T201 - for the user.
            async with anyio.create_task_group() as tasks:
                if watch is not None and server.reloader is not None:
                    tasks.start_soon(watch.run, server.reloader.request)
                await _until_told_to_end(server, signals)
                tasks.cancel_scope.cancel()


async def _until_told_to_end(server: Server, signals: AsyncIterator[signal.Signals]) -> None:
    async with anyio.create_task_group() as tasks:
        ending = False

        async def end(urgency: Urgency) -> None:
            await server.driver.shutdown(urgency)
            tasks.cancel_scope.cancel()

        async for number in signals:
            if number == RELOADING:
                _reload(server)
                continue
            if ending:
                logger.warning("%s again: hurrying", number.name)
            else:
                logger.info("%s: finishing what is being served", number.name)
                await server.stop_accepting()
            tasks.start_soon(end, Urgency.NOW if ending else Urgency.DRAIN)
            ending = True


def _reload(server: Server) -> None:
    if server.tls is not None:
        try:
            server.tls.renew()
            logger.info("%s: the certificate has been read again", RELOADING.name)
        except CannotShowError as error:
            logger.warning("%s: the certificate stays the old one: %s", RELOADING.name, error)
    if server.reloader is None:
        logger.warning("%s: there is no configuration to read again", RELOADING.name)
    else:
        logger.info("%s: reading the configuration again", RELOADING.name)
        server.reloader.request()


def _is_loopback(listener: socket.socket) -> bool:
    host = str(listener.getsockname()[0])
    return host.startswith("127.") or host == "::1"
