"""How is the engine told what happens, and how does it answer?

`Engine.handle` works in the same steps for every event: it refuses misuse
before touching anything, records the fact, expires what is due, and then
settles: it derives from the whole state everything that should happen now.
Each rule stands in one place, whatever event made it matter.
"""

import copy
import math

from swapcore.catalog import Catalog
from swapcore.collation import Policy
from swapcore.commands import Command
from swapcore.events import Event
from swapcore.facts import absorb, expire
from swapcore.invariants import check_state
from swapcore.misuse import refuse_misuse
from swapcore.orders import Orders
from swapcore.planning import Planner, one_at_a_time
from swapcore.settings import Settings
from swapcore.settling import settle
from swapcore.snapshot import Snapshot, take_snapshot
from swapcore.state import State

__all__ = ["Engine"]


class Engine:
    """Decides which upstreams run and who is let through to them.

    It is a state machine without I/O, clock, callbacks or randomness: facts go
    in through `handle`, orders come out of it, and `deadline` says when the
    next `Tick` is due. The same events at the same times always give the same
    commands.

    Args:
        catalog: The models there are.
        planner: Says what must leave so that a model fits; by default all others.
        policy: The dials of collation.
        max_queue: Callers who may wait in all; one more is refused.
        shutdown_timeout: Seconds that leases may outlast a draining shutdown.
        reload_drain_timeout: Seconds that leases may outlast a new catalog
            that their model is not part of, or changed in.
        caller_share: The part of each queue that the tickets of one caller may
            hold: see `Settings`.

    Raises:
        ValueError: `caller_share` is not above 0 and at most 1.
    """

    def __init__(
        self,
        catalog: Catalog,
        planner: Planner = one_at_a_time,
        *,
        policy: Policy | None = None,
        max_queue: int = 100_000,
        shutdown_timeout: float = 30.0,
        reload_drain_timeout: float = math.inf,
        caller_share: float = 1.0,
    ) -> None:
        settings = Settings(
            policy=policy or Policy(),
            max_queue=max_queue,
            shutdown_timeout=shutdown_timeout,
            reload_drain_timeout=reload_drain_timeout,
            caller_share=caller_share,
        )
        self._state = State(catalog, planner, settings)

    @property
    def deadline(self) -> float | None:
        """When to report the next `Tick`, if nothing else is reported before; `None` for never."""
        state = self._state
        at = min(*state.deadlines.values(), state.wake) if state.deadlines else state.wake
        return at if at < math.inf else None

    @property
    def finished(self) -> bool:
        """Whether a shutdown was requested and every run is over."""
        return self._state.shutdowns > 0 and not self._state.runs

    def lets_in(self, model: str) -> bool:
        """Tell whether a caller of that model whose arrival is the next event is let through at once.

        For integrators who serve such a caller in another way than one who may have to wait.
        """
        return self._state.open_place(model) is not None

    def snapshot(self, *, tickets: bool = True) -> Snapshot:
        """Describe the state as it is now; for showing, never for deciding.

        Args:
            tickets: Whether to list those who wait, which takes time in proportion to them.
        """
        return take_snapshot(self._state, tickets=tickets)

    def handle(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take in a fact and return what is to be done about it, in order.

        Args:
            event: What has happened.
            now: When, in seconds on any clock that never goes back.

        Raises:
            MisuseError: the fact is impossible; nothing has changed.
        """
        state = self._state
        refuse_misuse(state, event, now)
        state.now = now
        orders = Orders(state)
        absorb(state, orders, event)
        # What settling orders can itself be due at once, where a limit is 0.
        while expire(state, orders) or state.unsettled:
            settle(state, orders)
        return tuple(orders.given)

    def check(self) -> None:
        """Verify the whole state, and that nothing more is to be done in it.

        For tests and simulations: it costs many times what an event does.

        Raises:
            AssertionError: something is wrong, which is a bug of the engine.
        """
        check_state(self._state)
        # What never changes is shared with the copy.
        fixed = (self._state.catalog, self._state.planner, self._state.settings)
        twin = copy.deepcopy(self._state, {id(one): one for one in fixed})
        orders = Orders(twin)
        settle(twin, orders)
        assert not orders.given, f"left undone: {orders.given}"
        # A caller who has left can make it wake too early, which costs nothing.
        assert self._state.wake <= twin.wake, f"would sleep until {self._state.wake}, past {twin.wake}"
