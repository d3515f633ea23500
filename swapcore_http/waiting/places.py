"""Where does each caller who waits stand, and for how long yet?

Everybody who waits is looked at together, now and then, so that telling
thousands of them costs little more than telling one.
"""

import time
from collections.abc import Mapping

from attrs import define, field

from swapcore import TicketView
from swapcore_http.driver import Driver

__all__ = ["Place", "Places"]

LOOK_EVERY = 0.5
"""Seconds for which what was seen is good enough."""

SPARE = 50
"""Looking takes no more than one part in so many of the time, however many wait."""

Place = tuple[int, float]
"""How many are let through before a caller, itself included, and in how many seconds it is likely to be."""


@define(eq=False, repr=False)
class Places:
    """Looks at the queue of one driver."""

    _driver: Driver
    _seen: Mapping[int, TicketView] = field(factory=dict, init=False)
    _seen_at: float = field(default=0.0, init=False)
    _look_at: float = field(default=0.0, init=False)

    def of(self, ticket: int) -> Place | None:
        """Say where that ticket stands; `None` if it was not waiting when that was last looked at."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look(now)
        view = self._seen.get(ticket)
        if view is None:
            return None
        # What was seen holds for when the last event was handled, which can be a while ago.
        return view.position, max(0.0, view.estimate - (self._driver.now() - self._seen_at))

    def _look(self, now: float) -> None:
        snapshot = self._driver.snapshot()
        self._seen = {view.ticket: view for view in snapshot.tickets}
        self._seen_at = snapshot.now
        took = time.monotonic() - now
        self._look_at = now + max(LOOK_EVERY, SPARE * took)
