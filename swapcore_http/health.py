"""Can the server serve, and if not, why?

Who waits is served in bounded time. A server that lets somebody wait for
longer has come to a standstill, whatever the reason, and should get no more
requests: whoever looks after it can then start it anew.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

from swapcore import BecameReady, Exited, Phase, Start, Stop, TicketView
from swapcore.orders import STUCK_AFTER
from swapcore_http.driver import Driver, Observation
from swapcore_http.peers import Peers
from swapcore_http.present import Present

__all__ = ["Health", "Verdict"]

LATE = 5.0
"""Seconds by which the driver may be behind its own deadline."""


BEAT: Final = 0.25
"""Seconds between two looks at how late the event loop is."""

REMEMBERED: Final = int(60 / BEAT)
"""How many of these looks are remembered: a minute."""


@frozen(eq=False, repr=False)
class Verdict:
    """How the server is."""

    ready: bool
    """Whether it should be asked for anything."""

    reasons: tuple[str, ...]
    """Why not, or what is amiss though it is."""

    waiting: int
    """Callers who wait."""

    oldest_wait: float
    """How many seconds the oldest of them has waited."""

    loop_lag: float
    """By how many seconds at most the event loop was late in the last minute: so long all stood still."""


@define(eq=False, repr=False)
class Health:
    """Looks at one server.

    Args:
        driver: The driver, which is to be watched by `observe`.
        present: The owner of the configuration.
        peers: What is known of the peers.
    """

    driver: Driver
    present: Present
    peers: Peers
    _lags: deque[float] = field(factory=lambda: deque(maxlen=REMEMBERED), init=False)
    _moved_at: float = field(default=-math.inf, init=False)

    def observe(self, step: Observation) -> None:
        """Take note of when a run was last begun, ready, told to end, or over."""
        if isinstance(step.event, BecameReady | Exited) or any(
            isinstance(command, Start | Stop) for command in step.commands
        ):
            self._moved_at = step.now

    async def listen(self) -> None:
        """Go on looking how late the event loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            self._lags.append(max(0.0, loop.time() - due))

    def verdict(self) -> Verdict:
        """Say how the server is now."""
        snapshot = self.driver.snapshot()
        now = self.driver.now()
        wrong = list(self._wrong(now))
        stuck = [
            f"{view.model} (run {view.run}) was killed and is not gone; what it holds is not free"
            for view in snapshot.upstreams
            if view.stuck
        ]
        silent = [
            f"the peer {peer} does not answer: {why}"
            for peer, why in self.peers.silent().items()
            if peer in self.present.config.peers
        ]
        oldest = max((now - snapshot.now + ticket.waited for ticket in snapshot.tickets), default=0.0)
        lag = round(max(self._lags, default=0.0), 4)
        return Verdict(not wrong, (*wrong, *stuck, *silent), len(snapshot.tickets), oldest, lag)

    def _wrong(self, now: float) -> Iterator[str]:
        snapshot = self.driver.snapshot()
        if self.driver.failed:
            yield "the engine failed; the server is ending"
            return
        if snapshot.shutting_down:
            yield "the server is shutting down"
            return
        if self.driver.late > LATE:
            yield f"the driver is {self.driver.late:.1f} s behind"
        slack = sum(
            self._longest_change(view.model)
            for view in snapshot.upstreams
            if view.phase is not Phase.STOPPED or view.waiting
        )
        for ticket in snapshot.tickets:
            over = now - max(self._due(ticket), self._moved_at) - slack - self.driver.oldest_lease
            if over > 0:
                waited = now - snapshot.now + ticket.waited
                yield f"a request for {ticket.model} has waited {waited:.0f} s, {over:.0f} s over its bound"
                return

    def _due(self, ticket: TicketView) -> float:
        return math.inf if ticket.due is None else ticket.due

    def _longest_change(self, model: str) -> float:
        """Say how many seconds it takes at most until a model has left, and come up again."""
        config = self.present.config
        if model not in config.models:
            return STUCK_AFTER
        return config.start_timeout(model) + config.stop_timeout(model) + STUCK_AFTER
