"""Tests of `swapcore.engine`: one rule each, step by step."""

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Exited,
    Forward,
    LoadRequested,
    Lost,
    Model,
    Phase,
    Progressed,
    Refusal,
    Reject,
    Released,
    ShutdownRequested,
    Start,
    Stop,
    StopReason,
    Tick,
    UnloadRequested,
    Urgency,
)
from tests.core.driven import Driven, ready, together

EVICT, TTL, UNLOAD = StopReason.EVICT, StopReason.TTL, StopReason.UNLOAD


# Who is let through ----------------------------------------------------------


def test_a_caller_for_a_ready_model_is_forwarded_in_the_same_step() -> None:
    driven = ready("a")
    assert driven.tell(Arrived(2, "a")) == (Forward(2, "a", 1),)


def test_all_who_wait_are_forwarded_when_the_model_becomes_ready() -> None:
    driven = Driven("a")
    assert driven.tell(Arrived(1, "a")) == (Start("a", 1),)
    assert driven.tell(Arrived(2, "a")) == ()
    assert driven.tell(Arrived(3, "a", priority=1)) == ()
    assert driven.tell(BecameReady("a", 1)) == (Forward(3, "a", 1), Forward(1, "a", 1), Forward(2, "a", 1))


def test_a_concurrency_limit_holds_callers_back_and_counts_only_those_served() -> None:
    driven = Driven(Model("a", concurrency_limit=2))
    driven.tell(Arrived(1, "a"))
    for ticket in range(2, 20):
        assert driven.tell(Arrived(ticket, "a")) == ()
    assert driven.tell(BecameReady("a", 1)) == (Forward(1, "a", 1), Forward(2, "a", 1))
    assert driven.tell(Released(2)) == (Forward(3, "a", 1),)


def test_an_unknown_model_is_refused_at_once() -> None:
    driven = Driven("a")
    assert driven.tell(Arrived(1, "x")) == (Reject(1, Refusal.UNKNOWN_MODEL, "no model is called 'x'"),)
    assert driven.tell(Released(1)) == ()


def test_requests_are_collated() -> None:
    """A B C A B C is served A A B B C C."""
    driven = Driven(*(Model(name, concurrency_limit=1) for name in "abc"))
    served = []
    for ticket, model in enumerate("abcabc", start=1):
        commands = driven.tell(Arrived(ticket, model))
    commands = driven.tell(BecameReady("a", 1))
    while commands:
        match commands[-1]:
            case Forward(ticket, model):
                served.append(model)
                commands = driven.tell(Released(ticket))
            case Stop(model, run):
                commands = driven.tell(Exited(model, run))
            case Start(model, run):
                commands = driven.tell(BecameReady(model, run))
    assert "".join(served) == "aabbcc"


def test_a_caller_who_left_while_waiting_is_not_forwarded() -> None:
    driven = Driven("a")
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "a"))
    assert driven.tell(Released(1)) == ()
    assert driven.tell(BecameReady("a", 1)) == (Forward(2, "a", 1),)


# What is swapped, and when ---------------------------------------------------


def test_a_swap_stops_waits_for_the_exit_and_starts() -> None:
    driven = ready("a", "b")
    assert driven.tell(Arrived(2, "b")) == (Stop("a", 1, EVICT, making_room_for="b"),)
    assert driven.tell(Lost("a", 1)) == ()
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)


def test_a_busy_upstream_is_not_evicted_until_its_last_lease_is_over() -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "a"))
    driven.tell(Arrived(3, "a"))
    assert driven.tell(Arrived(4, "b")) == ()
    assert driven.tell(Released(2)) == ()
    assert driven.tell(Released(3)) == (Stop("a", 1, EVICT, making_room_for="b"),)


def test_callers_of_an_evicted_model_wait_for_its_return() -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "b"))
    assert driven.tell(Arrived(3, "a")) == (), "the room is promised to b"
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)
    assert driven.tell(BecameReady("b", 2)) == (Forward(2, "b", 2),)
    assert driven.tell(Released(2)) == (Stop("b", 2, EVICT, making_room_for="a"),)


def test_a_loading_model_is_not_evicted_but_one_loaded_for_nobody_is() -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"))
    assert driven.tell(Arrived(2, "b")) == ()
    assert driven.tell(Released(1)) == ()
    assert driven.tell(BecameReady("a", 1)) == (Stop("a", 1, EVICT, making_room_for="b"),)


def test_room_being_made_is_given_up_when_the_last_caller_for_it_leaves() -> None:
    driven = ready("a", "b", "c")
    driven.tell(Arrived(2, "b"))
    driven.tell(Arrived(3, "c"))
    assert driven.tell(Released(2)) == ()
    assert driven.tell(Exited("a", 1)) == (Start("c", 2),)


def test_models_that_fit_together_load_and_serve_together() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "bc"))
    assert driven.tell(Arrived(1, "a")) == (Start("a", 1),)
    assert driven.tell(Arrived(2, "b")) == (Start("b", 2),)
    assert driven.tell(Arrived(3, "c")) == ()
    assert driven.tell(BecameReady("b", 2)) == (Forward(2, "b", 2),)
    assert driven.tell(BecameReady("a", 1)) == (Forward(1, "a", 1),)
    assert driven.tell(Released(1)) == (Stop("a", 1, EVICT, making_room_for="c"),), "b may stay"
    assert driven.tell(Exited("a", 1)) == (Start("c", 3),)


def test_nothing_starts_that_an_earlier_promise_excludes() -> None:
    driven = Driven("a", "b", "c", planner=together("ac", "b"))
    driven.tell(Arrived(1, "a"))
    driven.tell(BecameReady("a", 1))
    driven.tell(Released(1))
    assert driven.tell(Arrived(2, "b")) == (Stop("a", 1, EVICT, making_room_for="b"),)
    assert driven.tell(Arrived(3, "c")) == (), "c fits beside a, but b was promised the room"
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)


def test_a_caller_for_a_stopping_model_gets_the_next_run_of_it() -> None:
    driven = ready(Model("a", ttl=5.0), "b")
    assert driven.tell(Tick(), at=5.0) == (Stop("a", 1, TTL),)
    assert driven.tell(Arrived(2, "a"), at=5.0) == ()
    assert driven.tell(Arrived(3, "b"), at=5.0) == (), "the caller for a came first"
    assert driven.tell(Exited("a", 1)) == (Start("a", 2),)


# Deadlines -------------------------------------------------------------------


def test_a_start_that_takes_too_long_is_given_up() -> None:
    driven = Driven(Model("a", start_timeout=30.0, unload_timeout=5.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    assert driven.due() == 30.0
    assert driven.tell(Tick(), at=29.9) == ()
    assert driven.tell(Tick(), at=30.0) == (
        Reject(1, Refusal.START_FAILED, "not ready within 30 s"),
        Stop("a", 1, StopReason.START_TIMEOUT),
    )
    assert driven.tell(BecameReady("a", 1), at=31.0) == (), "too late"
    assert driven.tell(Exited("a", 1), at=33.0) == ()
    assert driven.tell(Arrived(2, "a"), at=40.0) == (Start("a", 2),)


@pytest.mark.parametrize("extends", [False, True])
def test_progress_moves_the_deadline_of_a_start_where_the_model_allows_it(extends: bool) -> None:  # noqa: FBT001
    driven = Driven(Model("a", start_timeout=30.0, progress_extends_start=extends))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Progressed("a", 1), at=20.0)
    assert driven.due() == (50.0 if extends else 30.0)


def test_the_time_to_live_counts_from_the_last_lease() -> None:
    driven = ready(Model("a", ttl=10.0))
    assert driven.due() == 10.0
    driven.tell(Arrived(2, "a"), at=9.0)
    assert driven.due() is None, "a busy upstream does not age"
    driven.tell(Released(2), at=50.0)
    assert driven.due() == 60.0
    assert driven.tell(Tick(), at=60.0) == (Stop("a", 1, TTL),)


def test_the_time_to_live_counts_from_ready_if_nobody_ever_came() -> None:
    driven = Driven(Model("a", ttl=10.0))
    driven.tell(LoadRequested(("a",)), at=0.0)
    driven.tell(BecameReady("a", 1), at=7.0)
    assert driven.due() == 17.0


def test_a_run_that_does_not_stop_is_forced_and_then_stuck() -> None:
    driven = ready(Model("a", unload_timeout=4.0), "b")
    driven.tell(Arrived(2, "b"), at=1.0)
    assert driven.tell(Tick(), at=5.0) == (Stop("a", 1, EVICT, force=True),)
    assert driven.due() == 15.0
    reason = "b needs the room of a (run 1), which was killed and is not gone"
    assert driven.tell(Tick(), at=15.0) == (Reject(2, Refusal.STUCK, reason),)
    assert driven.due() is None
    assert driven.tell(Arrived(3, "b"), at=16.0) == (Reject(3, Refusal.STUCK, reason),)
    reason = "a needs the room of a (run 1), which was killed and is not gone"
    assert driven.tell(Arrived(4, "a"), at=16.0) == (Reject(4, Refusal.STUCK, reason),)
    assert driven.engine.snapshot().upstream("a").stuck
    assert driven.tell(Exited("a", 1), at=99.0) == ()
    assert driven.tell(Arrived(5, "b"), at=99.0) == (Start("b", 2),)


def test_all_else_is_planned_around_a_stuck_run() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "c"))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=0.0)
    driven.tell(Released(1), at=0.0)
    driven.tell(UnloadRequested(("a",)), at=0.0)
    driven.tell(Tick(), at=10.0)
    driven.tell(Tick(), at=20.0)
    assert driven.engine.snapshot().upstream("a").stuck
    assert driven.tell(Arrived(2, "c"))[0] == Reject(
        2, Refusal.STUCK, "c needs the room of a (run 1), which was killed and is not gone"
    )
    assert driven.tell(Arrived(3, "b")) == (Start("b", 2),), "b fits beside it"


def test_a_limit_of_nothing_is_kept_within_one_event() -> None:
    """Invariant 7 holds also where deadlines follow one another at once."""
    driven = ready(Model("a", unload_timeout=0.0), "b")
    assert driven.tell(Arrived(2, "b")) == (
        Stop("a", 1, EVICT, making_room_for="b"),
        Stop("a", 1, EVICT, force=True),
    )


# Failures --------------------------------------------------------------------


@pytest.mark.parametrize("fact", [Lost("a", 1, "exit status 3"), Exited("a", 1, "exit status 3")])
def test_a_run_that_ends_before_it_is_ready_fails_all_who_wait_for_it(fact: Lost | Exited) -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "a"))
    driven.tell(Arrived(3, "b"))
    rejects = tuple(Reject(ticket, Refusal.START_FAILED, "exit status 3") for ticket in (1, 2))
    if isinstance(fact, Lost):
        assert driven.tell(fact) == rejects
        assert driven.tell(Exited("a", 1)) == (Start("b", 2),)
    else:
        assert driven.tell(fact) == (*rejects, Start("b", 2))


def test_a_crashed_upstream_is_restarted_for_those_who_wait() -> None:
    driven = Driven(Model("a", concurrency_limit=1))
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "a"))
    driven.tell(BecameReady("a", 1))
    assert driven.tell(Lost("a", 1)) == ()
    assert driven.tell(Released(1)) == (), "nothing more is forwarded to a lost run"
    assert driven.tell(Exited("a", 1)) == (Start("a", 2),)
    assert driven.tell(BecameReady("a", 2)) == (Forward(2, "a", 2),)


def test_a_lease_that_outlives_its_run_does_not_pass_it_on() -> None:
    driven = Driven(Model("a", concurrency_limit=1))
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "a"))
    driven.tell(BecameReady("a", 1))
    assert driven.tell(Exited("a", 1)) == (Start("a", 2),)
    assert driven.tell(Released(1)) == ()
    assert driven.tell(BecameReady("a", 2)) == (Forward(2, "a", 2),)


def test_a_lost_run_whose_room_does_not_come_back_is_forced() -> None:
    driven = ready(Model("a", unload_timeout=4.0))
    driven.tell(Lost("a", 1), at=10.0)
    assert driven.tell(Tick(), at=14.0) == (Stop("a", 1, StopReason.LOST, force=True),)


def test_facts_of_older_runs_mean_nothing() -> None:
    driven = ready("a")
    driven.tell(Exited("a", 1))
    driven.tell(Arrived(2, "a"))
    for fact in (BecameReady("a", 1), Lost("a", 1), Exited("a", 1), Progressed("a", 1)):
        assert driven.tell(fact) == ()
    assert driven.engine.snapshot().upstream("a").phase is Phase.STARTING
    assert driven.tell(BecameReady("a", 2)) == (Forward(2, "a", 2),)


def test_ready_that_crosses_a_stop_changes_nothing() -> None:
    driven = Driven("a")
    driven.tell(LoadRequested(("a",)))
    assert driven.tell(UnloadRequested(("a",))) == (Stop("a", 1, UNLOAD),)
    assert driven.tell(BecameReady("a", 1)) == ()
    assert driven.engine.snapshot().upstream("a").phase is Phase.STOPPING


# The operator ----------------------------------------------------------------


def test_loads_come_up_in_order_one_after_the_other() -> None:
    driven = Driven("a", "b", planner=together("ab"))
    assert driven.tell(LoadRequested(("b", "a"))) == (Start("b", 1),)
    assert driven.engine.snapshot().wishes == ("b", "a")
    assert driven.tell(BecameReady("b", 1)) == (Start("a", 2),)
    assert driven.tell(BecameReady("a", 2)) == ()
    assert driven.engine.snapshot().wishes == ()


def test_a_load_evicts_only_the_idle_and_yields_to_any_caller() -> None:
    driven = ready("a", "b", "c")
    driven.tell(Arrived(2, "a"))
    assert driven.tell(LoadRequested(("b",))) == ()
    assert driven.tell(Released(2)) == (Stop("a", 1, EVICT, making_room_for="b"),)
    assert driven.tell(Arrived(3, "c")) == ()
    assert driven.tell(Exited("a", 1)) == (Start("c", 2),), "the caller takes the room promised to the wish"
    driven.tell(BecameReady("c", 2))
    assert driven.tell(Released(3)) == (Stop("c", 2, EVICT, making_room_for="b"),)


def test_a_load_that_fails_is_not_repeated() -> None:
    driven = Driven("a", "b")
    driven.tell(LoadRequested(("a", "b")))
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)
    assert driven.tell(Exited("b", 2)) == ()


def test_an_unload_refuses_who_waits_and_drains_who_is_served() -> None:
    driven = ready(Model("a", concurrency_limit=1, unload_timeout=20.0))
    driven.tell(Arrived(2, "a"), at=0.0)
    driven.tell(Arrived(3, "a"), at=0.0)
    refused = Reject(3, Refusal.UNLOADED, "a was unloaded while this request waited for it")
    assert driven.tell(UnloadRequested(("a",)), at=1.0) == (refused,)
    assert driven.engine.snapshot().upstream("a").closed
    assert driven.tell(Arrived(4, "a"), at=2.0) == (), "a closed upstream takes no new callers"
    assert driven.tell(Released(2), at=3.0) == (Stop("a", 1, UNLOAD),)
    assert driven.tell(Exited("a", 1), at=4.0) == (Start("a", 2),)


def test_a_draining_unload_cuts_after_the_unload_timeout_and_its_grace_counts_from_then() -> None:
    driven = ready(Model("a", unload_timeout=20.0))
    driven.tell(Arrived(2, "a"), at=0.0)
    driven.tell(UnloadRequested(("a",)), at=1.0)
    driven.tell(UnloadRequested(("a",)), at=15.0)
    assert driven.due() == 21.0, "asking again does not put it off"
    assert driven.tell(Tick(), at=21.0) == (Stop("a", 1, UNLOAD),)
    assert driven.due() == 41.0


def test_an_unload_now_cuts() -> None:
    driven = ready("a")
    driven.tell(Arrived(2, "a"))
    assert driven.tell(UnloadRequested(("a",), Urgency.NOW)) == (Stop("a", 1, UNLOAD),)


def test_an_unload_of_a_loading_model_stops_it() -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "b"))
    assert driven.tell(UnloadRequested(("a", "b"))) == (
        Reject(1, Refusal.UNLOADED, "a was unloaded while this request waited for it"),
        Stop("a", 1, UNLOAD),
        Reject(2, Refusal.UNLOADED, "b was unloaded while this request waited for it"),
    )


def test_a_shutdown_refuses_drains_cuts_and_is_hurried_by_the_next() -> None:
    driven = Driven("a", "b", "c", planner=together("abc"), shutdown_timeout=30.0)
    for ticket, model in enumerate("ab", start=1):
        driven.tell(Arrived(ticket, model))
        driven.tell(BecameReady(model, ticket))
    driven.tell(Arrived(3, "c"))
    driven.tell(Released(2))
    refused = Reject(3, Refusal.SHUTTING_DOWN, "the server is shutting down")
    shutdown = StopReason.SHUTDOWN
    assert driven.tell(ShutdownRequested(), at=100.0) == (
        refused,
        Stop("b", 2, shutdown),
        Stop("c", 3, shutdown),
    )
    assert driven.tell(Arrived(4, "a"), at=101.0)[0] == Reject(
        4, Refusal.SHUTTING_DOWN, "the server is shutting down"
    )
    driven.tell(Exited("b", 2), at=102.0)
    assert driven.tell(ShutdownRequested(), at=103.0) == (Stop("a", 1, shutdown),)
    assert driven.tell(ShutdownRequested(), at=104.0) == (
        Stop("a", 1, shutdown, force=True),
        Stop("c", 3, shutdown, force=True),
    )
    driven.tell(Exited("a", 1))
    assert not driven.engine.finished
    driven.tell(Exited("c", 3))
    assert driven.engine.finished


def test_a_draining_shutdown_cuts_when_its_time_is_over() -> None:
    driven = ready("a", shutdown_timeout=7.0)
    driven.tell(Arrived(2, "a"), at=0.0)
    assert driven.tell(ShutdownRequested(), at=1.0) == ()
    assert driven.tell(Tick(), at=8.0) == (Stop("a", 1, StopReason.SHUTDOWN),)


def test_a_load_during_a_shutdown_is_not_wished_for() -> None:
    driven = Driven("a")
    driven.tell(ShutdownRequested())
    assert driven.tell(LoadRequested(("a",))) == ()
    assert driven.engine.finished
