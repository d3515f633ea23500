"""How is an upstream asked to leave, and when is what it held free again?"""

import logging
import os
from contextlib import AsyncExitStack

import anyio

from swapcore_http.config import ModelConfig
from swapcore_http.driver import Control
from swapcore_http.guard.guard import Guard
from swapcore_http.oserrors import told
from swapcore_http.process import Process, running

__all__ = ["stop", "stop_what_is_left", "until_free", "with_output"]

logger = logging.getLogger(__name__)

RETRY_EVERY = 0.25
"""Seconds between two runs of an `afterStop` that says that not all is free yet."""


async def stop(
    model: ModelConfig, port: int | None, process: Process, control: Control, guard: Guard
) -> None:
    """Ask the upstream to leave; return when its leader has left and `cmdStop` is done, or by force."""

    async def force() -> None:
        await control.forced.wait()
        process.kill()
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(force)
        if process.status is None and not await _asked_by_command(model, port, process, guard):
            process.terminate()
        await process.wait()
        tasks.cancel_scope.cancel()


async def stop_what_is_left(
    model: ModelConfig, port: int | None, process: Process, control: Control, guard: Guard
) -> None:
    """Run `cmdStop` for an upstream that has died by itself, if that may have left something.

    A container goes on when its client is killed. A command that names the
    process has nobody to address any more.
    """
    if model.stop_argv(port, None) != model.stop_argv(port, process.pid):
        return
    async with anyio.create_task_group() as tasks:

        async def force() -> None:
            await control.forced.wait()
            tasks.cancel_scope.cancel()

        tasks.start_soon(force)
        await _asked_by_command(model, port, process, guard)
        tasks.cancel_scope.cancel()


async def _asked_by_command(model: ModelConfig, port: int | None, process: Process, guard: Guard) -> bool:
    """Run the model's `cmdStop` to its end; return whether it has one that could be started."""
    async with AsyncExitStack() as stack:
        try:
            argv = model.stop_argv(port, process.pid)
            if not argv:
                return False
            watched = stack.enter_context(guard.watch())
            environment = model.environment(os.environ, port)
            stopper = await stack.enter_async_context(
                running(argv, environment, name=model.id, mark=watched.mark)
            )
        except (OSError, ValueError) as error:
            logger.warning(
                "%s: cmdStop could not be started, SIGTERM is sent instead: %s", model.id, told(error)
            )
            return False
        await stopper.wait()
    if stopper.status != 0:
        logger.warning("%s: cmdStop %s", model.id, with_output(stopper.describe(), stopper))
    return True


async def until_free(model: ModelConfig, port: int | None, process: Process, guard: Guard) -> None:
    """Return when the model's `afterStop` says that what the run held is free, or its time is over.

    It is run again as long as it fails. Without one, what is gone is free.
    """
    if not model.after_stop:
        return
    said = "did not end"
    with anyio.move_on_after(model.after_stop_timeout):
        while True:
            try:
                argv = model.after_stop_argv(port, process.pid)
                environment = model.environment(os.environ, port)
                with guard.watch() as watched:
                    async with running(argv, environment, name=model.id, mark=watched.mark) as check:
                        await check.wait()
            except (OSError, ValueError) as error:
                logger.warning("%s: afterStop could not be started: %s", model.id, told(error))
                return
            if check.status == 0:
                return
            said = with_output(check.describe(), check)
            await anyio.sleep(RETRY_EVERY)
    logger.warning(
        "%s: afterStop has not succeeded within %g s; what the model held is taken to be free: it %s",
        model.id,
        model.after_stop_timeout,
        said,
    )


def with_output(detail: str, process: Process) -> str:
    """Add the last lines that a process has written, if there are any."""
    lines = process.output.last_lines()
    return f"{detail}\nits last output:\n{lines}" if lines else detail
