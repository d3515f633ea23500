"""Tests of `swapcore.testing.simulator`."""

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Engine,
    Event,
    Exited,
    Forward,
    Model,
    Policy,
    Refusal,
    Reject,
    ShutdownRequested,
    Stop,
    StopReason,
    Tick,
    UnloadRequested,
)
from swapcore.journal import dump, load
from swapcore.testing import Ask, Fate, Simulator, TooManyStepsError, replay
from tests.core.oracle import Judge


def simulator(**fates: Fate | list[Fate]) -> Simulator:
    limits = {"start_timeout": 60.0, "unload_timeout": 5.0}
    return Simulator(Catalog([Model("a", **limits), Model("b", **limits)]), fates=fates)  # type: ignore[arg-type]


def stops(world: Simulator) -> list[tuple[float, Stop]]:
    return [(step.now, one) for step in world.log for one in step.commands if isinstance(one, Stop)]


def test_loads_services_and_swaps_take_their_time() -> None:
    world = simulator(a=Fate(load=5.0, stop=2.0), b=Fate(load=1.0))
    first = world.ask("a", service=3.0)
    second = world.ask("b", at=1.0, service=4.0)
    world.run()
    assert world.callers[first].waited == 5.0
    assert world.callers[second].waited == 5.0 + 3.0 + 2.0 + 1.0 - 1.0
    assert world.callers[second].released_at == 15.0
    assert world.now == 15.0


def test_running_up_to_a_time_stops_there() -> None:
    world = simulator(a=Fate(load=5.0))
    ticket = world.ask("a")
    world.run(until=4.0)
    assert world.now == 4.0
    assert world.callers[ticket].answer is None
    assert world.callers[ticket].waited is None
    world.run(until=5.0)
    assert isinstance(world.callers[ticket].answer, Forward)


def test_a_caller_gives_up_waiting_but_not_being_served() -> None:
    world = simulator(a=Fate(load=5.0))
    early = world.ask("a", gives_up_after=4.0)
    late = world.ask("a", gives_up_after=6.0, service=10.0)
    world.run()
    assert world.callers[early].answer is None
    assert world.callers[early].released_at == 4.0
    assert world.callers[late].released_at == 15.0


def test_a_start_that_fails() -> None:
    world = simulator(a=[Fate(load=5.0, fails_after=2.0, lingers=1.0), Fate()])
    first, second = world.ask("a"), world.ask("a", at=13.0)
    world.run()
    assert world.callers[first].answer == Reject(first, Refusal.START_FAILED, "died")
    assert world.callers[first].released_at == 2.0
    assert world.callers[second].waited == 1.0, "the next run has the next fate"


def test_a_start_that_never_ends() -> None:
    world = simulator(a=Fate(load=math.inf, stop=math.inf, kill=1.0))
    world.ask("a")
    world.run()
    assert stops(world) == [
        (60.0, Stop("a", 1, StopReason.START_TIMEOUT)),
        (65.0, Stop("a", 1, StopReason.START_TIMEOUT, force=True)),
    ]
    assert world.now == 66.0


def test_a_crash_while_it_serves() -> None:
    world = simulator(a=[Fate(crashes_after=2.0), Fate(load=3.0)])
    first = world.ask("a", service=10.0)
    second = world.ask("a", at=5.0)
    world.run()
    assert world.callers[first].released_at == 11.0
    assert world.callers[second].waited == 3.0


def test_an_operator_can_be_played_too() -> None:
    world = simulator(a=Fate(stop=1.0))
    world.ask("a", service=2.0)
    world.tell(UnloadRequested(("a",)), at=1.5)
    world.tell(ShutdownRequested(), at=9.0)
    world.run()
    assert stops(world) == [(3.0, Stop("a", 1, StopReason.UNLOAD))]
    assert world.engine.finished


def test_a_world_that_never_rests_is_cut_off() -> None:
    world = simulator()
    for at in range(50):
        world.ask("ab"[at % 2], at=float(at))
    with pytest.raises(TooManyStepsError, match="still busy after 30 events"):
        world.run(max_steps=30)


def test_a_journal_replays_to_the_same_commands() -> None:
    world = simulator(a=Fate(stop=1.0), b=Fate(fails_after=0.5))
    for at in range(10):
        world.ask("ab"[at % 2], at=float(at), service=2.0)
    world.run()
    again = replay(Engine(Catalog(world.engine._state.catalog)), world.journal)
    assert again == [step.commands for step in world.log]
    assert sum(map(len, again)) > 10


def times(world: Simulator, kind: type[Event]) -> list[float]:
    return [step.now for step in world.log if isinstance(step.event, kind)]


@pytest.mark.parametrize(("late", "exit_at"), [(2.0, 65.0), (5.0, 65.0), (9.0, 65.0)])
def test_a_ready_that_crosses_a_stop_comes_before_or_after_the_exit(late: float, exit_at: float) -> None:
    world = simulator(a=Fate(load=math.inf, stop=5.0, ready_after_stop=late))
    ticket = world.ask("a")
    world.run()
    assert times(world, BecameReady) == [60.0 + late]
    assert times(world, Exited) == [exit_at]
    assert isinstance(world.callers[ticket].answer, Reject)
    assert world.engine.snapshot().upstream("a").run is None


def test_a_ready_run_says_nothing_late() -> None:
    world = simulator(a=Fate(stop=5.0, ready_after_stop=1.0))
    world.ask("a")
    world.ask("b")
    world.run()
    assert times(world, BecameReady) == [1.0, 8.0]


def test_an_exit_is_reported_twice_while_the_next_run_of_the_model_is_up() -> None:
    world = simulator(a=[Fate(crashes_after=2.0, exits_twice=4.0), Fate()])
    world.ask("a", service=10.0)
    later = world.ask("a", at=4.0, service=10.0)
    world.run()
    assert times(world, Exited) == [3.0, 7.0]
    assert world.callers[later].waited == 1.0
    assert world.callers[later].released_at == 15.0
    assert world.engine.snapshot().upstream("a").run == 2


def test_ticks_too_many_change_nothing() -> None:
    plain, ticking = (
        Simulator(Catalog([Model("a", ttl=3.0), Model("b")]), spurious_ticks=spurious)
        for spurious in (False, True)
    )
    for world in (plain, ticking):
        for at in range(20):
            world.ask("ab"[at % 2], at=2.0 * at, service=1.5)
        world.run()
    assert len(times(ticking, Tick)) > len(plain.log)
    assert [step for step in ticking.log if not isinstance(step.event, Tick)] == [
        step for step in plain.log if not isinstance(step.event, Tick)
    ]


fates = st.builds(
    Fate,
    load=st.sampled_from([0.0, 1.0, 70.0]),
    stop=st.sampled_from([0.0, 2.0, math.inf]),
    kill=st.sampled_from([0.0, 3.0]),
    fails_after=st.sampled_from([math.inf, 0.5]),
    crashes_after=st.sampled_from([math.inf, math.inf, 4.0]),
    lingers=st.sampled_from([0.0, 3.0]),
    ready_after_stop=st.sampled_from([0.0, 1.0, 5.0, math.inf]),
    exits_twice=st.sampled_from([0.0, 1.0, 6.0, math.inf]),
)
traffic = st.lists(
    st.builds(
        Ask,
        model=st.sampled_from("ab"),
        after=st.sampled_from([0.0, 1.0, 10.0]),
        service=st.sampled_from([0.0, 2.0]),
        gives_up_after=st.sampled_from([0.5, 5.0, math.inf]),
        priority=st.integers(0, 1),
        patience=st.sampled_from([None, 0.0, 5.0]),
        caller=st.sampled_from([None, "x", "y"]),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(
    a=st.lists(fates, min_size=1, max_size=3),
    b=fates,
    open_ones=traffic,
    loop=traffic,
    spurious=st.booleans(),
)
def test_late_and_stale_facts_harm_nobody(
    a: list[Fate], b: Fate, open_ones: list[Ask], loop: list[Ask], *, spurious: bool
) -> None:
    catalog = Catalog([Model("a", unload_timeout=4.0), Model("b", ttl=3.0)])
    world = Simulator(catalog, fates={"a": a, "b": b}, spurious_ticks=spurious)
    world.traffic(open_ones)
    world.loop(loop)
    world.run(max_steps=5_000)
    judge = Judge(catalog, world.engine._state.planner)
    for step in world.log:
        judge.see(step.now, step.event, step.commands)
    assert len(world.callers) == len(open_ones) + len(loop)
    assert all(caller.released_at is not None for caller in world.callers.values())


def test_traffic_arrives_whatever_becomes_of_those_before() -> None:
    world = simulator(a=Fate(load=5.0))
    world.traffic([Ask(model="a", after=1.0, service=100.0), Ask(model="a", after=2.0, patience=7.0)], at=3.0)
    world.run()
    assert [caller.arrived_at for caller in world.callers.values()] == [4.0, 6.0]
    assert [step.event.patience for step in world.log if isinstance(step.event, Arrived)] == [None, 7.0]


def test_endless_traffic_is_drawn_as_it_comes() -> None:
    def endless() -> Iterator[Ask]:
        while True:
            yield Ask(model="a", after=1.0, service=0.5)

    world = simulator()
    world.traffic(endless())
    world.run(until=100.0)
    assert len(world.callers) == 101


def test_in_a_loop_each_waits_for_the_one_before_whatever_its_end() -> None:
    world = simulator(a=Fate(load=5.0), b=Fate(load=10.0, fails_after=2.0))
    seen: list[object] = []

    def program() -> Iterator[Ask]:
        for model in "aabba":
            yield Ask(model=model, after=1.0, service=2.0, gives_up_after=4.0)
            seen.append(world.callers[max(world.callers)].answer)

    world.loop(program())
    world.run()
    # The first gives up; b fails, and is then left alone for a while; a had to leave for it.
    assert [caller.arrived_at for caller in world.callers.values()] == [1.0, 6.0, 9.0, 12.0, 13.0]
    assert [type(one).__name__ for one in seen] == ["NoneType", "Forward", "Reject", "Reject", "NoneType"]


def test_the_engine_can_be_one_made_elsewhere() -> None:
    engine = Engine(Catalog([Model("a")]), policy=Policy(patience=3.0))
    world = Simulator.around(engine, fates={"a": Fate(load=4.0)})
    ticket = world.ask("a")
    world.run()
    assert world.engine is engine
    assert world.callers[ticket].waited == 4.0
    assert world.header.settings.policy.patience == 3.0


def test_all_dials_of_the_engine_are_the_simulators_too() -> None:
    world = Simulator(
        Catalog([Model("a")]),
        policy=Policy(patience=1.0),
        max_queue=2,
        shutdown_timeout=3.0,
        reload_drain_timeout=4.0,
    )
    made = world.engine._state.settings
    assert (made.policy, made.max_queue, made.shutdown_timeout, made.reload_drain_timeout) == (
        Policy(patience=1.0),
        2,
        3.0,
        4.0,
    )


def test_a_recording_is_kept_as_lines_and_read_back() -> None:
    world = simulator(a=Fate(stop=1.0), b=Fate(fails_after=0.5))
    for at in range(10):
        world.ask("ab"[at % 2], at=float(at), service=2.0)
    world.run()
    assert list(load(list(dump(world.recording)))) == world.recording


def test_callers_of_traffic_take_turns_and_keep_to_their_shares() -> None:
    model = Model("a", concurrency_limit=1, max_queue=4)
    world = Simulator(Catalog([model]), caller_share=0.5)
    asks = [Ask(model="a", caller=name, share=share) for name, share in [*[("x", None)] * 3, ("y", 0.25)]]
    world.traffic(asks)
    world.run()
    answers = [caller.answer for caller in world.callers.values()]
    assert [type(answer) for answer in answers] == [Forward, Forward, Reject, Forward]
    waits = [caller.waited for caller in world.callers.values()]
    assert waits == [1.0, 3.0, None, 2.0]
