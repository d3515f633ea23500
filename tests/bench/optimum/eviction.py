"""How well is chosen what to evict, when the order of requests is fixed?

One request each second, served in no time; a model is loaded when it is asked for and not
resident. The planner sees what it always sees: the target, the residents, and a loss for each.
Only the loss differs between the policies.
"""

from collections.abc import Callable, Mapping

from attrs import define

from swapcore import Planner
from tests.bench.optimum.policies import planner_of
from tests.bench.optimum.suites import EvictionCase

__all__ = ["ENGINES_LOSS", "LOSSES", "Loss", "Past", "loading"]

SMOOTHING = 0.3
"""How much of a mean the newest gap makes up."""


@define
class Past:
    """What is known of one resident."""

    load: float
    """Its load time, in seconds."""

    asked_at: float
    """When it was last asked for."""

    gap: float | None = None
    """Mean seconds between two requests for it, the newer ones counting more; `None` before the second."""

    def ask(self, now: float) -> None:
        """Take note of one more request."""
        newest = now - self.asked_at
        self.gap = newest if self.gap is None else (1 - SMOOTHING) * self.gap + SMOOTHING * newest
        self.asked_at = now


Loss = Callable[[Past, float], float]
"""What evicting a resident would lose, given its past and its idle seconds."""


def _lowest_count(_past: Past, _idle: float) -> float:
    return 1.0


def _load_by_idle(past: Past, idle: float) -> float:
    return past.load / (1 + idle)


def _load_by_idle_and_gap(past: Past, idle: float) -> float:
    return past.load / (1 + idle + (idle if past.gap is None else past.gap))


ENGINES_LOSS = "load ÷ (1 + idle + usual gap)"
"""The one of them that the engine tells its planner."""

LOSSES: Mapping[str, Loss] = {
    "load ÷ (1 + idle)": _load_by_idle,
    "load ÷ (1 + idle + usual gap)": _load_by_idle_and_gap,
    "lowest count": _lowest_count,
}
"""The losses by the names that the report shows."""


def loading(case: EvictionCase, loss: Loss, planner: Planner | None = None) -> float:
    """Return the sum of the load times, in seconds, of serving the case."""
    planner = planner or planner_of(case.world)
    pasts: dict[str, Past] = {}
    resident: set[str] = set()
    total = 0.0
    for second, target in enumerate(case.order):
        now = float(second)
        if target not in resident:
            # Planners are given the residents in definition order.
            ordered = [name for name in case.world.loads if name in resident]
            losses = {name: loss(pasts[name], now - pasts[name].asked_at) for name in ordered}
            resident -= set(planner(target, ordered, losses).evict)
            resident.add(target)
            total += case.world.loads[target]
        if target in pasts:
            pasts[target].ask(now)
        else:
            pasts[target] = Past(case.world.loads[target], now)
    return total
