"""Children: their end is known at once, in whichever way the system tells it."""

import os
import signal
from collections.abc import Iterator

import anyio
import pytest

from swapcore_http.child import Child
from tests.http.processes import open_files

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["file", "thread"])
def output(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Give somewhere to write to; what tells of ends is a file or a thread. Nothing stays open."""
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open")
    files = open_files()
    with open(os.devnull, "wb") as null:  # noqa: PTH123 - the number of a file.
        yield null.fileno()
    assert open_files() <= files


async def test_the_end_is_known_and_how_it_came(output: int) -> None:
    child = Child(["/bin/sh", "-c", "exit 7"], {}, output)
    with anyio.fail_after(60):
        await child.wait()
    assert child.status == 7


async def test_as_long_as_it_lives_it_has_no_status_and_a_session_of_its_own(output: int) -> None:
    child = Child(["/bin/sleep", "1000"], {}, output)
    assert child.status is None
    assert os.getsid(child.pid) == child.pid
    os.killpg(child.pid, signal.SIGKILL)
    with anyio.fail_after(60):
        await child.wait()
        # Whoever comes late need not wait.
        await child.wait()
    assert child.status == -signal.SIGKILL


async def test_several_may_wait(output: int) -> None:
    child = Child(["/bin/sleep", "1000"], {}, output)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child.wait)
            tasks.start_soon(child.wait)
            await anyio.wait_all_tasks_blocked()
            os.kill(child.pid, signal.SIGTERM)
    assert child.status == -signal.SIGTERM


async def test_what_cannot_be_started_says_what_it_is(output: int) -> None:
    with pytest.raises(FileNotFoundError, match="'/no/such/program'"):
        Child(["/no/such/program"], {}, output)
    with pytest.raises(ValueError, match="null"):
        Child(["/bin/echo", "a\0b"], {}, output)
