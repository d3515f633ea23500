"""How does one run of one upstream subprocess go, from spawn to exit?

A run is one command in a process group of its own. It ends with its leader,
and is over when the whole group is gone: what the command leaves behind holds
memory as well.
"""

import logging
import math
import os
import re
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import anyio

from swapcore import Start, StopReason
from swapcore_http.config import ModelConfig
from swapcore_http.config.schema import NO_CHECK
from swapcore_http.driver import Control, Launch
from swapcore_http.ports import Ports, is_taken
from swapcore_http.process import Process, running
from swapcore_http.readiness import is_this_machine, wait_until_ready

__all__ = ["process_launch"]

logger = logging.getLogger(__name__)

PROGRESS_EVERY = 1.0
"""Seconds between two reports of progress, at the least."""


class CannotStartError(Exception):
    """The run must not even be tried; the text says why."""


def process_launch(models: Callable[[str], ModelConfig], *, ports: Ports) -> Launch:
    """Make a `Launch` that runs upstreams as subprocesses.

    Args:
        models: Looks a model's configuration up by its id, at each start.
        ports: Lends the runs their ports.
    """
    warned: set[str] = set()

    async def launch(start: Start, control: Control) -> str:
        model = models(start.model)
        progress = _Progress(control)
        # Left in reverse order: the port is given back when the group is gone.
        async with AsyncExitStack() as stack:
            try:
                port = _take_port(model, ports, stack, warned)
                argv = _command(model, port)
                process = await stack.enter_async_context(
                    running(argv, model.environment(os.environ, port), name=model.id, on_output=progress.made)
                )
            except (CannotStartError, OSError, ValueError) as error:
                return f"could not be started: {error}"
            control.output = process.output.last_lines
            logger.info("%s: run %d is process %d", model.id, start.run, process.pid)
            lost = await _until_lost_or_told(model, port, process, control, progress)
            if lost is None:
                await _stop(model, port, process, control)
        return _stopped(process, control.reason) if lost is None else lost

    return launch


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


class _Progress:
    """Passes progress on, at a bounded rate, for as long as the run is starting."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._next = -math.inf

    def made(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_EVERY
            self._control.progressed()

    def end(self) -> None:
        self._next = math.inf


async def _until_lost_or_told(
    model: ModelConfig, port: int | None, process: Process, control: Control, progress: _Progress
) -> str | None:
    """Announce readiness and watch; return what the upstream died of, or `None` if it is to be stopped."""
    lost: str | None = None
    spawned = time.monotonic()

    async def announce() -> None:
        url = model.url(port)
        endpoint = model.check_endpoint
        if endpoint != NO_CHECK:
            url = await wait_until_ready(url, endpoint, spawned=spawned, progressed=progress.made)
        progress.end()
        control.ready(url)

    async def watch() -> None:
        nonlocal lost
        await process.wait()
        if not control.stopping.is_set():
            lost = _with_output(process.describe(), process)
            # Before anything that takes time: no caller is to be sent to a dead upstream.
            control.lost(lost)
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(announce)
        tasks.start_soon(watch)
        await control.stopping.wait()
        tasks.cancel_scope.cancel()
    progress.end()
    return lost


async def _stop(model: ModelConfig, port: int | None, process: Process, control: Control) -> None:
    """Ask the upstream to leave; return when its leader has left and `cmdStop` is done, or by force."""

    async def force() -> None:
        await control.forced.wait()
        process.kill()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(force)
        if process.status is None and not await _asked_by_command(model, port, process):
            process.terminate()
        await process.wait()
        tasks.cancel_scope.cancel()


async def _asked_by_command(model: ModelConfig, port: int | None, process: Process) -> bool:
    """Run the model's `cmdStop` to its end; return whether it has one that could be started."""
    async with AsyncExitStack() as stack:
        try:
            argv = model.stop_argv(port, process.pid)
            if not argv:
                return False
            stopper = await stack.enter_async_context(
                running(argv, model.environment(os.environ, port), name=f"{model.id} cmdStop")
            )
        except (OSError, ValueError) as error:
            logger.warning("%s: cmdStop could not be started, SIGTERM is sent instead: %s", model.id, error)
            return False
        await stopper.wait()
    if stopper.status != 0:
        logger.warning("%s: cmdStop %s", model.id, _with_output(stopper.describe(), stopper))
    return True


def _stopped(process: Process, reason: StopReason | None) -> str:
    """Say how a stop went."""
    why = "" if reason is None else f" ({reason.value})"
    detail = f"stopped{why}: {process.describe()}"
    return _with_output(detail, process) if reason is StopReason.START_TIMEOUT else detail


def _with_output(detail: str, process: Process) -> str:
    lines = process.output.last_lines()
    return f"{detail}; its last output:\n{lines}" if lines else detail
