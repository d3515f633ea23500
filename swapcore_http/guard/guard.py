"""How does the server see to it that nothing it starts outlives it?

    guard = Guard()
    async with guard.watching():
        await guard.up()
        with guard.watch() as watched:
            ...  # start a process with watched.mark, then say watched.leads(pid)

Every process is known from before it is spawned until its group is gone. None
of this ever keeps a model from being served: what cannot be guarded is warned
of and runs all the same.
"""

import asyncio
import itertools
import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from anyio import to_thread
from attrs import define, field

from swapcore_http.guard import registry
from swapcore_http.guard.registry import Life, Run
from swapcore_http.guard.table import place, start_time
from swapcore_http.oserrors import told

__all__ = ["Guard", "Watched"]

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[2]
"""From where the watchdog imports this package, and nothing else."""

SCRIPT = (
    "import sys; sys.path.append(sys.argv.pop(1));"
    "from swapcore_http.guard.watchdog import main; main(sys.argv[1:])"
)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0
"""Seconds before a watchdog that has died is replaced; each time twice as long, unless it had lived long."""

SWEEP_AFTER = 0.1
"""Seconds until what earlier lives have left is looked for, unless something is to be started before."""

LAST_WAIT = 5.0
"""Seconds that the watchdog may take to go when nothing is left to watch."""

MOST_UNREAD = 4 * 1024 * 1024
"""Bytes that a watchdog may leave unread; one that reads no more is replaced."""


@define(eq=False, repr=False)
class Watched:
    """One process that is being guarded, with all that it starts."""

    mark: str
    """What it carries in its environment, as the value of `table.MARK`."""

    _change: Callable[[str, int, str], None]

    async def leads(self, pid: int) -> None:
        """Say which process it is, once it is there."""
        # Known at once, and more exactly a moment later: elsewhere than on Linux looking takes a while.
        self._change(self.mark, pid, "")
        self._change(self.mark, pid, await to_thread.run_sync(start_time, pid))


@define(eq=False, repr=False)
class Guard:
    """One life of a server: its id, what it has running, and its watchdog.

    Without `watching` the processes are marked and found, but nobody survives
    the server to end them.
    """

    life: str = field(factory=lambda: secrets.token_hex(registry.LIFE_DIGITS // 2), init=False)
    """The id of this life."""

    _runs: dict[str, Run] = field(factory=dict, init=False)
    _numbers: "itertools.count[int]" = field(factory=lambda: itertools.count(1), init=False)
    _wanted: anyio.Event | None = field(default=None, init=False)
    _up: anyio.Event | None = field(default=None, init=False)
    _watchdog: asyncio.subprocess.Process | None = field(default=None, init=False)
    _where: str = field(default="", init=False)
    _file: int = field(default=-1, init=False)
    _place: str = field(default="", init=False)
    _started: str = field(default="", init=False)

    @contextmanager
    def watch(
        self, stop: Sequence[str] = (), *, grace: float = 0.0, env: Mapping[str, str] | None = None
    ) -> Iterator[Watched]:
        """Guard one process from before it is spawned until the block is left.

        Args:
            stop: The words of the command that stops it, with `${PID}` as it
                stands; empty for a signal.
            grace: Seconds that command and process may then take.
            env: What the command finds in its environment besides ours.
        """
        mark = f"{self.life}.{next(self._numbers)}"
        secret = tuple((env or {}).items()) if stop else ()
        self._runs[mark] = Run(mark, stop=tuple(stop), grace=grace, env=secret)
        self._tell()
        try:
            yield Watched(mark, self._change)
        finally:
            del self._runs[mark]
            self._tell()

    @property
    def is_up(self) -> bool:
        """Whether `up` would return at once."""
        return self._up is None or self._up.is_set()

    async def up(self) -> None:
        """Return when a watchdog is there, or cannot be had, and what earlier lives have left is gone."""
        if self._wanted is not None and self._up is not None:
            self._wanted.set()
            await self._up.wait()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """End what earlier lives have left; keep a watchdog from the first `up` to the end of the block."""
        self._wanted, self._up = anyio.Event(), anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep)
                yield
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._dismiss()

    def _change(self, mark: str, pid: int, started: str) -> None:
        if mark in self._runs:
            self._runs[mark] = self._runs[mark]._replace(pid=pid, started=started)
            self._tell()

    async def _keep(self) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        # Who starts the server waits for its first answer, and nobody yet for this.
        with anyio.move_on_after(SWEEP_AFTER):
            await wanted.wait()
        try:
            self._where = await to_thread.run_sync(_swept_folder, abandon_on_cancel=True)
            self._file = await to_thread.run_sync(registry.create, self._where, self.life)
        except OSError as error:
            logger.warning(
                "no file can be made for what runs: if the watchdog dies too, nothing is found again: %s",
                told(error),
            )
        await wanted.wait()
        self._place, self._started = place(), start_time(os.getpid())
        pause = FIRST_PAUSE
        while True:
            begun = anyio.current_time()
            try:
                await self._watch_over()
            except OSError as error:
                logger.warning(
                    "no watchdog can be started, without which upstreams may outlive a crash: %s", told(error)
                )
            else:
                logger.warning("the watchdog has died; another one takes its place")
            self._declare_up()
            if anyio.current_time() - begun > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _watch_over(self) -> None:
        """Start a watchdog and return when it has died."""
        # Being cancelled half-way, nobody would know it.
        with anyio.CancelScope(shield=True):
            self._watchdog = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", "-c", SCRIPT, str(ROOT), self.life, self._where, str(self._file)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                pass_fds=() if self._file < 0 else (self._file,),
            )
        process = self._watchdog
        if process is None:
            return
        self._tell()
        self._declare_up()
        while process.stdout is not None and (line := await process.stdout.readline()):
            logger.warning("watchdog: %s", line.decode("utf-8", "replace").rstrip())
        await process.wait()
        self._forget(process)

    def _declare_up(self) -> None:
        if self._up is not None:
            self._up.set()

    def _forget(self, process: asyncio.subprocess.Process) -> None:
        self._watchdog = None
        if process.stdin is not None:
            process.stdin.close()

    def _tell(self) -> None:
        """Say to the watchdog all that is running."""
        process = self._watchdog
        if process is None or process.stdin is None:
            return
        life = Life(self.life, self._place, os.getpid(), self._started, tuple(self._runs.values()))
        line = registry.encode(life, secrets=False) + b"\t" + registry.encode(life, secrets=True) + b"\n"
        process.stdin.write(line)
        if process.stdin.transport.get_write_buffer_size() > MOST_UNREAD:
            with suppress(ProcessLookupError):
                process.kill()

    async def _dismiss(self) -> None:
        """Let the watchdog go, which takes with it whatever is left."""
        self._wanted = self._up = None
        process = self._watchdog
        if process is not None and process.stdin is not None:
            # It clears up, and waits for nobody.
            process.stdin.close()
            with anyio.move_on_after(LAST_WAIT):
                await process.wait()
            self._watchdog = None
        elif self._file >= 0 and not self._runs:
            with suppress(OSError):
                os.unlink(registry.path_of(self._where, self.life))
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _swept_folder() -> str:
    """Find the folder of lives and end what dead ones have left; in a thread."""
    # What most of the time finds nothing to do is not to be waited for by who starts a server.
    from swapcore_http.guard.folder import folder  # noqa: PLC0415
    from swapcore_http.guard.sweep import sweep  # noqa: PLC0415

    where = folder()
    sweep(where, os.environ)
    return where
