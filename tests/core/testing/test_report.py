"""Tests of `swapcore.testing.report`: figures worked out by hand, and what the callers know."""

import math
import random

import pytest

from swapcore import Arrived, Catalog, Forward, Model, Policy, Refusal, Released, Tick
from swapcore.testing import Fate, Report, Simulator, Step, Waits, poisson, report


def world(**fates: Fate | list[Fate]) -> Simulator:
    return Simulator(Catalog([Model("a"), Model("b")]), fates=fates)


def test_nothing_comes_to_nothing() -> None:
    empty = report([])
    assert empty == Report(
        callers=0,
        makespan=0.0,
        swaps=0,
        load_time=0.0,
        switching_share=0.0,
        evictions=0,
        wasted=0,
        waits=Waits(),
        by_model={},
        by_priority={},
        refusals={},
        left=0,
        unfairness=1.0,
        jain=1.0,
        slack={},
    )


def test_two_models_in_turn_by_hand() -> None:
    one = world(a=Fate(load=5.0, stop=1.0), b=Fate(load=3.0))
    one.ask("a", at=10.0, service=4.0)
    one.ask("b", at=11.0, service=2.0, priority=3)
    one.run()
    # a: loads 10-15, serves 15-19, stops 19-20; b: loads 20-23, serves 23-25.
    figures = report(one.log, bounds={"b": 24.0, "a": 10.0, "c": 1.0})
    a = Waits(count=1, total=5.0, mean=5.0, p50=5.0, p99=5.0, max=5.0)
    b = Waits(count=1, total=12.0, mean=12.0, p50=12.0, p99=12.0, max=12.0)
    assert figures == Report(
        callers=2,
        makespan=15.0,
        swaps=2,
        load_time=8.0,
        switching_share=8 / 15,
        evictions=1,
        wasted=0,
        waits=Waits(count=2, total=17.0, mean=8.5, p50=5.0, p99=12.0, max=12.0),
        by_model={"a": a, "b": b},
        by_priority={3: b, 0: a},
        refusals={},
        left=0,
        unfairness=12 / 8.5,
        # Slowdowns (5+4)/4 and (12+2)/2.
        jain=(2.25 + 7) ** 2 / (2 * (2.25**2 + 7**2)),
        slack={"a": 0.5, "b": 0.5},
    )
    assert list(figures.by_priority) == [3, 0]


def test_those_who_are_refused_or_leave_waited_for_nothing() -> None:
    one = world(a=Fate(load=5.0), b=Fate(load=9.0, fails_after=2.0, lingers=4.0))
    one.ask("a", service=1.0, gives_up_after=3.0)
    one.ask("b", at=20.0)
    one.ask("c", at=20.5)
    one.run()
    figures = report(one.log)
    assert (figures.callers, figures.left) == (3, 1)
    assert figures.refusals == {Refusal.UNKNOWN_MODEL: 1, Refusal.START_FAILED: 1}
    assert figures.waits == Waits()
    assert figures.by_model == {"a": Waits(), "b": Waits(), "c": Waits()}
    assert (figures.swaps, figures.wasted, figures.makespan) == (2, 2, 0.0)
    assert figures.load_time == 5.0 + 2.0, "a loaded for 5 s; b died after 2 s and lingered"
    assert figures.unfairness == 1.0


def test_a_load_that_is_stopped_counts_until_then_and_one_that_is_cut_off_by_the_log_likewise() -> None:
    timeout = Simulator(
        Catalog([Model("a", start_timeout=7.0, unload_timeout=2.0)]),
        fates={"a": Fate(load=math.inf, stop=math.inf)},
    )
    timeout.ask("a")
    timeout.run()
    assert report(timeout.log).load_time == 7.0
    cut = world(a=Fate(load=50.0))
    cut.ask("a")
    cut.ask("b", at=30.0)
    cut.run(until=40.0)
    assert report(cut.log).load_time == 30.0


def test_a_forced_stop_is_no_second_eviction() -> None:
    one = Simulator(Catalog([Model("a", unload_timeout=3.0), Model("b")]), fates={"a": Fate(stop=math.inf)})
    one.ask("a")
    one.ask("b")
    one.run()
    assert report(one.log).evictions == 1


@pytest.mark.parametrize(
    ("count", "p50", "p99"), [(1, 1, 1), (2, 1, 2), (100, 50, 99), (101, 51, 100), (1000, 500, 990)]
)
def test_quantiles_are_waits_that_somebody_had(count: int, p50: float, p99: float) -> None:
    order = list(range(1, count + 1))
    random.Random(count).shuffle(order)
    log = [Step(0.0, Arrived(ticket, "a"), ()) for ticket in order]
    log += [Step(float(ticket), Tick(), (Forward(ticket, "a", 1),)) for ticket in sorted(order)]
    waits = report(log).waits
    assert (waits.count, waits.p50, waits.p99, waits.max) == (count, p50, p99, count)
    assert waits.mean == pytest.approx((count + 1) / 2)


def test_even_slowdowns_are_even_and_one_of_two_starving_is_a_half() -> None:
    def slowdowns(*pairs: tuple[float, float]) -> Report:
        log: list[Step] = []
        for nth, (wait, service) in enumerate(pairs):
            log += [
                Step(0.0, Arrived(nth, f"m{nth}"), ()),
                Step(wait, Tick(), (Forward(nth, f"m{nth}", 1),)),
                Step(wait + service, Released(nth), ()),
            ]
        return report(sorted(log, key=lambda step: step.now))

    assert slowdowns((1.0, 1.0), (4.0, 4.0)).jain == pytest.approx(1.0)
    assert slowdowns((0.0, 1.0), (9999.0, 1.0)).jain == pytest.approx(0.5, abs=0.001)
    assert slowdowns((5.0, 0.0)).jain == 1.0, "no service, no slowdown"
    assert slowdowns((1.0, 1.0), (1.0, 1.0), (10.0, 1.0)).unfairness == 10.0
    assert slowdowns((0.0, 1.0), (0.0, 1.0), (10.0, 1.0)).unfairness == math.inf


def test_figures_agree_with_what_the_callers_know() -> None:
    one = Simulator(
        Catalog(Model(model, concurrency_limit=2) for model in "abc"),
        fates={"a": Fate(load=3.0, stop=1.0), "b": [Fate(crashes_after=40.0), Fate()], "c": Fate(load=9.0)},
        policy=Policy(patience=30.0),
    )
    one.traffic(poisson(random.Random(1), rate=0.4, weights={"a": 2, "b": 1, "c": 1}, count=300, service=2.0))
    one.run()
    figures = report(one.log)
    waits = [caller.waited for caller in one.callers.values() if caller.waited is not None]
    assert figures.waits.count == len(waits) > 250
    assert figures.waits.total == pytest.approx(sum(waits))
    assert figures.waits.max == max(waits)
    assert sum(each.count for each in figures.by_model.values()) == len(waits)
    ends = [one.callers[step.event.ticket] for step in one.log if isinstance(step.event, Released)]
    last = max(end.released_at or 0.0 for end in ends if isinstance(end.answer, Forward))
    assert figures.makespan == last - one.callers[1].arrived_at
    assert figures.callers == 300 == figures.waits.count + sum(figures.refusals.values()) + figures.left
