"""What is the least that loading can cost when the order of requests is fixed?

A dynamic programme over the sets of residents. Keeping more never costs more, as any set that is
allowed stays so when a model leaves it; therefore only the largest sets of residents that may stay
beside the target are tried, and only those states are kept that no larger one is as cheap as.
"""

import math

from tests.bench.optimum.suites import EvictionCase

__all__ = ["best_loading"]


def best_loading(case: EvictionCase) -> float:
    """Return the least sum of load times that serves the requests in their order, on demand."""
    bit = {name: 1 << place for place, name in enumerate(case.world.loads)}
    family = [sum(bit[name] for name in some) for some in case.world.sets]
    costs = {0: 0.0}
    keeps: dict[tuple[int, int], list[int]] = {}
    for target in case.order:
        room = [allowed for allowed in family if allowed & bit[target]]
        following: dict[int, float] = {}
        for resident, cost in costs.items():
            if resident & bit[target]:
                following[resident] = min(cost, following.get(resident, math.inf))
                continue
            known = keeps.get((resident, bit[target]))
            if known is None:
                known = keeps[resident, bit[target]] = _largest({resident & allowed for allowed in room})
            for kept in known:
                state = kept | bit[target]
                loaded = cost + case.world.loads[target]
                following[state] = min(loaded, following.get(state, math.inf))
        costs = _undominated(following)
    return min(costs.values())


def _largest(masks: set[int]) -> list[int]:
    return [one for one in masks if not any(one != other and one & other == one for other in masks)]


def _undominated(costs: dict[int, float]) -> dict[int, float]:
    """Drop each state that is part of another which is as cheap."""
    return {
        state: cost
        for state, cost in costs.items()
        if not any(
            state != larger and state & larger == state and other <= cost for larger, other in costs.items()
        )
    }
