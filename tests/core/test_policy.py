"""Tests of the policy: who falls due, what that changes, and what is refused at once."""

import math

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Exited,
    Forward,
    LoadRequested,
    Lost,
    Model,
    Phase,
    Policy,
    Refusal,
    Reject,
    Released,
    Settings,
    ShutdownRequested,
    Start,
    Stop,
    StopReason,
    Tick,
    UnloadRequested,
    one_at_a_time,
)
from swapcore.planning import Group, Groups
from tests.core.driven import Driven, evict, ready, together

EVICT = StopReason.EVICT


def hot(**dials: float) -> Driven:
    """Run 1 of a took 10 s to load and serves ticket 1; a stop takes 1 s until shown otherwise."""
    driven = Driven(Model("a", concurrency_limit=2), "b", "c", policy=Policy(**dials))  # type: ignore[arg-type]
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=10.0)
    return driven


# Falling due -----------------------------------------------------------------


def test_a_due_caller_closes_the_model_in_its_way_which_drains_and_leaves() -> None:
    driven = hot()
    driven.tell(Arrived(2, "b"), at=20.0)
    # Its patience less the time its model needs: 60 s less 10 s of load and 1 s of stop.
    assert driven.due() == 69.0
    assert driven.tell(Arrived(3, "a"), at=68.0) == (Forward(3, "a", 1),)
    assert driven.tell(Tick(), at=69.0) == ()
    assert driven.engine.snapshot().upstream("a").closed
    assert driven.tell(Arrived(4, "a"), at=70.0) == (), "a closed model takes no new callers"
    assert driven.tell(Released(1), at=71.0) == ()
    assert driven.tell(Released(3), at=75.0) == (Stop("a", 1, EVICT, making_room_for="b"),)
    assert driven.tell(Exited("a", 1), at=76.0) == (Start("b", 2),)


def test_with_infinite_patience_nobody_is_ever_due() -> None:
    driven = hot(patience=math.inf)
    driven.tell(Arrived(2, "b"), at=20.0)
    assert driven.due() is None
    assert driven.tell(Arrived(3, "a"), at=9999.0) == (Forward(3, "a", 1),)


def test_a_visit_lasts_at_least_its_quantum() -> None:
    driven = hot(patience=5.0, load_factor=0.0)
    driven.tell(Arrived(2, "b"), at=10.5)
    # Due at once, but the visit began at 10 and a costs 11 s to bring in.
    assert driven.tell(Arrived(3, "a"), at=20.9) == (Forward(3, "a", 1),)
    assert driven.due() == 21.0
    driven.tell(Tick(), at=21.0)
    assert driven.engine.snapshot().upstream("a").closed


def test_an_idle_model_in_the_way_is_not_kept_for_its_quantum() -> None:
    driven = hot(patience=1.0)
    driven.tell(Released(1), at=10.5)
    assert driven.tell(Arrived(2, "b"), at=11.0) == (Stop("a", 1, EVICT, making_room_for="b"),)


def test_those_who_waited_when_it_became_ready_are_served_before_it_leaves() -> None:
    driven = Driven(Model("a", concurrency_limit=1), "b", policy=Policy(patience=5.0, quantum=0.0))
    for ticket in (1, 2, 3):
        driven.tell(Arrived(ticket, "a"), at=0.0)
    driven.tell(Arrived(4, "b"), at=0.0)
    assert driven.tell(BecameReady("a", 1), at=100.0) == (Forward(1, "a", 1),)
    assert driven.engine.snapshot().upstream("a").closed
    assert driven.tell(Arrived(5, "a"), at=101.0) == ()
    assert driven.tell(Released(1), at=102.0) == (Forward(2, "a", 1),)
    assert driven.tell(Released(2), at=103.0) == (Forward(3, "a", 1),)
    assert driven.tell(Released(3), at=104.0) == (Stop("a", 1, EVICT, making_room_for="b"),)


def test_what_was_closed_opens_again_when_the_due_caller_leaves() -> None:
    driven = hot()
    driven.tell(Arrived(2, "b"), at=20.0)
    driven.tell(Tick(), at=69.0)
    driven.tell(Arrived(3, "a"), at=70.0)
    assert driven.tell(Released(2), at=71.0) == (Forward(3, "a", 1),)
    assert not driven.engine.snapshot().upstream("a").closed


def test_due_models_go_earliest_due_first_whatever_their_priority() -> None:
    driven = hot()
    driven.tell(Arrived(2, "b", patience=40.0), at=20.0)
    driven.tell(Arrived(3, "c", priority=9, patience=80.0), at=20.0)
    driven.tell(Tick(), at=110.0)
    assert driven.tell(Released(1), at=110.0) == (Stop("a", 1, EVICT, making_room_for="b"),)


def test_among_models_that_are_not_due_the_highest_priority_goes_first() -> None:
    driven = hot()
    driven.tell(Arrived(2, "b"), at=20.0)
    driven.tell(Arrived(3, "c", priority=1), at=21.0)
    assert driven.tell(Released(1), at=22.0) == (Stop("a", 1, EVICT, making_room_for="c"),)


def test_inside_a_model_arrival_alone_counts_once_one_is_due() -> None:
    driven = Driven(Model("a", concurrency_limit=1, patience=50.0), policy=Policy())
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Arrived(2, "a"), at=1.0)
    driven.tell(Arrived(3, "a", priority=5), at=2.0)
    assert driven.tell(BecameReady("a", 1), at=10.0) == (Forward(3, "a", 1),)
    driven.tell(Arrived(4, "a", priority=5), at=11.0)
    assert driven.tell(Released(3), at=90.0) == (Forward(1, "a", 1),)


@pytest.mark.parametrize(
    ("model", "caller", "due"),
    [(None, None, 60.0), (30.0, None, 30.0), (30.0, 90.0, 90.0), (30.0, math.inf, None)],
)
def test_patience_is_the_caller_s_or_the_model_s_or_everybody_s(
    model: float | None, caller: float | None, due: float | None
) -> None:
    driven = Driven("a", Model("b", patience=model))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=0.0)
    driven.tell(Arrived(2, "b", patience=caller), at=0.0)
    (view,) = driven.engine.snapshot().tickets
    # The load of a took no time, and a stop is taken for 1 s.
    assert view.due == (None if due is None else due - 1.0)


def test_under_overload_patience_stretches_to_two_cycles() -> None:
    driven = Driven(Model("a", concurrency_limit=1), Model("b", concurrency_limit=1))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=10.0)
    driven.tell(Released(1), at=15.0)
    driven.tell(Arrived(2, "a"), at=15.0)
    for ticket in range(3, 11):
        driven.tell(Arrived(ticket, "a"), at=15.0)
    driven.tell(Arrived(11, "b"), at=15.0)
    views = {view.ticket: view for view in driven.engine.snapshot().tickets}
    # Eight wait for a and one for b, at 5 s each; each model costs 11 s to bring in.
    assert views[11].due == 15.0 + 2 * (8 * 5 + 11 + 1 * 5 + 11) - 11


def test_nothing_starts_that_a_due_target_needs_gone() -> None:
    driven = Driven(
        Model("a"),
        "b",
        "c",
        planner=together("ac", "b"),
        policy=Policy(patience=5.0, load_factor=0.0, quantum=100.0),
    )
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=10.0)
    driven.tell(Arrived(2, "b"), at=20.0)
    assert driven.tell(Arrived(3, "c"), at=30.0) == (), "b is due, and c would have to leave for it"
    assert driven.tell(Released(1), at=31.0) == (Stop("a", 1, EVICT, making_room_for="b"),)


def test_only_what_stands_in_the_way_is_closed() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "bc"), policy=Policy(patience=5.0, quantum=0.0))
    for run, model in ((1, "a"), (2, "b")):
        driven.tell(Arrived(run, model), at=0.0)
        driven.tell(BecameReady(model, run), at=0.0)
    driven.tell(Arrived(3, "c"), at=1.0)
    driven.tell(Tick(), at=10.0)
    snapshot = driven.engine.snapshot()
    assert (snapshot.upstream("a").closed, snapshot.upstream("b").closed) == (True, False)
    assert driven.tell(Arrived(4, "b"), at=11.0) == (Forward(4, "b", 2),)


def test_choosing_by_age_or_work_prefers_the_model_that_serves_most_for_its_time() -> None:
    first = {}
    for choice in ("oldest", "age", "work"):
        driven = Driven("a", "b", "c", policy=Policy(choice=choice))
        driven.tell(Arrived(1, "a"), at=0.0)
        driven.tell(BecameReady("a", 1), at=10.0)
        driven.tell(Arrived(2, "b"), at=11.0)
        for ticket in range(3, 9):
            driven.tell(Arrived(ticket, "c"), at=12.0)
        (stop,) = driven.tell(Released(1), at=20.0)
        assert isinstance(stop, Stop)
        first[choice] = stop.making_room_for
    assert first == {"oldest": "b", "age": "c", "work": "c"}


@pytest.mark.parametrize(
    "dials", [{"patience": -1.0}, {"load_factor": math.nan}, {"quantum": -0.1}, {"choice": "x"}]
)
def test_dials_out_of_range_are_refused(dials: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(dials))):
        Policy(**dials)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [3600.0, 86400.0])
def test_one_endless_lease_or_stop_does_not_end_patience(seconds: float) -> None:
    driven = Driven(Model("a", concurrency_limit=2), Model("b", concurrency_limit=2))
    driven.tell(Arrived(1, "b"), at=0.0)
    driven.tell(BecameReady("b", 1), at=10.0)
    driven.tell(Released(1), at=10.0 + seconds)
    driven.tell(Arrived(2, "a"), at=10.0 + seconds)
    driven.tell(Tick(), at=20.0 + seconds)
    driven.tell(Tick(), at=30.0 + seconds)
    begun = 10.0 + 2 * seconds
    driven.tell(Released(2), at=begun)
    driven.tell(Exited("b", 1), at=begun)
    driven.tell(Arrived(3, "a"), at=begun)
    driven.tell(BecameReady("a", 2), at=begun + 10.0)
    driven.tell(Arrived(4, "b"), at=begun + 10.0)
    (view,) = driven.engine.snapshot().tickets
    assert view.due is not None
    # At most two rounds of one load and one service, the service counted as the patience at most.
    assert view.due - driven.now <= 2 * (11.0 + 60.0)


# What is chosen to leave -----------------------------------------------------


def test_the_cheaper_load_that_has_been_idle_longer_leaves() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "ac", "bc"))
    for run, (model, load) in enumerate({"a": 30.0, "b": 5.0}.items(), start=1):
        begun = driven.now
        driven.tell(Arrived(run, model), at=begun)
        driven.tell(BecameReady(model, run), at=begun + load)
        driven.tell(Released(run), at=begun + load)
    # At 40 s a has been idle for 10 s at 30 s of load, b for 5 s at 5 s.
    assert driven.tell(Arrived(3, "c"), at=40.0) == (Stop("b", 2, EVICT, making_room_for="c"),)


def test_idle_ones_leave_rather_than_busy_ones_whatever_they_cost() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "ac", "bc"))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=500.0)
    driven.tell(Released(1), at=500.0)
    driven.tell(Arrived(2, "b"), at=500.0)
    driven.tell(BecameReady("b", 2), at=501.0)
    assert driven.tell(Arrived(3, "c"), at=502.0) == (Stop("a", 1, EVICT, making_room_for="c"),)


def test_who_does_not_fit_beside_a_pinned_model_is_refused_as_that_starts() -> None:
    driven = Driven(Model("a", pinned=True), "b", "c")
    driven.tell(Arrived(1, "c"))
    driven.tell(Arrived(2, "a"))
    driven.tell(Arrived(3, "b"))
    told = driven.tell(Exited("c", 1, "gone"))
    assert [type(each) for each in told] == [Reject, Start, Reject]
    refused = told[-1]
    assert isinstance(refused, Reject)
    assert (refused.ticket, refused.refusal) == (3, Refusal.CANNOT_FIT)


def test_a_pinned_model_stays_and_who_does_not_fit_beside_it_is_refused() -> None:
    driven = Driven(Model("a", pinned=True, ttl=5.0), "b", "c", planner=together("ab", "c"))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(Released(1), at=2.0)
    assert driven.due() is None, "its time to live does not count"
    refused = Reject(2, Refusal.CANNOT_FIT, "c does not fit beside a, which is pinned")
    assert driven.tell(Arrived(2, "c"), at=100.0) == (refused,)
    assert driven.tell(Arrived(3, "b"), at=100.0) == (Start("b", 2),)
    assert driven.tell(UnloadRequested(("a",)), at=101.0) == (Stop("a", 1, StopReason.UNLOAD),)


GROUPS = Groups([Group("one", ("a",), exclusive=True), Group("other", ("b",), exclusive=False)], ["a", "b"])


def both_up() -> Driven:
    """Let a and then b serve one caller each."""
    driven = Driven("a", "b", planner=GROUPS)
    driven.tell(Arrived(1, "a"))
    driven.tell(BecameReady("a", 1))
    driven.tell(Arrived(2, "b"))
    driven.tell(BecameReady("b", 2))
    return driven


def test_llama_swap_s_one_way_rule_stops_the_other_once_it_is_idle() -> None:
    driven = both_up()
    assert driven.tell(Arrived(3, "a")) == (Forward(3, "a", 1),), (
        "a is up: its caller does not wait for b to leave"
    )
    assert driven.tell(Released(3)) == ()
    assert driven.tell(Arrived(4, "b")) == (Forward(4, "b", 2),)
    assert driven.tell(Released(2)) == ()
    assert driven.tell(Released(4)) == (Stop("b", 2, EVICT, making_room_for="a"),)


def test_who_may_evict_nobody_stops_nothing_by_the_one_way_rule() -> None:
    driven = both_up()
    assert driven.tell(Arrived(3, "a", evicts=False)) == (Forward(3, "a", 1),)
    for ticket in (3, 2, 1):
        # Not when the other becomes idle either.
        assert driven.tell(Released(ticket)) == ()
    assert driven.tell(Arrived(4, "a")) == (
        Forward(4, "a", 1),
        Stop("b", 2, EVICT, making_room_for="a"),
    )


def test_the_one_way_rule_is_one_way() -> None:
    driven = Driven("a", "b", planner=GROUPS)
    driven.tell(Arrived(1, "a"))
    driven.tell(BecameReady("a", 1))
    driven.tell(Released(1))
    assert driven.tell(Arrived(2, "b")) == (Start("b", 2),)
    driven.tell(BecameReady("b", 2))
    assert driven.tell(Released(2)) == ()
    assert driven.engine.snapshot().upstream("a").phase is Phase.READY


# Abandoned loads -------------------------------------------------------------


def test_a_load_that_everyone_has_left_is_aborted_for_someone_else() -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Released(1), at=2.0)
    assert driven.tell(Arrived(2, "b"), at=2.2) == ()
    assert driven.due() == 2.5
    abort = Stop("a", 1, StopReason.ABANDONED, making_room_for="b")
    assert driven.tell(Tick(), at=2.5) == (abort,)
    assert driven.tell(Exited("a", 1), at=3.0) == (Start("b", 2),)
    driven.tell(BecameReady("b", 2), at=4.0)
    assert driven.tell(Released(2), at=4.0) == ()
    # The next load of it is finished, whoever leaves.
    driven.tell(Arrived(3, "a"), at=5.0)
    driven.tell(Exited("b", 2), at=6.0)
    driven.tell(Released(3), at=7.0)
    driven.tell(Arrived(4, "b"), at=20.0)
    assert driven.tell(BecameReady("a", 3), at=30.0) == (Stop("a", 3, EVICT, making_room_for="b"),)


def test_a_load_that_someone_comes_back_for_is_not_aborted() -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Released(1), at=2.0)
    driven.tell(Arrived(2, "b"), at=2.2)
    driven.tell(Arrived(3, "a"), at=2.4)
    assert driven.tell(Tick(), at=2.5) == ()


def test_a_load_that_nobody_else_needs_room_for_is_finished_and_ages_from_ready() -> None:
    driven = Driven(Model("a", ttl=30.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Released(1), at=1.0)
    assert driven.tell(BecameReady("a", 1), at=10.0) == ()
    assert driven.due() == 40.0


def test_a_load_wished_for_gives_way_to_a_caller() -> None:
    driven = Driven("a", "b")
    driven.tell(LoadRequested(("a",)), at=0.0)
    assert driven.tell(Arrived(1, "b"), at=1.0) == (Stop("a", 1, StopReason.ABANDONED, making_room_for="b"),)


# Failures --------------------------------------------------------------------


def fail(driven: Driven, ticket: int, run: int, at: float) -> None:
    driven.tell(Arrived(ticket, "a"), at=at)
    assert driven.engine.snapshot().upstream("a").run == run
    driven.tell(Exited("a", run, "exit status 1"), at=at)
    driven.tell(Released(ticket), at=at)


def test_a_failed_start_cools_down_longer_each_time() -> None:
    driven = Driven("a")
    at = 0.0
    for run, seconds in enumerate([10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0], start=1):
        fail(driven, run, run, at)
        assert driven.engine.snapshot().upstream("a").cooling_until == at + seconds
        (reject,) = driven.tell(Arrived(100 + run, "a"), at=at + 1.0)
        assert isinstance(reject, Reject)
        assert (reject.refusal, reject.retry_after) == (Refusal.COOLING_DOWN, seconds - 1.0)
        at += seconds
    assert driven.tell(Arrived(99, "a"), at=at) == (Start("a", 8),)


def test_thirty_seconds_ready_make_up_for_all_failures() -> None:
    driven = Driven("a")
    fail(driven, 1, 1, 0.0)
    driven.tell(Arrived(2, "a"), at=10.0)
    driven.tell(BecameReady("a", 2), at=11.0)
    driven.tell(Released(2), at=11.0)
    driven.tell(Lost("a", 2), at=41.0)
    driven.tell(Exited("a", 2), at=41.0)
    assert driven.tell(Arrived(3, "a"), at=41.0) == (Start("a", 3),)
    driven.tell(Exited("a", 3), at=42.0)
    assert driven.engine.snapshot().upstream("a").cooling_until == 52.0


def test_a_first_early_crash_is_restarted_at_once_and_a_loop_cools_down() -> None:
    driven = Driven(Model("a", concurrency_limit=1))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Arrived(2, "a"), at=0.0)
    driven.tell(Arrived(3, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(Lost("a", 1), at=2.0)
    assert driven.tell(Exited("a", 1), at=2.0) == (Start("a", 2),)
    assert driven.tell(BecameReady("a", 2), at=3.0) == (Forward(2, "a", 2),)
    (reject,) = driven.tell(Lost("a", 2), at=4.0)
    assert isinstance(reject, Reject)
    assert (reject.ticket, reject.refusal, reject.retry_after) == (3, Refusal.COOLING_DOWN, 20.0)


def test_an_unload_forgives() -> None:
    driven = Driven("a")
    fail(driven, 1, 1, 0.0)
    driven.tell(UnloadRequested(("a",)), at=1.0)
    assert driven.tell(Arrived(2, "a"), at=1.0) == (Start("a", 2),)


def test_a_wish_waits_until_its_model_has_cooled_down() -> None:
    driven = Driven("a")
    fail(driven, 1, 1, 0.0)
    assert driven.tell(LoadRequested(("a",)), at=4.0) == ()
    assert driven.due() == 10.0
    assert driven.tell(Tick(), at=10.0) == (Start("a", 2),)


def test_an_old_failure_is_forgotten_however_a_proven_run_ends() -> None:
    driven = Driven(Model("a", ttl=50.0))
    fail(driven, 1, 1, 0.0)
    driven.tell(Arrived(2, "a"), at=10.0)
    driven.tell(BecameReady("a", 2), at=11.0)
    driven.tell(Released(2), at=11.0)
    driven.tell(Tick(), at=61.0)
    driven.tell(Exited("a", 2), at=62.0)
    fail(driven, 3, 3, 100.0)
    assert driven.engine.snapshot().upstream("a").cooling_until == 110.0


def test_a_run_that_died_early_is_not_proven_by_how_long_it_lingers() -> None:
    driven = Driven("a")
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(Lost("a", 1, "killed by SIGSEGV\nits output"), at=2.0)
    driven.tell(Released(1), at=2.0)
    driven.tell(Exited("a", 1), at=90.0)
    driven.tell(Arrived(2, "a"), at=91.0)
    driven.tell(Exited("a", 2, "exit status 1\nits output"), at=92.0)
    driven.tell(Released(2), at=92.0)
    (reject,) = driven.tell(Arrived(3, "a"), at=92.0)
    assert isinstance(reject, Reject)
    assert reject.detail == "a has failed 2 times in a row (exit status 1); it is tried again in 20 s"


def test_a_wish_that_cools_down_does_not_hold_up_the_next() -> None:
    driven = Driven("a", "b", planner=together("ab"))
    fail(driven, 1, 1, 0.0)
    assert driven.tell(LoadRequested(("a", "b")), at=1.0) == (Start("b", 2),)
    driven.tell(BecameReady("b", 2), at=2.0)
    assert driven.due() == 10.0
    assert driven.tell(Tick(), at=10.0) == (Start("a", 3),)


# Admission -------------------------------------------------------------------


def test_one_caller_too_many_is_refused_with_an_estimate() -> None:
    driven = Driven(Model("a", concurrency_limit=1, max_queue=2), "b", max_queue=3)
    for ticket in (1, 2):
        driven.tell(Arrived(ticket, "a"), at=0.0)
    (reject,) = driven.tell(Arrived(3, "a"), at=0.0)
    assert isinstance(reject, Reject)
    assert reject.refusal is Refusal.QUEUE_FULL
    # A load of 10 s and a stop of 1 s are assumed, and two services of 2 s.
    assert reject.retry_after == 15.0
    driven.tell(Arrived(4, "b"), at=0.0)
    (reject,) = driven.tell(Arrived(5, "b"), at=0.0)
    assert isinstance(reject, Reject)
    assert reject.refusal is Refusal.QUEUE_FULL
    driven.tell(BecameReady("a", 1), at=1.0)
    assert driven.tell(Arrived(6, "b"), at=1.0) == (), "who is served does not count"


def test_a_queue_of_none_serves_only_who_need_not_wait() -> None:
    driven = Driven(Model("a", concurrency_limit=1, max_queue=0))
    driven.tell(LoadRequested(("a",)), at=0.0)
    driven.tell(BecameReady("a", 1), at=0.0)
    assert driven.tell(Arrived(2, "a"), at=1.0) == (Forward(2, "a", 1),)
    (reject,) = driven.tell(Arrived(3, "a"), at=1.0)
    assert isinstance(reject, Reject)
    assert reject.refusal is Refusal.QUEUE_FULL


# A new catalog ---------------------------------------------------------------


def test_what_a_new_catalog_does_not_change_goes_on() -> None:
    driven = ready(Model("b", revision="1"))
    driven.tell(Arrived(2, "b"), at=1.0)
    new = Catalog([Model("a"), Model("b", revision="1", ttl=7.0)])
    assert driven.tell(CatalogReplaced(new), at=2.0) == ()
    assert driven.tell(Arrived(3, "b"), at=3.0) == (Forward(3, "b", 1),)
    driven.tell(Released(2), at=4.0)
    driven.tell(Released(3), at=5.0)
    assert driven.due() == 12.0, "its new time to live counts"


def test_a_changed_model_drains_then_restarts_on_demand() -> None:
    driven = ready(Model("a", revision="1"))
    driven.tell(Arrived(2, "a"), at=1.0)
    assert driven.tell(CatalogReplaced(Catalog([Model("a", revision="2")])), at=2.0) == ()
    assert driven.tell(Arrived(3, "a"), at=3.0) == (), "who comes now waits for the new one"
    assert driven.due() is None or driven.due() != 3.0
    assert driven.tell(Released(2), at=4.0) == (Stop("a", 1, StopReason.RELOAD),)
    assert driven.tell(Exited("a", 1), at=5.0) == (Start("a", 2),)


def test_a_removed_model_refuses_who_waits_and_drains_who_is_served() -> None:
    driven = ready(Model("a", concurrency_limit=1), "b", reload_drain_timeout=9.0)
    driven.tell(Arrived(2, "a"), at=1.0)
    driven.tell(Arrived(3, "a"), at=1.0)
    refused = Reject(3, Refusal.UNKNOWN_MODEL, "a was removed from the configuration")
    assert driven.tell(CatalogReplaced(Catalog([Model("b")])), at=2.0) == (refused,)
    assert driven.engine.snapshot().upstream("a").closed
    assert driven.tell(Arrived(4, "b"), at=3.0) == (), "its room is taken until it is gone"
    assert driven.tell(Tick(), at=11.0) == (Stop("a", 1, StopReason.RELOAD),)
    assert driven.tell(Exited("a", 1), at=12.0) == (Start("b", 2),)


def test_what_may_not_live_together_any_more_leaves_the_most_recently_used() -> None:
    driven = Driven("a", "b", planner=together("ab"))
    for run, model in ((1, "a"), (2, "b")):
        driven.tell(Arrived(run, model))
        driven.tell(BecameReady(model, run))
        driven.tell(Released(run))
    replaced = CatalogReplaced(Catalog([Model("a"), Model("b")]), one_at_a_time)
    assert driven.tell(replaced) == (Stop("a", 1, StopReason.RELOAD),)


def test_a_new_revision_is_tried_at_once() -> None:
    driven = Driven(Model("a", revision="1"))
    fail(driven, 1, 1, 0.0)
    driven.tell(CatalogReplaced(Catalog([Model("a", revision="2")])), at=1.0)
    assert driven.tell(Arrived(2, "a"), at=1.0) == (Start("a", 2),)


def test_a_new_catalog_during_a_shutdown_changes_nothing() -> None:
    driven = ready("a")
    driven.tell(Arrived(2, "a"))
    driven.tell(ShutdownRequested())
    assert driven.tell(CatalogReplaced(Catalog([Model("b")]))) == ()
    (stop,) = driven.tell(Released(2))
    assert isinstance(stop, Stop)


def test_new_settings_hold_from_the_new_catalog_on() -> None:
    driven = ready(Model("a", concurrency_limit=1), "b")
    driven.tell(Arrived(2, "a"), at=1.0)
    driven.tell(Arrived(3, "b"), at=1.0)
    settings = Settings(max_queue=1, shutdown_timeout=5.0, reload_drain_timeout=9.0)
    removed = Catalog([Model("b")])
    assert driven.tell(CatalogReplaced(removed, settings=settings), at=2.0) == ()
    (full,) = driven.tell(Arrived(4, "b"), at=3.0)
    assert isinstance(full, Reject)
    assert full.refusal is Refusal.QUEUE_FULL
    assert driven.due() == 11.0, "the new limit cuts what the same catalog removes"
    driven.tell(CatalogReplaced(removed), at=4.0)
    driven.tell(ShutdownRequested(), at=5.0)
    assert driven.due() == 10.0, "a catalog without settings keeps them"


def test_a_new_patience_holds_for_who_arrives_after_it() -> None:
    driven = ready("a", "b", policy=Policy(patience=50.0))
    driven.tell(Arrived(2, "a"), at=0.0)
    driven.tell(Arrived(3, "b"), at=0.0)
    catalog = Catalog([Model("a"), Model("b")])
    driven.tell(CatalogReplaced(catalog, settings=Settings(policy=Policy(patience=20.0))), at=1.0)
    driven.tell(Arrived(4, "b"), at=1.0)
    dues = {view.ticket: view.due for view in driven.engine.snapshot().tickets}
    assert dues == {3: 49.0, 4: 20.0}, "each its patience, less the stop that its model needs"


# Looking ---------------------------------------------------------------------


def test_the_snapshot_says_who_waits_where_and_for_how_long() -> None:
    driven = Driven(Model("a", concurrency_limit=1), Model("b", concurrency_limit=1))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=10.0)
    driven.tell(Released(1), at=14.0)
    for ticket, model in enumerate("aaabb", start=2):
        driven.tell(Arrived(ticket, model), at=20.0)
    rows = [
        (view.ticket, view.position, view.waited, view.estimate) for view in driven.engine.snapshot().tickets
    ]
    # Ticket 2 is being served for 4 s, and then two more; b takes 10 s to load, and 1 s for a to stop.
    assert rows == [(3, 1, 0.0, 4.0), (4, 2, 0.0, 8.0), (5, 3, 0.0, 23.0), (6, 4, 0.0, 27.0)]


def test_a_target_that_fits_beside_what_it_evicts_starts_at_once() -> None:
    # With no history it costs nothing to lose d, and this planner takes the first set for which that holds.
    driven = ready("d", "a", "b", "c", planner=together("abc", "ad"))
    commands = driven.tell(Arrived(2, "a"), at=0.0)
    assert evict("d", 1, "a") in commands
    assert Start("a", 2) in commands
