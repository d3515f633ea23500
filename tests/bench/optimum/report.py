"""Which figures are measured for each suite, and how are they summed up?"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from attrs import asdict, frozen

from swapcore import Policy
from tests.bench.optimum import opt_one_slot, opt_sets
from tests.bench.optimum.bound import bounds
from tests.bench.optimum.eviction import ENGINES_LOSS, LOSSES, loading
from tests.bench.optimum.opt_evict import best_loading
from tests.bench.optimum.policies import (
    FIFO,
    POLICIES,
    Outcome,
    first_come_first_served,
    one_loop_after_the_other,
    outcome_of,
    simulate,
    simulate_loops,
)
from tests.bench.optimum.suites import (
    EVICTION_FAMILIES,
    EVICTION_WORKLOADS,
    SMALL_RATES,
    Trace,
    agent_loops,
    eviction,
    hot_stream,
    overloaded,
    pairs,
    small,
)

__all__ = ["SUITES", "Row", "Stat", "Suite", "measure"]

Figures = dict[str, dict[str, float]]
"""For each policy its figures by name, for one seed."""


@frozen
class Stat:
    """One figure over all seeds."""

    mean: float
    error: float
    """The standard error of the mean; 0 for a single seed."""

    worst: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Stat":
        error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
        return cls(statistics.fmean(values), error, max(values))


@frozen
class Row:
    """One policy on one case of a suite."""

    suite: str
    case: str
    policy: str
    seeds: int
    figures: Mapping[str, Stat]
    to_reach: Mapping[str, float]
    """What the mean of a figure should not exceed; for one that ends in `(worst)`, its worst."""

    def missed(self) -> list[str]:
        """Return the figures that are not reached."""
        return [name for name, limit in self.to_reach.items() if self.value(name) > limit]

    def value(self, name: str) -> float:
        """Return what is compared with what is to reach."""
        stat = self.figures[name.removesuffix(WORST)]
        return stat.worst if name.endswith(WORST) else stat.mean

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"missed": self.missed()}


WORST = " (worst)"


@frozen
class Suite:
    """One kind of traffic: its cases, how many seeds of it, and what is measured for one of them."""

    cases: tuple[str, ...]
    seeds: int
    one: Callable[[str, int], Figures]
    to_reach: Mapping[tuple[str, str], Mapping[str, float]]
    """For a case and a policy, what a figure's mean (or worst) should not exceed."""


def _compared(trace: Trace, outcome: Outcome, makespan: float, total_wait: float) -> dict[str, float]:
    return {
        "makespan÷OPT": outcome.makespan / makespan,
        "Σwait÷OPT": outcome.total_wait / total_wait,
        "swaps": outcome.swaps,
        "max wait": outcome.longest_wait(),
    }


def _small(case: str, seed: int) -> Figures:
    trace = small(seed, float(case))
    best = opt_one_slot.best_makespan(trace), opt_one_slot.best_total_wait(trace)
    outcomes = {name: outcome_of(simulate(trace, policy)) for name, policy in POLICIES.items()}
    outcomes["ours, choice work"] = outcome_of(simulate(trace, Policy(choice="work")))
    outcomes["ours, loads known"] = outcome_of(simulate(trace, Policy(), known=True))
    outcomes["ours, choice work, loads known"] = outcome_of(
        simulate(trace, Policy(choice="work"), known=True)
    )
    outcomes[FIFO] = first_come_first_served(trace)
    return {name: _compared(trace, outcome, *best) for name, outcome in outcomes.items()}


def _pairs(case: str, seed: int) -> Figures:
    trace = pairs(seed, float(case))
    # The engine loads models at the same time where there is room, so the optimum may as well.
    best = (
        opt_sets.best_makespan(trace, parallel_loads=True),
        opt_sets.best_total_wait(trace, parallel_loads=True),
    )
    return {
        name: _compared(trace, outcome_of(simulate(trace, policy)), *best)
        for name, policy in POLICIES.items()
    }


def _hot(case: str, seed: int) -> Figures:
    trace = hot_stream() if case == HOT else overloaded(seed)
    figures: Figures = {}
    for name, policy in POLICIES.items():
        log = simulate(trace, policy)
        outcome = outcome_of(log)
        figures[name] = {
            "swaps": outcome.swaps,
            **{f"max wait {model}": outcome.longest_wait(model) for model in trace.world.loads},
        }
        if policy.patience < math.inf:
            waits = bounds(trace, log, policy)
            tightest = max(waits, key=lambda one: one.slack)
            rare = min((one for one in waits if one.model == "m1"), key=lambda one: one.bound)
            figures[name] |= {"least bound m1": rare.bound, "wait÷bound": tightest.slack}
    outcome = first_come_first_served(trace)
    figures[FIFO] = {
        "swaps": outcome.swaps,
        **{f"max wait {model}": outcome.longest_wait(model) for model in trace.world.loads},
    }
    return figures


def _eviction(case: str, seed: int) -> Figures:
    family, workload = case.split(" / ")
    drawn = eviction(seed, family, workload)
    best = best_loading(drawn)
    return {name: {"load cost÷OPT": loading(drawn, loss) / best} for name, loss in LOSSES.items()}


def _loops(case: str, seed: int) -> Figures:
    loops = agent_loops(seed, int(case.removesuffix(" loops")))
    figures: Figures = {}
    for name, policy in POLICIES.items():
        outcome = outcome_of(simulate_loops(loops, policy))
        figures[name] = {
            "makespan": outcome.makespan,
            "swaps": outcome.swaps,
            "max wait": outcome.longest_wait(),
        }
    figures["one loop after the other"] = {
        "makespan": one_loop_after_the_other(loops),
        "swaps": len(loops.loops),
    }
    return figures


HOT, OVERLOADED = "never idle", "twice capacity"

SUITES: Mapping[str, Suite] = {
    "small": Suite(
        tuple(f"{rate:g}" for rate in SMALL_RATES),
        400,
        _small,
        {
            ("0.15", "ours"): {"makespan÷OPT": 1.060, "Σwait÷OPT": 1.380},
            ("0.4", "ours"): {"makespan÷OPT": 1.090, "Σwait÷OPT": 1.200},
        },
    ),
    "pairs": Suite(("0.3",), 40, _pairs, {}),
    "hot": Suite(
        (HOT, OVERLOADED),
        20,
        _hot,
        {
            (HOT, "ours"): {f"wait÷bound{WORST}": 1.0},
            (OVERLOADED, "ours"): {f"wait÷bound{WORST}": 1.0},
        },
    ),
    "eviction": Suite(
        tuple(f"{family} / {workload}" for family in EVICTION_FAMILIES for workload in EVICTION_WORKLOADS),
        12,
        _eviction,
        {
            ("any three / loops", ENGINES_LOSS): {
                "load cost÷OPT": 1.5,
                f"load cost÷OPT{WORST}": 2.0,
            }
        },
    ),
    "loops": Suite(("2 loops", "4 loops"), 12, _loops, {}),
}


def measure(name: str, seeds: int | None = None, jobs: int = 1) -> Iterator[Row]:
    """Yield the rows of one suite over the seeds from 0, by default as many as it is defined for."""
    suite = SUITES[name]
    for case in suite.cases:
        # Nothing is drawn for the hot stream, so one seed of it says all.
        count = 1 if case == HOT else seeds or suite.seeds
        many = range(count)
        if jobs > 1 and count > 1:
            with ProcessPoolExecutor(jobs) as pool:
                measured = list(pool.map(suite.one, [case] * count, many, chunksize=max(1, count // 50)))
        else:
            measured = [suite.one(case, seed) for seed in many]
        for policy in measured[0]:
            figures = {
                figure: Stat.of([one[policy][figure] for one in measured]) for figure in measured[0][policy]
            }
            yield Row(name, case, policy, count, figures, suite.to_reach.get((case, policy), {}))
