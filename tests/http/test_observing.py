"""Tests of who hears of each step of the engine."""

from swapcore import Arrived, Forward, Refusal, Reject, Released, Start, Tick
from swapcore_http.observing import Observation, Observers


def heard(*steps: tuple[object, tuple[object, ...]]) -> tuple[list[object], list[object]]:
    """Tell of these steps; return the events that who hears everything heard, and a watcher."""
    everything: list[Observation] = []
    watched: list[Observation] = []
    observers = Observers(everything.append)
    observers.watchers.append(watched.append)
    for now, (event, commands) in enumerate(steps):
        observers.tell(float(now), event, commands)  # type: ignore[arg-type]
    return [each.event for each in everything], [each.event for each in watched]


def test_a_caller_of_a_model_that_is_up_passes_unseen_by_watchers() -> None:
    arrived, released = Arrived(1, "a"), Released(1)
    everything, watched = heard((arrived, (Forward(1, "a", 1),)), (released, ()), (Tick(), ()))
    assert everything == [arrived, released, Tick()]
    assert watched == [Tick()]


def test_who_hears_everything_can_do_without_those_who_pass_and_change_its_mind() -> None:
    everything: list[Observation] = []
    wants = [False, True, False]
    observers = Observers(everything.append, lambda: wants.pop(0))
    first, second = Arrived(1, "a"), Arrived(2, "a")
    observers.tell(0.0, first, (Forward(1, "a", 1),))
    observers.tell(1.0, second, (Forward(2, "a", 1),))
    observers.tell(2.0, Released(1), ())
    observers.tell(3.0, Released(2), (Start("b", 2),))
    observers.tell(4.0, Tick(), ())
    assert [each.event for each in everything] == [second, Released(2), Tick()]
    assert not wants


def test_watchers_hear_of_a_leaving_that_something_follows_from() -> None:
    arrived, released = Arrived(1, "a"), Released(1)
    _, watched = heard((arrived, (Forward(1, "a", 1),)), (released, (Start("b", 2),)))
    assert watched == [released]


def test_watchers_hear_of_those_who_wait_and_of_their_leaving() -> None:
    arrived, released = Arrived(1, "a"), Released(1)
    _, watched = heard((arrived, (Start("a", 1),)), (released, ()))
    assert watched == [arrived, released]


def test_watchers_hear_of_a_refusal_and_of_a_forwarding_of_somebody_else() -> None:
    first, second = Arrived(1, "a"), Arrived(2, "a")
    _, watched = heard(
        (first, (Reject(1, Refusal.UNKNOWN_MODEL, ""),)),
        (second, (Forward(3, "a", 1),)),
        (Released(2), ()),
    )
    assert watched == [first, second, Released(2)]


def test_without_anybody_nothing_is_told() -> None:
    Observers(None).tell(0.0, Tick(), ())
