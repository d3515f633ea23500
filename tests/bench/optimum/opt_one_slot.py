"""What is the best that any schedule can do with room for one model?

`frontier` sets labels layer by layer: a state says how many requests of each model have been
served and which model is resident; a label of it says when the slot is free and what the objective
has come to. Only labels are kept that no other is at least as good as in both.

The rules, which the policies measured against it keep too:

- The callers of one model are served in their order of arrival, one at a time. (Short services
  first would lower Σ wait further: the optimum is the one among first-come-first-served lines.)
- Bringing a model in costs O = stop + load; the first one only its load, as nothing is resident.
- On demand, the default: a swap begins no sooner than the request it is for has arrived. Clairvoyant:
  it may begin before, if the slot is free.
- The slot may stay idle, and callers may be kept waiting, for the sake of those who come later.
- Makespan is counted from second 0 of the trace to the last end of a service.
"""

import math
from collections.abc import Callable

from tests.bench.optimum.suites import Trace

__all__ = ["Label", "Value", "best_load_cost", "best_makespan", "best_total_wait", "frontier"]

Label = tuple[float, float]
"""When the slot is free, and what the objective has come to."""

Value = Callable[[float, float], float]
"""What serving one request adds to the objective, given its wait and what was spent on a swap for it.

Infinite: it may not be served like that.
"""


def best_makespan(trace: Trace, *, on_demand: bool = True) -> float:
    """Return the earliest second at which all can have been served."""
    return frontier(trace, lambda _wait, _overhead: 0.0, on_demand=on_demand)[0][0]


def best_total_wait(trace: Trace, *, on_demand: bool = True) -> float:
    """Return the least sum of all waits, in seconds."""
    return frontier(trace, lambda wait, _overhead: wait, on_demand=on_demand)[-1][1]


def best_load_cost(trace: Trace, wait_cap: float = math.inf, *, on_demand: bool = True) -> float:
    """Return the least seconds spent on swaps if nobody waits longer than the cap.

    Infinite if no schedule keeps the cap.
    """

    def overhead_if_in_time(wait: float, overhead: float) -> float:
        return overhead if wait <= wait_cap else math.inf

    labels = frontier(trace, overhead_if_in_time, on_demand=on_demand)
    return labels[-1][1] if labels else math.inf


def frontier(trace: Trace, value: Value, *, on_demand: bool = True) -> list[Label]:
    """Return the labels at the end that no other is as good as: times rise, values fall.

    Empty if every schedule has an infinite value.
    """
    names = tuple(trace.world.loads)
    loads = tuple(trace.world.loads.values())
    lines = [[one for one in trace.requests if one.model == name] for name in names]
    stop = trace.world.stop
    nobody = -1
    layer: dict[tuple[tuple[int, ...], int], list[Label]] = {((0,) * len(names), nobody): [(0.0, 0.0)]}
    for _ in trace.requests:
        following: dict[tuple[tuple[int, ...], int], list[Label]] = {}
        for (served, resident), labels in layer.items():
            for model, line in enumerate(lines):
                count = served[model]
                if count == len(line):
                    continue
                request = line[count]
                overhead = 0.0 if model == resident else loads[model] + (0.0 if resident == nobody else stop)
                state = (*served[:model], count + 1, *served[model + 1 :]), model
                reached = following.setdefault(state, [])
                for free, so_far in labels:
                    begin = (
                        max(free, request.at) + overhead if on_demand else max(free + overhead, request.at)
                    )
                    total = so_far + value(begin - request.at, overhead)
                    if total < math.inf:
                        reached.append((begin + request.service, total))
        layer = {state: _undominated(labels) for state, labels in following.items()}
    return _undominated([label for labels in layer.values() for label in labels])


def _undominated(labels: list[Label]) -> list[Label]:
    labels.sort()
    kept: list[Label] = []
    best = math.inf
    for label in labels:
        if label[1] < best:
            best = label[1]
            kept.append(label)
    return kept
