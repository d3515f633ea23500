"""Does a test leave anything behind: a process, a socket, a task, a lease or a temporary file?

    async with leaving_nothing():
        ...  # start servers and upstreams, and break them

`tests/http/faults` puts every one of its tests into such a block.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from attrs import define

from swapcore_http.driver import Driver
from tests.http.processes import mark, open_files, strays

AROUND = "SWAPCORE_TEST_AROUND"
"""Another variable than the one that single servers and runs are marked with."""

PATIENCE = 10.0
"""Seconds that what is on its way out may take: sockets close in a later turn of the loop."""


@define
class Surroundings:
    """What a block that leaves nothing gives to those inside."""

    marked: str
    """An item that is in the environment of all processes that are started inside."""

    temporary: Path
    """Where temporary files go."""

    runtime: Path
    """Where servers note what they have running."""

    drivers: list[Driver]
    """The drivers that were made inside."""

    def left(self, files: int, tasks: "set[asyncio.Task[object]]") -> dict[str, object]:
        """Say what is there that should not be."""
        coroutines = [str(each.get_coro()) for each in asyncio.all_tasks() - tasks if not each.done()]
        found = {
            "processes": strays(self.marked),
            "open files": max(0, open_files() - files),
            # In one of its own the test runner asks for this very look.
            "tasks": [each for each in coroutines if "TestRunner." not in each],
            "leases": [lease for driver in self.drivers for lease in driver._leases],
            "temporary files": sorted(str(path) for path in self.temporary.rglob("*") if path.is_file()),
            "lives": sorted(path.name for path in self.runtime.rglob("*") if path.is_file()),
        }
        return {what: there for what, there in found.items() if there}


@asynccontextmanager
async def leaving_nothing(folder: Path) -> AsyncIterator[Surroundings]:
    """Fail if what happens inside leaves anything behind.

    Args:
        folder: An empty folder of the test's own.
    """
    temporary, runtime = folder / "temporary", folder / "runtime"
    temporary.mkdir()
    runtime.mkdir(mode=0o700)
    around = Surroundings(mark(AROUND), temporary, runtime, [])
    with pytest.MonkeyPatch.context() as patch:
        name, _, value = around.marked.partition("=")
        for variable, text in ((name, value), ("TMPDIR", temporary), ("XDG_RUNTIME_DIR", runtime)):
            patch.setenv(variable, str(text))
        patch.setattr(tempfile, "tempdir", str(temporary))
        made = Driver.__init__

        def note(driver: Driver, *arguments: object, **named: object) -> None:
            made(driver, *arguments, **named)  # type: ignore[arg-type]
            around.drivers.append(driver)

        patch.setattr(Driver, "__init__", note)
        tasks = asyncio.all_tasks()
        files = open_files()
        try:
            yield around
            with anyio.move_on_after(PATIENCE):
                while around.left(files, tasks):  # noqa: ASYNC110 - nobody tells when the last of it has gone.
                    await anyio.sleep(0.01)
            if left := around.left(files, tasks):
                pytest.fail(f"this is left: {left}")
        finally:
            for pid in strays(around.marked):
                os.kill(pid, 9)
