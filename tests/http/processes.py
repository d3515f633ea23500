"""Which processes has a test left behind, and what have they done so far?"""

import os
import uuid
from collections.abc import Callable

import anyio
import psutil

MARK = "SWAPCORE_TEST_MARK"


def mark(name: str = MARK) -> str:
    """Make an item for a process's environment by which it and all its children are found again."""
    return f"{name}={uuid.uuid4().hex}"


def strays(marked: str) -> list[int]:
    """List the living processes that carry the mark, whatever group or session they are in."""
    name, _, value = marked.partition("=")
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            # It went while we looked, or is another user's.
            continue
    return found


def called(pid: int) -> str:
    """Say what messages call that process."""
    return f"process {pid} ({psutil.Process(pid).name()})"


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process and it is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def open_files() -> int:
    """Count this process's file descriptors."""
    return psutil.Process(os.getpid()).num_fds()


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in another process and tells nobody."""
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for.
            await anyio.sleep(0.005)
