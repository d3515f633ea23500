"""How is a command run in a process group of its own, and when is all that it started gone?"""

import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import anyio
from anyio import to_thread

from swapcore_http.child import Child
from swapcore_http.guard.table import MARK, processes
from swapcore_http.output import Output

__all__ = ["Process", "running"]

LAST_WAIT = 5.0
"""Seconds that a killed group may take to go when its launcher is cancelled."""

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.25
"""Seconds between looks at a killed group; each look waits twice as long as the one before."""


class Process:
    """A running command, the leader of its process group.

    Made by `running`, which also ends it.
    """

    def __init__(self, child: Child, output: Output, mark: str) -> None:
        self._child = child
        self._mark = mark
        self._started = time.monotonic()
        self._lived = 0.0
        self._gone = False
        self.output: Output = output

    @property
    def pid(self) -> int:
        """The number of the leader and of the group."""
        return self._child.pid

    @property
    def status(self) -> int | None:
        """The leader's exit status, negative for a signal; `None` while it lives."""
        return self._child.status

    async def wait(self) -> None:
        """Return when the leader has exited, whatever its children do."""
        await self._child.wait()
        self._lived = self._lived or time.monotonic() - self._started
        self.output.drain()

    def terminate(self) -> None:
        """Ask the group to leave, if its leader still lives."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the group, if its leader still lives; `gone` kills what the leader leaves behind."""
        self._signal(signal.SIGKILL)

    async def gone(self) -> None:
        """Kill whatever outlives the leader, and return when all of it is gone.

        That is the group and, beyond it, what carries the mark. Without limit:
        a process that cannot be killed keeps what it holds.
        """
        await self.wait()
        pause = FIRST_LOOK
        known: set[tuple[int, str]] = set()
        while not self._gone and await to_thread.run_sync(_kill_rest, self.pid, self._mark, known):
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)
        self._gone = True

    def describe(self) -> str:
        """Say how the leader ended, and after how long."""
        status = self.status
        if status is None:
            return "is still running"
        if status >= 0:
            how = f"exited with status {status}"
        else:
            try:
                how = f"killed by {signal.Signals(-status).name}"
            except ValueError:
                how = f"killed by signal {-status}"
        return f"{how} after {self._lived:.1f} s"

    def _signal(self, number: signal.Signals) -> None:
        # Once the leader is reaped, its number may be another's.
        if self.status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


@asynccontextmanager
async def running(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    name: str,
    mark: str = "",
    on_output: Callable[[], None] | None = None,
) -> AsyncIterator[Process]:
    """Run a command without a shell for as long as the context lasts.

    It gets no input, a session and process group of its own, and one pipe for
    both of its outputs. Leaving the context kills what is left of the group
    and waits until it is gone; if that is by an exception, a cancellation too,
    the wait is bounded. A mark is put into its environment, and then whatever
    carries it is killed as well, in whichever group it is.

    Raises:
        OSError: the command could not be started.
        ValueError: its words or its environment cannot be passed to a program.
    """
    output = Output(name, on_output)
    try:
        try:
            child = Child(argv, {**env, MARK: mark} if mark else env, output.write_end)
        finally:
            output.close_write_end()
        process = Process(child, output, mark)
        try:
            yield process
            process.kill()
            await process.gone()
        except BaseException:
            process.kill()
            with anyio.move_on_after(LAST_WAIT, shield=True):
                await process.gone()
            raise
    finally:
        output.close()


def _kill_rest(group: int, mark: str, known: set[tuple[int, str]]) -> bool:
    """Kill what is left of a group whose leader has been reaped, and all with that mark.

    Args:
        group: The group.
        mark: The mark; empty for none.
        known: What was found before, by numbers and times of start. One that
            ends loses its environment, and with it the mark, before its files.

    Returns:
        Whether there was any.
    """
    entries = processes()
    # A number is free again only when the whole group is gone: then it is somebody else's.
    is_ours = not any(entry.pid == group for entry in entries)
    left = [
        entry
        for entry in entries
        if entry.alive
        and (
            (is_ours and entry.group == group)
            or (mark and entry.mark == mark)
            or (entry.pid, entry.started) in known
        )
    ]
    known.update((entry.pid, entry.started) for entry in left)
    if is_ours and any(entry.group == group for entry in left):
        # At once, so that none of them can start another meanwhile.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for entry in left:
        # It may have gone since, or be another user's.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(entry.pid, signal.SIGKILL)
    return bool(left)
