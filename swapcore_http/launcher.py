"""How does one run of one upstream subprocess go, from spawn to exit?

A run is one command in a process group of its own. It ends with its leader,
and is over when the whole group is gone: what the command leaves behind holds
memory as well.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import anyio

from swapcore import Start, StopReason
from swapcore_http.config import ModelConfig
from swapcore_http.config.schema import DEFAULT_UNLOAD_TIMEOUT, NO_CHECK
from swapcore_http.driver import Control, Launch
from swapcore_http.guard.guard import Guard
from swapcore_http.ports import Ports, is_taken
from swapcore_http.process import Process, running
from swapcore_http.progress import Progress
from swapcore_http.readiness import is_this_machine, wait_until_ready
from swapcore_http.stopping import stop, stop_what_is_left, until_free, with_output

__all__ = ["process_launch"]

logger = logging.getLogger(__name__)


class CannotStartError(Exception):
    """The run must not even be tried; the text says why."""


def process_launch(
    models: Callable[[str], ModelConfig],
    *,
    ports: Ports,
    guard: Guard | None = None,
    grace: Callable[[str], float] = lambda _: DEFAULT_UNLOAD_TIMEOUT,
) -> Launch:
    """Make a `Launch` that runs upstreams as subprocesses.

    Args:
        models: Looks a model's configuration up by its id, at each start.
        ports: Lends the runs their ports.
        guard: Ends the upstreams if this process dies; it is `watching` already.
            Without one they are only found and ended when their run is over.
        grace: Says how many seconds a model may take to stop. The engine keeps
            to that; this is for the watchdog.
    """
    warned: set[str] = set()
    guard = guard or Guard()

    async def launch(start: Start, control: Control) -> str:
        model = models(start.model)
        progress = Progress(control, f"{model.id} (run {start.run})")
        # Left in reverse order: the port is given back when the group is gone.
        async with AsyncExitStack() as stack:
            if not await _is_guarded(guard, control):
                return _never_started(control.reason)
            try:
                port = _take_port(model, ports, stack, warned)
                argv = _command(model, port)
                environment = model.environment(os.environ, port)
                watched = stack.enter_context(
                    guard.watch(
                        model.stop_argv(port, None), grace=grace(model.id), env=model.environment({}, port)
                    )
                )
                process = await stack.enter_async_context(
                    running(argv, environment, name=model.id, mark=watched.mark, on_output=progress.made)
                )
            except (CannotStartError, OSError, ValueError) as error:
                return f"could not be started: {error}"
            control.output = progress.output = process.output.last_lines
            logger.info("%s: run %d is process %d", model.id, start.run, process.pid)
            await watched.leads(process.pid)
            lost, was_ready = await _until_lost_or_told(model, port, process, control, progress)
            if lost is None:
                await stop(model, port, process, control, guard)
                process.kill()
            await process.gone()
            if lost is not None and was_ready:
                await stop_what_is_left(model, port, process, control, guard)
            if control.reason is not StopReason.SHUTDOWN:
                await until_free(model, port, process, guard)
        return _stopped(process, control.reason) if lost is None else lost

    return launch


async def _is_guarded(guard: Guard, control: Control) -> bool:
    """Wait for the guard, the first time; return whether the run is still wanted then."""
    if guard.is_up:
        return True
    async with anyio.create_task_group() as tasks:

        async def up() -> None:
            await guard.up()
            tasks.cancel_scope.cancel()

        tasks.start_soon(up)
        await control.stopping.wait()
        tasks.cancel_scope.cancel()
    return not control.stopping.is_set()


def _take_port(model: ModelConfig, ports: Ports, stack: AsyncExitStack, warned: set[str]) -> int | None:
    """Borrow the run's port until the stack is left, or look whether its fixed one is free."""
    if model.port is not None:
        return stack.enter_context(ports.lend(model.port, model.id))
    proxy = urlsplit(model.url(None))
    port = proxy.port
    if port is None or not is_this_machine(proxy.hostname):
        return None
    if is_taken(port):
        if re.search(rf"(?<!\d){port}(?!\d)", model.cmd):
            raise CannotStartError(f"port {port}, which its cmd names, is taken by another program")
        if model.id not in warned:
            warned.add(model.id)
            logger.warning(
                "%s: something listens on port %d already, and cmd does not name that port: "
                "it is taken for a service that always runs",
                model.id,
                port,
            )
    stack.enter_context(ports.hold(port))
    return None


def _command(model: ModelConfig, port: int | None) -> list[str]:
    argv = model.argv(port)
    if not argv:
        raise CannotStartError("its command is empty")
    return argv


async def _until_lost_or_told(
    model: ModelConfig, port: int | None, process: Process, control: Control, progress: Progress
) -> tuple[str | None, bool]:
    """Announce readiness and watch until the upstream has died or is to be stopped.

    Returns:
        What it died of, `None` if it is to be stopped, and whether it had become ready.
    """
    lost: str | None = None
    was_ready = False
    spawned = time.monotonic()

    async def announce() -> None:
        nonlocal was_ready
        url = model.url(port)
        endpoint = model.check_endpoint
        if endpoint != NO_CHECK:
            url = await wait_until_ready(
                url, endpoint, spawned=spawned, patience=model.probe_timeout, progressed=progress.said
            )
        progress.end()
        was_ready = True
        control.ready(url)

    async def watch() -> None:
        nonlocal lost
        await process.wait()
        if not control.stopping.is_set():
            lost = with_output(process.describe(), process)
            # Before anything that takes time: no caller is to be sent to a dead upstream.
            control.lost(lost)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(announce)
        tasks.start_soon(watch)
        await control.stopping.wait()
        tasks.cancel_scope.cancel()
    progress.end()
    return lost, was_ready


def _never_started(reason: StopReason | None) -> str:
    return "stopped before it was started" + ("" if reason is None else f" ({reason.value})")


def _stopped(process: Process, reason: StopReason | None) -> str:
    """Say how a stop went."""
    why = "" if reason is None else f" ({reason.value})"
    detail = f"stopped{why}: {process.describe()}"
    return with_output(detail, process) if reason is StopReason.START_TIMEOUT else detail
