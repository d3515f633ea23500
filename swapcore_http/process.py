"""How is a command run in a process group of its own, and when is the whole group gone?"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread

from swapcore_http.output import Output

__all__ = ["Process", "running"]

LAST_WAIT = 5.0
"""Seconds that a killed group may take to go when its launcher is cancelled."""

FIRST_LOOK, LONGEST_LOOK = 0.001, 0.25
"""Seconds between looks at a killed group; each look waits twice as long as the one before."""

DEAD_STATES = "ZX"
"""A zombie holds nothing but its number: it waits for a parent that may never ask."""


PROC = Path("/proc")
"""Where Linux tells about processes; elsewhere `ps` is asked."""


class Process:
    """A running command, the leader of its process group.

    Made by `running`, which also ends it.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: Output) -> None:
        self._process = process
        self._started = time.monotonic()
        self._lived = 0.0
        self.output: Output = output

    @property
    def pid(self) -> int:
        """The number of the leader and of the group."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The leader's exit status, negative for a signal; `None` while it lives."""
        return self._process.returncode

    async def wait(self) -> None:
        """Return when the leader has exited, whatever its children do."""
        await self._process.wait()
        self._lived = self._lived or time.monotonic() - self._started
        self.output.drain()

    def terminate(self) -> None:
        """Ask the group to leave, if its leader still lives."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the group, if its leader still lives; `gone` kills what the leader leaves behind."""
        self._signal(signal.SIGKILL)

    async def gone(self) -> None:
        """Kill whatever outlives the leader, and return when the whole group is gone.

        Without limit: a process that cannot be killed keeps what it holds.
        """
        await self.wait()
        pause = FIRST_LOOK
        while _exists(self.pid) and await to_thread.run_sync(_has_living_members, self.pid):
            # Its last member may have gone since, or be another user's.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK)

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
    on_output: Callable[[], None] | None = None,
) -> AsyncIterator[Process]:
    """Run a command without a shell for as long as the context lasts.

    It gets no input, a session and process group of its own, and one pipe for
    both of its outputs. Leaving the context kills what is left of the group
    and waits until it is gone; if that is by an exception, a cancellation too,
    the wait is bounded.

    Raises:
        OSError: the command could not be started.
        ValueError: its words or its environment cannot be passed to a program.
    """
    output = Output(name, on_output)
    try:
        try:
            # Being cancelled half-way, nobody would know the group.
            with anyio.CancelScope(shield=True):
                child = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output.write_end,
                    stderr=output.write_end,
                    env=env,
                    start_new_session=True,
                )
        finally:
            output.close_write_end()
        process = Process(child, output)
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


def _exists(group: int) -> bool:
    """Tell whether the group has any member, be it a zombie."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Members under another user on Linux, zombies on macOS: the closer look tells.
        return True
    return True


def _has_living_members(group: int) -> bool:
    """Tell whether the group, whose leader has been reaped, has members that are not zombies."""
    alive = False
    for pid, pgid, state in _processes():
        if pid == group:
            # The number is free again, which it is not before the whole group is gone.
            return False
        alive = alive or (pgid == group and state not in DEAD_STATES)
    return alive


def _processes_of_proc() -> Iterator[tuple[int, int, str]]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_bytes()
            except OSError:
                # It went while we looked.
                continue
            # The name, in parentheses, may contain anything.
            state, _, pgid = stat.rpartition(b")")[2].split()[:3]
            yield int(entry.name), int(pgid), state.decode()


def _processes_of_ps() -> Iterator[tuple[int, int, str]]:
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid=,stat="],  # noqa: S607 - where POSIX puts it is the system's choice.
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
    )
    for line in listing.stdout.splitlines():
        pid, pgid, state = line.split()[:3]
        yield int(pid), int(pgid), state[:1]


_processes = _processes_of_proc if (PROC / "self" / "stat").exists() else _processes_of_ps
"""Lists all processes as number, group and state."""
