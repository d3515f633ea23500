"""Tests of `swapcore.testing.recorded`."""

import math
import random
import re
from itertools import pairwise

import attrs
import pytest

from swapcore import (
    Arrived,
    Catalog,
    CatalogReplaced,
    Engine,
    Event,
    LoadRequested,
    MisuseError,
    Model,
    Policy,
    Refusal,
    Reject,
    Released,
    Start,
    Tick,
)
from swapcore.journal import (
    Gap,
    Header,
    JournalError,
    Record,
    Step,
    can_resume,
    dump,
    header_of,
    load,
    without_detail,
)
from swapcore.testing import Ask, Fate, Simulator, compare, poisson, report, traffic_of
from tests.core.driven import together

custom = together("ab")
CUSTOM = "tests.core.driven:together.<locals>.plan"


def world(seed: int = 1, count: int = 60, rate: float = 0.3, **engine: object) -> Simulator:
    one = Simulator(
        Catalog(Model(model, concurrency_limit=2, ttl=20.0) for model in "abc"),
        fates={"a": Fate(load=3.0, stop=1.0), "b": [Fate(fails_after=0.5), Fate()], "c": Fate(load=9.0)},
        policy=Policy(patience=15.0),
        **engine,  # type: ignore[arg-type]
    )
    one.traffic(poisson(random.Random(seed), rate=rate, weights={"a": 2, "b": 1, "c": 1}, count=count))
    one.run()
    return one


@pytest.mark.parametrize("seed", range(5))
def test_what_a_world_recorded_replays_the_same_from_its_lines(seed: int) -> None:
    one = world(seed)
    comparison = compare(load(list(dump(one.recording))))
    assert comparison.difference is None
    assert comparison.steps == len(one.log)
    assert comparison.commands == sum(len(step.commands) for step in one.log) > 60
    assert (comparison.skipped, comparison.dropped) == (0, 0)


def test_what_is_said_for_people_does_not_matter() -> None:
    one = world()
    steps = [without_detail(step) for step in one.log]
    assert steps != one.log
    assert compare([one.header, *steps]).difference is None


def test_the_first_difference_ends_it() -> None:
    one = world()
    nth = next(nth for nth, step in enumerate(one.log) if nth > 20 and step.commands)
    changed = attrs.evolve(one.log[nth], commands=(Start("z", 9), *one.log[nth].commands))
    comparison = compare([one.header, *one.log[:nth], changed, *one.log[nth + 1 :]])
    assert comparison.steps == nth
    assert comparison.difference is not None
    assert comparison.difference.step == changed
    assert comparison.difference.commands == one.log[nth].commands
    assert comparison.difference.error is None


def test_another_policy_decides_otherwise() -> None:
    one = world()
    hasty = Policy(patience=0.0, load_factor=0.0, quantum=0.0)
    settings = attrs.evolve(one.header.settings, policy=hasty)
    comparison = compare([attrs.evolve(one.header, settings=settings), *one.log])
    assert comparison.difference is not None


def test_an_engine_that_raises_is_a_difference() -> None:
    one = world()
    comparison = compare([one.header, Step(0.0, Released(77), ())])
    assert comparison.difference is not None
    assert isinstance(comparison.difference.error, MisuseError)


def parts_of(one: Simulator, *, cut: bool) -> list[Record]:
    """Make the same recording in parts: begun at a quiet moment, or, if cut, in the midst of things."""
    engine = Engine(one.header.catalog, one.header.planner, policy=one.header.settings.policy)
    records: list[Record] = [header_of(engine)]
    part = 1
    for step in one.log:
        records.append(step)
        assert engine.handle(step.event, step.now) == step.commands
        if len(records) > part * 40 and can_resume(engine) != cut:
            part += 1
            records.append(header_of(engine, part=part))
    assert part > 2
    return records


def headers(records: list[Record]) -> list[int]:
    return [nth for nth, record in enumerate(records) if isinstance(record, Header)]


def test_parts_begun_at_a_quiet_moment_replay_each_by_itself() -> None:
    records = parts_of(world(), cut=False)
    assert compare(records).difference is None
    starts = [*headers(records), len(records)]
    for first, last in pairwise(starts):
        comparison = compare(records[first:last])
        assert comparison.difference is None
        assert (comparison.steps, comparison.skipped) == (last - first - 1, 0)


def test_parts_cut_in_the_midst_of_things_replay_after_the_one_before() -> None:
    records = parts_of(world(rate=2.0), cut=True)
    whole = compare(records)
    assert whole.difference is None
    assert whole.skipped == 0
    second, third = headers(records)[1:3]
    alone = compare(records[second:])
    assert (alone.difference, alone.steps) == (None, 0)
    assert alone.skipped == whole.steps - (second - 1)
    missing = compare([*records[:second], *records[third:]])
    assert (missing.difference, missing.steps) == (None, second - 1)


def test_after_a_gap_nothing_is_replayed_until_the_state_is_known_again() -> None:
    records = parts_of(world(), cut=False)
    second = headers(records)[1]
    records[second - 10 : second - 5] = [Gap(5)]
    comparison = compare(records)
    assert comparison.difference is None
    assert comparison.dropped == 5
    assert comparison.skipped == 5
    assert comparison.steps == len([one for one in records if isinstance(one, Step)]) - 5


def test_a_planner_of_ones_own_has_to_be_given() -> None:
    engine = Engine(Catalog([Model("a"), Model("b")]), custom)
    header = header_of(engine)
    replaced = CatalogReplaced(Catalog([Model("a")]), custom)
    events: list[Event] = [Arrived(1, "a"), replaced]
    log = [Step(nth, event, engine.handle(event, nth)) for nth, event in enumerate(events)]
    lines = list(dump([header, *log]))
    assert compare(load(lines), {CUSTOM: custom}).steps == 2
    with pytest.raises(JournalError, match=f"needs the planner {re.escape(CUSTOM)}"):
        compare(load(lines))
    default = header_of(Engine(Catalog([Model("a"), Model("b")])))
    with pytest.raises(JournalError, match=f"needs the planner {re.escape(CUSTOM)}"):
        compare(load(list(dump([default, *log]))))


def test_traffic_is_who_came_and_how_long_things_took() -> None:
    one = Simulator(
        Catalog([Model("a"), Model("b")]), fates={"a": [Fate(load=4.0, stop=1.0), Fate(load=6.0, stop=2.0)]}
    )
    one.ask("a", at=100.0, service=3.0)
    one.ask("b", at=101.0, service=5.0, priority=2, patience=9.0, caller="x", share=0.5, evicts=False)
    one.ask("a", at=130.0, service=7.0)
    one.ask("b", at=131.0, gives_up_after=2.5)
    one.ask("c", at=132.0)
    one.run()
    traffic = traffic_of(one.recording)
    assert list(traffic.asks) == [
        Ask(model="a", after=0.0, service=3.0),
        Ask(model="b", after=1.0, service=5.0, priority=2, patience=9.0, caller="x", share=0.5, evicts=False),
        Ask(model="a", after=29.0, service=7.0),
        # Of whom nothing is known an average is taken: of the model, or of all models.
        Ask(model="b", after=1.0, service=5.0, gives_up_after=2.5),
        Ask(model="c", after=1.0, service=5.0),
    ]
    assert traffic.loads == {"a": 5.0, "b": 1.0}
    assert traffic.stops == {"a": 1.0, "b": 0.0}
    assert traffic.fates(Catalog([Model("b"), Model("z")])) == {
        "b": Fate(load=1.0, stop=0.0),
        "z": Fate(load=3.0, stop=0.5),
    }


def test_a_load_or_service_that_did_not_end_tells_no_time() -> None:
    one = Simulator(
        Catalog([Model("a", start_timeout=2.0), Model("b")]), fates={"a": Fate(load=50.0, stop=1.0)}
    )
    one.ask("a")
    one.ask("b", at=1.0, service=50.0)
    one.run(until=10.0)
    traffic = traffic_of(one.recording)
    assert traffic.loads == {"b": 1.0}
    assert [ask.service for ask in traffic.asks] == [1.0, 1.0]
    assert traffic.fates(Catalog([Model("a")]))["a"].load == 1.0
    nothing = traffic_of([one.header])
    assert list(nothing.asks) == []
    assert nothing.fates(Catalog([Model("a")])) == {"a": Fate(load=10.0, stop=1.0)}


def test_a_stop_counts_from_when_it_was_asked_for_and_a_load_that_was_stopped_is_none() -> None:
    slow = Fate(load=math.inf, stop=math.inf, kill=1.0, ready_after_stop=2.0)
    one = Simulator(Catalog([Model("a", start_timeout=5.0, unload_timeout=3.0)]), fates={"a": slow})
    one.ask("a")
    one.run()
    traffic = traffic_of(one.recording)
    assert (traffic.loads, traffic.stops) == ({}, {"a": 4.0})


def test_traffic_on_the_same_engine_costs_what_it_did() -> None:
    """Where nothing fails and each model always loads alike, trying the traffic again is what happened."""
    one = Simulator(
        Catalog(Model(model, concurrency_limit=2) for model in "abc"),
        fates={model: Fate(load=load, stop=1.0) for model, load in zip("abc", (3.0, 5.0, 8.0), strict=True)},
    )
    one.traffic(poisson(random.Random(4), rate=0.5, weights={"a": 2, "b": 1, "c": 1}, count=200))
    one.run()
    traffic = traffic_of(one.recording)
    again = Simulator(one.header.catalog, fates=traffic.fates(one.header.catalog))
    again.traffic(traffic.asks)
    again.run()
    before, after = report(one.log), report(again.log)
    assert after.swaps == before.swaps
    assert after.waits.total == pytest.approx(before.waits.total)
    assert after.makespan == pytest.approx(before.makespan)


def test_an_operators_wishes_are_no_traffic() -> None:
    one = Simulator(Catalog([Model("a")]))
    one.tell(LoadRequested(("a",)))
    one.tell(Tick())
    one.run()
    assert list(traffic_of(one.recording).asks) == []
    assert traffic_of(one.recording).loads == {"a": 1.0}


def test_whoever_was_refused_is_asked_for_again() -> None:
    header = Simulator(Catalog([Model("a")])).header
    refused = Step(0.0, Arrived(1, "a", 3), (Reject(1, Refusal.QUEUE_FULL),))
    assert list(traffic_of([header, refused, Step(0.5, Released(1), ())]).asks) == [
        Ask(model="a", priority=3)
    ]
