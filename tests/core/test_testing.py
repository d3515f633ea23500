"""Tests of `swapcore.testing`."""

import math

import pytest

from swapcore import (
    Catalog,
    Engine,
    Forward,
    Model,
    Refusal,
    Reject,
    ShutdownRequested,
    Stop,
    StopReason,
    UnloadRequested,
)
from swapcore.testing import Fate, Simulator, TooManyStepsError, replay


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
