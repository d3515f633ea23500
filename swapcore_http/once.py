"""How does one task wait for what happens once, at little cost?

Of thousands of callers who wait, each holds one of these for itself. An
`anyio.Event` has room for many who wait for it, which takes five times as much.
"""

import asyncio
from collections.abc import Generator
from typing import Any, Protocol

import anyio

__all__ = ["Once", "once"]


class Once(Protocol):
    """What one task may await, whether it has happened or is yet to."""

    def happen(self) -> None:
        """Let whoever awaits it go on; a second time changes nothing."""

    def __await__(self) -> Generator[Any, Any, None]:
        """Wait until it has happened."""


class _Future:
    """On asyncio, and on uvloop: a future is all it takes."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def happen(self) -> None:
        # If whoever waited was cancelled, so was this.
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, Any, None]:
        return self._future.__await__()


class _Event:
    """On any other event loop that anyio knows."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def happen(self) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._event.wait().__await__()


def once() -> Once:
    """Make one, for a task of the event loop that is running."""
    return _Future() if anyio.get_cancelled_exc_class() is asyncio.CancelledError else _Event()
