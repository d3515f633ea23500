"""Are the exact optima exact? Each is compared with trying everything, or with another of them."""

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from random import Random

import pytest

from swapcore.collation import Policy
from tests.bench.optimum import opt_one_slot, opt_sets
from tests.bench.optimum.bound import bounds
from tests.bench.optimum.eviction import LOSSES, Past, loading
from tests.bench.optimum.opt_evict import best_loading
from tests.bench.optimum.policies import (
    POLICIES,
    first_come_first_served,
    one_loop_after_the_other,
    outcome_of,
    simulate,
    simulate_loops,
)
from tests.bench.optimum.report import SUITES, Row, Stat, measure
from tests.bench.optimum.suites import (
    EVICTION_FAMILIES,
    EVICTION_WORKLOADS,
    EvictionCase,
    Request,
    Round,
    Trace,
    World,
    agent_loops,
    eviction,
    hot_stream,
    overloaded,
    pairs,
    small,
)

INSTANCES = range(60)


def tiny(seed: int, slots: int = 1, stop: float | None = None, models: int = 3, count: int = 6) -> Trace:
    """Draw a few requests for a few models of which so many fit."""
    draw = Random(seed)
    names = [f"m{number}" for number in range(models)]
    loads = {name: draw.choice((1.0, 3.0, 7.0)) for name in names}
    world = World(
        loads, tuple(combinations(names, slots)), stop=draw.choice((0.0, 1.0, 4.0)) if stop is None else stop
    )
    now, requests = 0.0, []
    for _ in range(count):
        now += draw.expovariate(0.3)
        requests.append(Request(now, draw.choice(names), draw.choice((0.5, 2.0, 6.0))))
    return Trace(world, tuple(requests))


def orders(trace: Trace) -> Iterator[list[Request]]:
    """Yield every order that keeps each model's requests in their order of arrival."""

    def extend(begun: list[Request], lines: dict[str, list[Request]]) -> Iterator[list[Request]]:
        if not any(lines.values()):
            yield begun
        for model, line in lines.items():
            if line:
                yield from extend([*begun, line[0]], {**lines, model: line[1:]})

    names = trace.world.loads
    return extend([], {name: [one for one in trace.requests if one.model == name] for name in names})


def one_slot_costs(trace: Trace, *, on_demand: bool) -> Iterator[tuple[float, float, float, float]]:
    """Yield makespan, Σ wait, seconds of swaps and the longest wait of each order."""
    for order in orders(trace):
        free = total = spent = longest = 0.0
        resident = None
        for one in order:
            overhead = 0.0
            if one.model != resident:
                overhead = trace.world.loads[one.model] + (0.0 if resident is None else trace.world.stop)
            begin = max(free, one.at) + overhead if on_demand else max(free + overhead, one.at)
            total += begin - one.at
            spent += overhead
            longest = max(longest, begin - one.at)
            free = begin + one.service
            resident = one.model
        yield free, total, spent, longest


@pytest.mark.parametrize("on_demand", [True, False])
def test_one_slot_equals_trying_every_order(on_demand: bool) -> None:  # noqa: FBT001 - a parameter of the test
    for seed in INSTANCES:
        trace = tiny(seed)
        all_costs = list(one_slot_costs(trace, on_demand=on_demand))
        assert opt_one_slot.best_makespan(trace, on_demand=on_demand) == min(costs[0] for costs in all_costs)
        best = opt_one_slot.best_total_wait(trace, on_demand=on_demand)
        assert best == pytest.approx(min(costs[1] for costs in all_costs))


def test_one_slot_load_cost_under_a_cap_equals_trying_every_order() -> None:
    infeasible = 0
    for seed in INSTANCES:
        trace = tiny(seed)
        all_costs = list(one_slot_costs(trace, on_demand=True))
        for cap in (10.0, 20.0, math.inf):
            best = min((costs[2] for costs in all_costs if costs[3] <= cap), default=math.inf)
            assert opt_one_slot.best_load_cost(trace, cap) == pytest.approx(best)
            infeasible += best == math.inf
    assert infeasible, "no instance has a cap that cannot be kept"


def test_a_tighter_cap_costs_more_loading_and_a_demand_costs_more_time() -> None:
    trace = small(3, 0.4)
    costs = [opt_one_slot.best_load_cost(trace, cap) for cap in (40.0, 60.0, 120.0, math.inf)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1] == 10.0 + 20.0 + 5.0 + 2.0
    assert opt_one_slot.best_makespan(trace) > opt_one_slot.best_makespan(trace, on_demand=False)


@pytest.mark.parametrize(
    ("several", "single"),
    [
        (opt_sets.best_makespan, opt_one_slot.best_makespan),
        (opt_sets.best_total_wait, opt_one_slot.best_total_wait),
    ],
)
def test_sets_equal_one_slot_where_each_model_lives_alone(
    several: Callable[[Trace], float], single: Callable[[Trace], float]
) -> None:
    for seed in range(25):
        trace = tiny(seed, count=10)
        assert several(trace) == pytest.approx(single(trace))


def every_end(trace: Trace, *, parallel_loads: bool) -> Iterator[tuple[float, float]]:
    """Yield makespan and Σ wait of every order with every choice of what to evict."""

    def extend(
        left: list[Request], busy: dict[str, float], loader: float, total: float, end: float
    ) -> Iterator[tuple[float, float]]:
        if not left:
            yield end, total
            return
        one, left = left[0], left[1:]
        if one.model in busy:
            begin = max(one.at, busy[one.model])
            after = {**busy, one.model: begin + one.service}
            yield from extend(left, after, loader, total + begin - one.at, max(end, begin + one.service))
            return
        for count in range(len(busy) + 1):
            for kept in combinations(busy, count):
                if not any({*kept, one.model} <= set(some) for some in trace.world.sets):
                    continue
                gone = [until for model, until in busy.items() if model not in kept]
                swap = max([one.at, *gone, loader])
                begin = swap + trace.world.loads[one.model] + (trace.world.stop if gone else 0.0)
                after = {model: busy[model] for model in kept} | {one.model: begin + one.service}
                free = swap if parallel_loads else begin
                yield from extend(left, after, free, total + begin - one.at, max(end, begin + one.service))

    for order in orders(trace):
        yield from extend(order, {}, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("parallel_loads", [True, False])
def test_sets_equal_trying_everything(parallel_loads: bool) -> None:  # noqa: FBT001 - a parameter of the test
    for seed in range(30):
        trace = tiny(seed, slots=2, models=4, count=5)
        ends = list(every_end(trace, parallel_loads=parallel_loads))
        makespan = opt_sets.best_makespan(trace, parallel_loads=parallel_loads)
        assert makespan == pytest.approx(min(end for end, _ in ends))
        total = opt_sets.best_total_wait(trace, parallel_loads=parallel_loads)
        assert total == pytest.approx(min(total for _, total in ends))


def test_evicting_more_than_needed_can_pay_where_stopping_takes_time() -> None:
    """If a leaves already when b comes in, though it may stay, c need not wait for its stop later."""
    world = World({"a": 5.0, "b": 5.0, "c": 5.0}, (("a", "b"), ("c", "b")), stop=4.0)
    requests = (
        Request(0.0, "a", 1.0),
        Request(0.0, "b", 1.0),
        Request(50.0, "c", 1.0),
        Request(51.0, "b", 1.0),
    )
    assert opt_sets.best_makespan(Trace(world, requests)) == 50.0 + 5.0 + 1.0


def every_loading(case: EvictionCase) -> float:
    """Return the least cost, trying every subset of the residents that may stay at each load."""

    def least(resident: frozenset[str], rest: tuple[str, ...]) -> float:
        if not rest:
            return 0.0
        target, rest = rest[0], rest[1:]
        if target in resident:
            return least(resident, rest)
        kept = (
            frozenset(some)
            for count in range(len(resident) + 1)
            for some in combinations(sorted(resident), count)
            if any({*some, target} <= set(allowed) for allowed in case.world.sets)
        )
        return case.world.loads[target] + min(least(one | {target}, rest) for one in kept)

    return least(frozenset(), case.order)


def test_eviction_equals_trying_everything() -> None:
    for seed in INSTANCES:
        draw = Random(seed)
        names = ["m0", "m1", "m2", "m3"]
        loads = {name: draw.choice((1.0, 4.0, 9.0)) for name in names}
        drawn = [tuple(sorted(draw.sample(names, draw.randint(1, 3)))) for _ in range(3)]
        sets = (*drawn, *((name,) for name in names))
        case = EvictionCase(World(loads, sets), tuple(draw.choices(names, k=8)))
        assert best_loading(case) == every_loading(case)


def belady(order: tuple[str, ...], slots: int) -> int:
    """Count the loads if always that model leaves which is asked for again last."""
    resident: set[str] = set()
    loads = 0
    for place, target in enumerate(order):
        if target in resident:
            continue
        loads += 1
        if len(resident) == slots:
            rest = order[place:]
            resident.remove(max(resident, key=lambda one: rest.index(one) if one in rest else len(rest)))
        resident.add(target)
    return loads


@pytest.mark.parametrize("slots", [1, 2, 3, 5])
def test_eviction_equals_belady_where_all_loads_cost_the_same(slots: int) -> None:
    names = [f"m{number}" for number in range(6)]
    for seed in range(10):
        order = tuple(Random(seed).choices(names, (8, 5, 3, 2, 1, 1), k=200))
        case = EvictionCase(World(dict.fromkeys(names, 1.0), tuple(combinations(names, slots))), order)
        assert best_loading(case) == belady(order, slots)


def test_no_policy_beats_the_optimum() -> None:
    for seed in range(10):
        for rate in (0.15, 0.4):
            trace = small(seed, rate)
            makespan, wait = opt_one_slot.best_makespan(trace), opt_one_slot.best_total_wait(trace)
            outcomes = [outcome_of(simulate(trace, policy)) for policy in POLICIES.values()]
            for outcome in (*outcomes, first_come_first_served(trace)):
                assert outcome.makespan >= makespan - 1e-6
                assert outcome.total_wait >= wait - 1e-6


def test_no_policy_beats_the_optimum_where_pairs_may_live_together() -> None:
    for seed in range(3):
        trace = pairs(seed)
        makespan = opt_sets.best_makespan(trace, parallel_loads=True)
        wait = opt_sets.best_total_wait(trace, parallel_loads=True)
        for policy in POLICIES.values():
            outcome = outcome_of(simulate(trace, policy))
            assert outcome.makespan >= makespan - 1e-6
            assert outcome.total_wait >= wait - 1e-6


@pytest.mark.parametrize("family", EVICTION_FAMILIES)
@pytest.mark.parametrize("workload", EVICTION_WORKLOADS)
def test_no_loss_beats_the_optimum(family: str, workload: str) -> None:
    case = eviction(1, family, workload)
    assert len(case.order) == 500
    for loss in LOSSES.values():
        assert loading(case, loss) >= best_loading(case)


def test_a_loss_is_told_idle_seconds_and_the_usual_gap() -> None:
    names = ("a", "b", "c")
    case = EvictionCase(
        World({"a": 7.0, "b": 5.0, "c": 3.0}, tuple(combinations(names, 2))), ("a", "b", "a", "a", "c")
    )
    told: list[tuple[float, float | None, float]] = []

    def loss(past: Past, idle: float) -> float:
        told.append((past.load, past.gap, idle))
        return past.load

    assert loading(case, loss) == 7.0 + 5.0 + 3.0
    # For b beside a, a second in; then for c beside both: a's gaps were 2 and 1 seconds, b's is not known.
    assert told == [(7.0, None, 1.0), (7.0, pytest.approx(1.7), 1.0), (5.0, None, 3.0)]


@pytest.mark.parametrize("seed", range(5))
def test_a_knapsack_is_filled_and_never_overfilled(seed: int) -> None:
    """Sizes are drawn again here, in the order that the suite's docstring gives."""
    draw = Random(seed)
    loads = [draw.choice((3.0, 5.0, 8.0, 15.0, 30.0, 60.0)) for _ in range(8)]
    sizes = {f"m{place}": max(2.0, load / 2 + draw.uniform(0, 4)) for place, load in enumerate(loads)}
    room = max(1.05 * max(sizes.values()), 0.4 * sum(sizes.values()))
    sets = eviction(seed, "knapsack", "zipf").world.sets
    for count in range(1, 9):
        for some in combinations(sizes, count):
            fits = sum(sizes[name] for name in some) <= room
            assert fits == any(set(some) <= set(allowed) for allowed in sets)


def test_first_come_first_served_swaps_for_every_change() -> None:
    world = World({"a": 10.0, "b": 5.0}, (("a",), ("b",)), concurrency=2)
    models = ("a", "a", "a", "b", "a")
    trace = Trace(world, tuple(Request(float(place), model, 4.0) for place, model in enumerate(models)))
    outcome = first_come_first_served(trace)
    # Two at once from 10, the third when one of them ends; then stop and load, twice.
    assert [one.granted_at for one in outcome.served] == [10.0, 10.0, 14.0, 24.0, 39.0]
    assert outcome.swaps == 3
    assert outcome.makespan == 43.0
    assert outcome.longest_wait("b") == 21.0


def test_a_hot_model_keeps_a_rare_one_out_for_ever_without_patience_and_not_beyond_the_bound_with_it() -> (
    None
):
    trace = hot_stream()
    plain = outcome_of(simulate(trace, POLICIES["plain collation"]))
    assert plain.longest_wait("m1") == pytest.approx(593.0)
    policy = POLICIES["ours"]
    log = simulate(trace, policy)
    waited = bounds(trace, log, policy)
    assert len(waited) == len(trace.requests)
    assert max(one.wait for one in waited) == pytest.approx(outcome_of(log).longest_wait())
    assert max(one.slack for one in waited) <= 1


def test_the_bound_is_what_the_formula_says() -> None:
    """One caller for each of two models: b comes second, and its bound can be added up by hand."""
    world = World({"a": 10.0, "b": 5.0}, (("a",), ("b",)), concurrency=2)
    trace = Trace(world, (Request(0.0, "a", 3.0), Request(1.0, "b", 2.0)))
    policy = Policy(patience=7.0, load_factor=2.0, quantum=1.0)
    first, second = bounds(trace, simulate(trace, policy), policy)
    # C is a's overhead 11 and service 3, and from then on b's 6 and 3 as well.
    assert first.bound == 2 * 14 + 3 + 11 + (6 + 6 + 3) + 11 + 3
    assert second.bound == 2 * 23 + 3 + 11 + (11 + 11 + 3) + 6 + 3
    assert (first.wait, second.wait) == (10.0, 18.0)


def test_the_bound_counts_who_waits_for_the_others_when_they_become_ready() -> None:
    world = World({"a": 10.0, "b": 5.0}, (("a",), ("b",)))
    others = (Request(1.0, "b", 3.0) for _ in range(6))
    trace = Trace(world, (Request(0.0, "a", 3.0), *others, Request(14.0, "a", 3.0)))
    policy = Policy(patience=7.0, load_factor=2.0, quantum=1.0)
    waited = bounds(trace, simulate(trace, policy), policy)
    # C is 11 and 3 for the one caller of a, 6 and 18 for the six of b, who then are served first.
    assert waited[-1].bound == 2 * 38 + 3 + 11 + (6 + 18 + 3) + 11 + 3
    assert waited[-1].wait == 13.0 + 6.0 + 18.0 + 11.0 - 14.0


def test_a_broken_promise_shows() -> None:
    """Plain collation, measured against the bound that patience promises, breaks it."""
    trace = hot_stream()
    log = simulate(trace, POLICIES["plain collation"])
    assert max(one.slack for one in bounds(trace, log, POLICIES["ours"])) > 1


def test_the_overloaded_model_is_offered_twice_what_it_can_serve() -> None:
    trace = overloaded(0)
    hot = [one for one in trace.requests if one.model == "m0"]
    assert sum(one.service for one in hot) / trace.world.concurrency == pytest.approx(7200, rel=0.05)
    assert [one.at for one in trace.requests if one.model == "m1"] == [60.0]
    assert [one.at for one in trace.requests] == sorted(one.at for one in trace.requests)


def test_agents_ask_only_after_their_last_answer() -> None:
    loops = agent_loops(0, 2)
    outcome = outcome_of(simulate_loops(loops, POLICIES["plain collation"]))
    for loop in loops.loops:
        mine = [one for one in outcome.served if one.model == loop.model]
        assert len(mine) == 25
        for before, after, one in zip(mine, mine[1:], loop.rounds, strict=False):
            assert after.arrived_at == pytest.approx(before.ended_at + one.gap)
    assert outcome.makespan > one_loop_after_the_other(loops)


def test_the_suites_are_functions_of_their_seeds() -> None:
    """The first request of each says that nobody has changed the order of drawing."""
    assert small(0, 0.15).requests[0] == Request(12.404047407101489, "m1", 1.0914262910831856)
    assert len(small(0, 0.15).requests) == 30
    assert overloaded(0).requests[0] == Request(0.6977276666494588, "m0", 3.0)
    assert agent_loops(0, 2).loops[0].rounds[0] == Round(5.102149924880154, 3.7738632088209076)
    drawn = {workload: eviction(0, "knapsack", workload).order[:6] for workload in EVICTION_WORKLOADS}
    assert drawn == {
        "zipf": ("m3", "m3", "m1", "m3", "m1", "m4"),
        "phases": ("m7", "m2", "m7", "m0", "m0", "m7"),
        "loops": ("m2", "m7", "m0", "m5", "m6", "m2"),
    }
    assert eviction(0, "six triples", "zipf").world.sets[0] == ("m2", "m4", "m7")
    assert small(7, 0.4) == small(7, 0.4) != small(8, 0.4)
    assert overloaded(1) == overloaded(1) != overloaded(2)
    for family in EVICTION_FAMILIES:
        for workload in EVICTION_WORKLOADS:
            case = eviction(5, family, workload)
            assert case == eviction(5, family, workload) != eviction(6, family, workload)
            # Every model can be brought in, or a planner would have nothing to answer.
            assert {name for some in case.world.sets for name in some} == set(case.world.loads)


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_can_be_measured(name: str) -> None:
    suite = SUITES[name]
    case = suite.cases[0]
    figures = suite.one(case, 0)
    assert figures
    for (known, policy), limits in suite.to_reach.items():
        assert known in suite.cases
        if known == case:
            assert {limit.removesuffix(" (worst)") for limit in limits} <= figures[policy].keys()


def test_rows_say_what_is_missed() -> None:
    stat = Stat.of([1.0, 2.0, 6.0])
    assert (stat.mean, stat.worst) == (3.0, 6.0)
    assert stat.error == pytest.approx(math.sqrt(7 / 3))
    limits = {"figure": 3.0, "figure (worst)": 5.0}
    row = Row("suite", "case", "policy", 3, {"figure": stat}, limits)
    assert row.missed() == ["figure (worst)"]


def test_measuring_in_several_processes_gives_the_same() -> None:
    assert list(measure("eviction", 2, jobs=2)) == list(measure("eviction", 2, jobs=1))
