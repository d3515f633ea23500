"""How long may anyone have waited, and did anyone wait longer?

The starvation bound of due-gated service with one slot, for a caller of model m whose patience is D:

    max(D, load_factor·C) + S + quantum·O_max
      + Σ over others j of (O_j + max(quantum·O_j, B_j) + S) + O_m + B_m

O is stop + load, S the longest service of the trace, C the time in which everyone waiting could be
served, B_j the longest time that those waiting for j take once it is ready. The others are all
models that anyone asks for. Everything is taken from the world, the trace and the log, nothing from
the engine:

- C is taken when the caller arrives, the caller included, with S for each service. The engine's
  estimate of a service is never more, so its C is never more.
- B_j counts who waits for j whenever it becomes ready while this caller waits; zero if it never does.
- B_m counts who stands in the caller's own line when it arrives, itself included.
"""

import math
from collections.abc import Sequence

from attrs import frozen

from swapcore import Arrived, BecameReady, Forward
from swapcore.collation import Policy
from swapcore.testing import Step
from tests.bench.optimum.suites import Trace

__all__ = ["Waited", "bounds"]


@frozen
class Waited:
    """How long one caller waited, and how long it may have, in seconds."""

    model: str
    wait: float
    bound: float

    @property
    def slack(self) -> float:
        """The wait as a share of the bound: more than 1 breaks the promise."""
        return self.wait / self.bound


@frozen
class _Arrival:
    model: str
    at: float
    waiting: dict[str, int]
    """How many wait for each model now, the caller included."""


@frozen
class _Visit:
    model: str
    at: float
    batch: int
    """How many wait for it as it becomes ready."""


def bounds(trace: Trace, log: Sequence[Step], policy: Policy) -> list[Waited]:
    """Return what each caller of the trace waited and may have waited, in order of arrival.

    The log is the engine's under that policy, with the same patience for all and one priority.
    """
    arrivals, granted_at, visits = _read(log)
    world = trace.world
    longest = max(one.service for one in trace.requests)
    overhead = {name: world.stop + load for name, load in world.loads.items()}
    asked_for = dict.fromkeys(one.model for one in trace.requests)

    def serving(callers: int) -> float:
        return math.ceil(callers / world.concurrency) * longest

    found = []
    for ticket, arrival in arrivals.items():
        until = granted_at[ticket]
        cycle = sum(overhead[name] + serving(count) for name, count in arrival.waiting.items() if count)
        bound = max(policy.patience, policy.load_factor * cycle)
        bound += longest + policy.quantum * max(overhead.values())
        for other in asked_for:
            if other != arrival.model:
                batches = [
                    visit.batch
                    for visit in visits
                    if visit.model == other and arrival.at <= visit.at <= until
                ]
                batch = serving(max(batches, default=0))
                bound += overhead[other] + max(policy.quantum * overhead[other], batch) + longest
        bound += overhead[arrival.model] + serving(arrival.waiting[arrival.model])
        found.append(Waited(arrival.model, until - arrival.at, bound))
    return found


def _read(log: Sequence[Step]) -> tuple[dict[int, _Arrival], dict[int, float], list[_Visit]]:
    waiting: dict[str, int] = {}
    arrivals: dict[int, _Arrival] = {}
    granted_at: dict[int, float] = {}
    visits: list[_Visit] = []
    for step in log:
        match step.event:
            case Arrived(ticket, model):
                waiting[model] = waiting.get(model, 0) + 1
                arrivals[ticket] = _Arrival(model, step.now, dict(waiting))
            case BecameReady(model):
                visits.append(_Visit(model, step.now, waiting.get(model, 0)))
            case _:
                pass
        for command in step.commands:
            if isinstance(command, Forward):
                granted_at[command.ticket] = step.now
                waiting[command.model] -= 1
    return arrivals, granted_at, visits
