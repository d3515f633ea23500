"""What is the best that any schedule can do when several models may live together?

The one-slot optimum with more state: how many requests of each model have been served, and which
models are resident. A label says until when each resident is busy, when the next load may begin, and
what the objective has come to; it is dropped if another is at least as good in every component.

The rules are those of the one-slot optimum, and:

- Each upstream serves one caller at a time, and all of them at the same time.
- One model is loaded at a time. With `parallel_loads` the next load may begin as soon as the one before
  has begun, never sooner: what is resident then is known.
- A load begins when its request has arrived, the loader is free and every evicted model is idle. What is
  evicted stops at once and together, so the load waits for the stop time once, and not at all if
  nothing is evicted.
- Where stopping takes time, models may be evicted beside those that have to be: the stop is paid for
  already, and the next swap may then need none. Without stop times only the largest sets of
  residents that may stay are tried, as keeping more then never costs anything.
"""

import math
from collections.abc import Iterator
from itertools import combinations

from tests.bench.optimum.opt_one_slot import Value
from tests.bench.optimum.suites import Request, Trace

__all__ = ["best_makespan", "best_total_wait"]

Label = tuple[float, ...]
"""Until when each resident is busy, in definition order; when the next load may begin; the objective."""

State = tuple[tuple[int, ...], tuple[int, ...]]
"""How many of each model's requests have been served, and which models are resident."""


def best_makespan(trace: Trace, *, parallel_loads: bool = False) -> float:
    """Return the earliest second at which all can have been served."""
    labels = _frontier(trace, lambda _wait, _overhead: 0.0, parallel_loads=parallel_loads)
    # Whoever was evicted was idle before a load that some resident's service ended after.
    return min(max(label[:-2]) for label in labels)


def best_total_wait(trace: Trace, *, parallel_loads: bool = False) -> float:
    """Return the least sum of all waits, in seconds."""
    labels = _frontier(trace, lambda wait, _overhead: wait, parallel_loads=parallel_loads)
    return min(label[-1] for label in labels)


def _frontier(trace: Trace, value: Value, *, parallel_loads: bool) -> list[Label]:
    names = tuple(trace.world.loads)
    loads = tuple(trace.world.loads.values())
    lines = [[one for one in trace.requests if one.model == name] for name in names]
    family = [frozenset(names.index(name) for name in some) for some in trace.world.sets]
    layer: dict[State, list[Label]] = {((0,) * len(names), ()): [(0.0, 0.0)]}
    for _ in trace.requests:
        following: dict[State, list[Label]] = {}
        for (served, resident), labels in layer.items():
            for model, line in enumerate(lines):
                if served[model] == len(line):
                    continue
                request = line[served[model]]
                after = (*served[:model], served[model] + 1, *served[model + 1 :])
                horizon = _next_arrival(lines, after)
                if model in resident:
                    place = resident.index(model)
                    reached = following.setdefault((after, resident), [])
                    reached.extend(_hit(label, place, request, value, horizon) for label in labels)
                    continue
                for kept in _keeps(resident, model, family, every=trace.world.stop > 0):
                    together = tuple(sorted((*kept, model)))
                    overhead = loads[model] + (trace.world.stop if len(kept) < len(resident) else 0.0)
                    reached = following.setdefault((after, together), [])
                    for label in labels:
                        busy = dict(zip(resident, label[:-2], strict=True))
                        idle = max((busy[one] for one in resident if one not in kept), default=0.0)
                        swap = max(request.at, idle, label[-2])
                        begin = swap + overhead
                        busy[model] = begin + request.service
                        loader = swap if parallel_loads else begin
                        total = label[-1] + value(begin - request.at, overhead)
                        reached.append(_label(busy, together, loader, total, horizon))
        layer = {state: _undominated(labels) for state, labels in following.items()}
    return [label for labels in layer.values() for label in labels]


def _hit(label: Label, place: int, request: Request, value: Value, horizon: float) -> Label:
    begin = max(request.at, label[place])
    busy = (*label[:place], begin + request.service, *label[place + 1 : -2])
    total = label[-1] + value(begin - request.at, 0.0)
    return (*(max(one, horizon) for one in busy), max(label[-2], horizon), total)


def _label(
    busy: dict[int, float], together: tuple[int, ...], loader: float, total: float, horizon: float
) -> Label:
    return (*(max(busy[one], horizon) for one in together), max(loader, horizon), total)


def _next_arrival(lines: list[list[Request]], served: tuple[int, ...]) -> float:
    """Return when the first request arrives that is not served yet.

    Nothing happens before it, so it makes no difference who was free how long before.
    """
    left = [line[count].at for line, count in zip(lines, served, strict=True) if count < len(line)]
    return min(left, default=0.0)


def _keeps(
    resident: tuple[int, ...], target: int, family: list[frozenset[int]], *, every: bool
) -> Iterator[tuple[int, ...]]:
    """Yield the residents that may stay beside the target: the largest such sets, or every one."""
    found: list[tuple[int, ...]] = []
    for count in range(len(resident), -1, -1):
        for some in combinations(resident, count):
            if every or not any(set(some) <= set(larger) for larger in found):
                together = {*some, target}
                if any(together <= allowed for allowed in family):
                    found.append(some)
                    yield some


def _undominated(labels: list[Label]) -> list[Label]:
    kept: list[Label] = []
    for label in sorted(set(labels)):
        if label[-1] < math.inf and not any(
            all(mine >= theirs for mine, theirs in zip(label, other, strict=True)) for other in kept
        ):
            kept.append(label)
    return kept
