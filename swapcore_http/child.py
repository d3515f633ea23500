"""How is a child process started, and how is it known at once that it has exited?

Not by the means of the event loop: uvloop copies what describes the memory of
the whole server for each child, which holds up everybody for milliseconds, and
tells less of what could not be started. `subprocess` copies nothing. Of the end
of a child Linux tells by a file that can be waited for like any other;
elsewhere a thread waits for it.
"""

import asyncio
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio

__all__ = ["Child"]


class Child:
    """A process in a session of its own; until it has exited and is reaped, its number is nobody else's.

    It has to be started where an event loop runs.

    Args:
        argv: Its words.
        env: Its environment.
        output: The number of the file that it writes to, both what is meant for stdout and for stderr.

    Raises:
        OSError: it could not be started.
        ValueError: its words or its environment cannot be passed to a program.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], output: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - it is what the configuration names.
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, start_new_session=True
        )
        self._loop = asyncio.get_running_loop()
        self._exited = anyio.Event()
        try:
            self._end = _end_of(self._process.pid)
        except OSError:
            threading.Thread(target=self._wait, name=f"end of {self.pid}", daemon=True).start()
        else:
            self._loop.add_reader(self._end, self._reap)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; `None` until it has been reaped."""
        return self._process.returncode

    async def wait(self) -> None:
        """Return when it has exited."""
        await self._exited.wait()

    def _reap(self) -> None:
        if self._process.poll() is not None:
            self._loop.remove_reader(self._end)
            os.close(self._end)
            self._exited.set()

    def _wait(self) -> None:
        self._process.wait()
        # Whoever waited may have given up, and the loop with it.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._exited.set)


def _end_of(pid: int) -> int:
    """Open the file that can be read when that process has exited.

    Raises:
        OSError: there are no such files here, or no more of them.
    """
    if not hasattr(os, "pidfd_open"):
        raise OSError("the system has no such files")
    return os.pidfd_open(pid)
