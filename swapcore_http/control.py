"""What do a launcher and the driver tell each other about one run?"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from attrs import define, field

from swapcore import BecameReady, Lost, Progressed, Start, Stop, StopReason

if TYPE_CHECKING:
    from swapcore_http.driver import Driver
    from swapcore_http.lease import Lease

__all__ = ["Control", "Launch"]


@define(eq=False, repr=False)
class Control:
    """A launcher's line to the driver, for one run."""

    stopping: anyio.Event = field(factory=anyio.Event, init=False)
    """Set when the run has been told to end: ask the upstream to leave."""

    forced: anyio.Event = field(factory=anyio.Event, init=False)
    """Set when its time for that is over: kill it."""

    reason: StopReason | None = field(default=None, init=False)
    """Why it was told to end, once it was."""

    output: Callable[[], str] = field(default=str, init=False)
    """Set by a launcher that can: returns the upstream's last lines, for callers whose start has failed."""

    _model: str
    _run: int
    _driver: "Driver"
    _url: str | None = field(default=None, init=False)
    _leases: dict[int, "Lease"] = field(factory=dict, init=False)
    _exited: anyio.Event = field(factory=anyio.Event, init=False)

    def ready(self, url: str) -> None:
        """Say, once, that the upstream answers at this base URL."""
        self._url = url
        self._driver.report(BecameReady(self._model, self._run))

    def progressed(self) -> None:
        """Say that the start is getting on."""
        self._driver.report(Progressed(self._model, self._run))

    def lost(self, detail: str) -> None:
        """Say that the upstream answers no more, while what it held is still being freed."""
        self._cut(detail)
        self._driver.report(Lost(self._model, self._run, detail))

    def _cut(self, detail: str) -> None:
        for lease in tuple(self._leases.values()):
            lease._cut(detail)
        for tell in self._driver._on_leaving:
            tell(self._run)

    def _told(self, stop: Stop) -> None:
        self.reason = stop.reason
        self.stopping.set()
        if stop.force:
            self.forced.set()
        self._cut(f"{self._model} is being stopped ({stop.reason.value})")


Launch = Callable[[Start, Control], Awaitable[str]]
"""One run of one upstream, from spawn to exit, as a coroutine function.

It calls `control.ready(url)` once when the upstream answers, ends it when
`control.stopping` is set and kills it when `control.forced` is, calls
`control.lost(detail)` if the upstream dies by itself, and returns a word for
people when all that the run held is free. Being cancelled it kills the
upstream before it lets the cancellation pass. It is not called at all for a run
that is told to end before it could be.
"""
