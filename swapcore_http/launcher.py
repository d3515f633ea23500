"""How does one run of one upstream subprocess go, from spawn to exit?

A run is one command in a process group of its own. It ends with its leader,
and is over when the whole group is gone: what the command leaves behind holds
memory as well.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
from attrs import define, field

from swapcore import Start, StopReason
from swapcore_http.claiming import Claims, PortTakenError, stranger
from swapcore_http.config import ModelConfig
from swapcore_http.config.schema import DEFAULT_UNLOAD_TIMEOUT, NO_CHECK
from swapcore_http.driver import Control, Launch
from swapcore_http.guard.guard import Guard
from swapcore_http.identity import what_else
from swapcore_http.oserrors import told
from swapcore_http.ports import Ports, is_taken
from swapcore_http.process import Process, running
from swapcore_http.progress import Progress
from swapcore_http.readiness import wait_until_ready
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
    claims = Claims(ports)
    guard = guard or Guard()

    async def launch(start: Start, control: Control) -> str:
        model = models(start.model)
        if not await _is_guarded(guard, control):
            return _never_started(control.reason)
        moved = False
        while (detail := await attempt(start, model, control, may_move=not moved)) is None:
            moved = True
            logger.warning("%s: another program took its port: it is started again, on another one", model.id)
        return detail

    async def attempt(start: Start, model: ModelConfig, control: Control, *, may_move: bool) -> str | None:
        """Run it once, and return how it ended; None if it has to be tried on another port."""
        progress = Progress(control, f"{model.id} (run {start.run})")
        # Left in reverse order: the port is given back when the group is gone.
        async with AsyncExitStack() as stack:
            try:
                port = await claims.claim(model, stack)
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
            except (CannotStartError, PortTakenError, OSError, ValueError) as error:
                return f"could not be started: {told(error)}"
            control.output = progress.output = process.output.last_lines
            logger.info("%s: run %d is process %d", model.id, start.run, process.pid)
            await watched.leads(process.pid)
            run = _Run(model, port, process, control, progress, watched.mark, may_move=may_move)
            await run.until_lost_or_told()
            if run.lost is None:
                await stop(model, port, process, control, guard)
            process.kill()
            await process.gone()
            if run.has_moved():
                return None
            if run.lost is not None and run.was_ready:
                await stop_what_is_left(model, port, process, control, guard)
            if control.reason is not StopReason.SHUTDOWN:
                await until_free(model, port, process, guard)
        return _stopped(process, control.reason) if run.lost is None else run.lost

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


def _command(model: ModelConfig, port: int | None) -> list[str]:
    argv = model.argv(port)
    if not argv:
        raise CannotStartError("its command is empty")
    return argv


@define(eq=False, repr=False)
class _Run:
    """A run from its spawn until it is lost or to be stopped."""

    _model: ModelConfig
    _port: int | None
    _process: Process
    _control: Control
    _progress: Progress
    _mark: str
    _may_move: bool
    """Whether it may be tried again on another port, if it has lost this one."""

    lost: str | None = field(default=None, init=False)
    """What it died of; None if it is to be stopped."""

    was_ready: bool = field(default=False, init=False)
    _is_told: bool = field(default=False, init=False)

    async def until_lost_or_told(self) -> None:
        """Announce readiness and watch until the upstream has died or is to be stopped."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._announce, tasks.cancel_scope, time.monotonic())
            tasks.start_soon(self._watch, tasks.cancel_scope)
            await self._control.stopping.wait()
            tasks.cancel_scope.cancel()
        self._progress.end()

    def has_moved(self) -> bool:
        """Tell, when all of it is gone, whether it failed for its port and has to be tried on another one."""
        if self.lost is None or self._is_told:
            return False
        if self._port is not None and is_taken(self._port) and not self._control.stopping.is_set():
            return True
        # It was its own remains that held the port.
        self._tell(self.lost)
        return False

    async def _announce(self, scope: anyio.CancelScope, spawned: float) -> None:
        url = self._model.url(self._port)
        endpoint = self._model.check_endpoint
        if endpoint != NO_CHECK:
            url = await wait_until_ready(
                url,
                endpoint,
                spawned=spawned,
                patience=self._model.probe_timeout,
                progressed=self._progress.said,
            )
            if who := await stranger(url, self._process.pid, self._mark):
                self._lose(f"{who}, which belongs to another run, answers at {url}")
                scope.cancel()
                return
            if expected := self._model.check_model:
                other = await what_else(url, expected, patience=self._model.probe_timeout)
                if other is not None:
                    self._lose(with_output(other, self._process))
                    scope.cancel()
                    return
        self._progress.end()
        self.was_ready = True
        self._control.ready(url)

    async def _watch(self, scope: anyio.CancelScope) -> None:
        await self._process.wait()
        if not self._control.stopping.is_set():
            self._lose(with_output(self._process.describe(), self._process))
        scope.cancel()

    def _lose(self, detail: str) -> None:
        self.lost = detail
        may_have_lost_its_port = self._port is not None and not self.was_ready and is_taken(self._port)
        if not (self._may_move and may_have_lost_its_port):
            # Before anything that takes time: no caller is to be sent to a dead upstream.
            self._tell(detail)

    def _tell(self, detail: str) -> None:
        self._is_told = True
        self._control.lost(detail)


def _never_started(reason: StopReason | None) -> str:
    return "stopped before it was started" + ("" if reason is None else f" ({reason.value})")


def _stopped(process: Process, reason: StopReason | None) -> str:
    """Say how a stop went."""
    why = "" if reason is None else f" ({reason.value})"
    detail = f"stopped{why}: {process.describe()}"
    return with_output(detail, process) if reason is StopReason.START_TIMEOUT else detail
