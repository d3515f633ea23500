"""Do the races of reference/hard-cases.md §2 end as they should? Each is a short sequence of events.

test_hard_cases.py lists them and sees that none is missing.
"""

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Exited,
    Forward,
    Lost,
    Model,
    Policy,
    Released,
    Start,
    Stop,
    StopReason,
    Tick,
)
from tests.core.driven import Driven, evict, ready, together


def closing() -> Driven:
    """Run 1 of a serves ticket 1, and is closed for ticket 2, who waits for b."""
    driven = Driven(
        Model("a", concurrency_limit=4), "b", policy=Policy(patience=5.0, quantum=0.0, load_factor=0.0)
    )
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(Arrived(2, "b"), at=2.0)
    driven.tell(Tick(), at=7.0)
    assert driven.engine.snapshot().upstream("a").closed
    return driven


def test_r01_a_closing_model_takes_no_new_callers_and_closing_ends() -> None:
    driven = closing()
    assert driven.tell(Arrived(3, "a")) == ()
    assert driven.tell(Released(1)) == (evict("a", 1, "b"),)
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)


def test_r02_a_changed_model_drains_under_continuous_traffic() -> None:
    driven = ready("a")
    driven.tell(Arrived(2, "a"))
    driven.tell(CatalogReplaced(Catalog([Model("a", revision="2")])))
    assert [driven.tell(Arrived(ticket, "a")) for ticket in range(3, 9)] == [()] * 6
    assert driven.tell(Released(2)) == (Stop("a", 1, StopReason.RELOAD),)
    driven.tell(Exited("a", 1))
    assert len(driven.tell(BecameReady("a", 2))) == 6


def test_r03_a_ready_model_does_not_wait_for_others_to_swap() -> None:
    driven = Driven("a", "b", "c", planner=together("ac", "bc"))
    for ticket, name in ((1, "a"), (2, "c")):
        driven.tell(Arrived(ticket, name))
        driven.tell(BecameReady(name, ticket))
    driven.tell(Released(1))
    assert driven.tell(Arrived(3, "b")) == (evict("a", 1, "b"),)
    assert driven.tell(Arrived(4, "c")) == (Forward(4, "c", 2),)
    driven.tell(Exited("a", 1))
    assert driven.tell(Arrived(5, "c")) == (Forward(5, "c", 2),)


def test_r04_an_exit_with_leases_and_waiters_leads_to_a_new_run() -> None:
    driven = Driven(Model("a", concurrency_limit=1))
    driven.tell(Arrived(1, "a"))
    driven.tell(BecameReady("a", 1))
    driven.tell(Arrived(2, "a"))
    assert driven.tell(Exited("a", 1, "oom")) == (Start("a", 2),)
    assert driven.tell(BecameReady("a", 2)) == (Forward(2, "a", 2),)
    assert driven.tell(Released(1)) == (), "the old lease ends late and is nobody's"
    assert driven.engine.snapshot().upstream("a").leases == 1


def test_r05_a_stream_in_flight_is_not_cut_for_a_swap() -> None:
    driven = closing()
    assert driven.tell(Tick(), at=100_000.0) == ()
    assert driven.engine.snapshot().upstream("a").leases == 1


def test_r06_no_load_is_without_service() -> None:
    driven = Driven(
        Model("a", concurrency_limit=1), "b", policy=Policy(patience=0.0, load_factor=0.0, quantum=0.0)
    )
    for ticket, name in ((1, "a"), (2, "a"), (3, "b")):
        driven.tell(Arrived(ticket, name))
    assert driven.tell(BecameReady("a", 1)) == (Forward(1, "a", 1),)
    assert driven.tell(Released(1)) == (Forward(2, "a", 1),), "2 waited when a became ready"
    assert driven.tell(Released(2)) == (evict("a", 1, "b"),)


def test_r07_a_loading_model_counts_and_is_not_a_victim() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "ac", "bc"))
    driven.tell(Arrived(1, "a"))
    driven.tell(BecameReady("a", 1))
    driven.tell(Arrived(2, "b"))
    driven.tell(Released(1))
    # b is cheaper by every measure but that somebody waits for it.
    assert driven.tell(Arrived(3, "c")) == (evict("a", 1, "c"),)
    assert driven.tell(Exited("a", 1)) == (Start("c", 3),)


def test_r08_two_cold_requests_take_one_idle_victim_once_and_neither_is_forgotten() -> None:
    driven = ready("a", "b", "c")
    assert driven.tell(Arrived(2, "b"), after=0.0) == (evict("a", 1, "b"),)
    assert driven.tell(Arrived(3, "c"), after=0.0) == ()
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)
    assert driven.tell(BecameReady("b", 2)) == (Forward(2, "b", 2),)
    assert driven.tell(Released(2)) == (evict("b", 2, "c"),)
    assert driven.tell(Exited("b", 2)) == (Start("c", 3),)


def test_r09_waiters_are_let_through_in_the_step_in_which_their_model_is_ready() -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "b"))
    driven.tell(Arrived(3, "a"))
    assert driven.tell(BecameReady("a", 1)) == (Forward(1, "a", 1), Forward(3, "a", 1))


def test_r10_a_stopping_model_is_not_ready() -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "b"))
    assert driven.tell(BecameReady("a", 1)) == ()
    assert driven.tell(Arrived(3, "a")) == ()


def test_r11_many_cold_requests_queue_and_none_is_refused() -> None:
    driven = Driven(*"abcdefghij")
    answers = [driven.tell(Arrived(ticket, "abcdefghij"[ticket % 10])) for ticket in range(1, 101)]
    assert [one for commands in answers for one in commands] == [Start("b", 1)]


def test_r12_a_request_at_the_very_moment_of_the_time_to_live_is_served_by_one_or_the_other() -> None:
    first = ready(Model("a", ttl=5.0))
    assert first.tell(Arrived(2, "a"), at=5.0) == (Forward(2, "a", 1),), "the request came first"
    assert first.due() is None
    later = ready(Model("a", ttl=5.0))
    assert later.tell(Tick(), at=5.0) == (Stop("a", 1, StopReason.TTL),)
    assert later.tell(Arrived(2, "a"), at=5.0) == ()
    assert later.tell(Exited("a", 1), at=5.0) == (Start("a", 2),)


def test_r13_ten_for_a_are_served_before_one_for_b() -> None:
    driven = Driven(Model("a", concurrency_limit=1), "b")
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(99, "b"))
    for ticket in range(2, 11):
        driven.tell(Arrived(ticket, "a"))
    driven.tell(BecameReady("a", 1))
    for ticket in range(1, 10):
        assert driven.tell(Released(ticket)) == (Forward(ticket + 1, "a", 1),)
    assert driven.tell(Released(10)) == (evict("a", 1, "b"),)


def test_r14_among_equals_the_longest_idle_leave_and_two_swaps_go_on_at_once() -> None:
    names = "abcdef"
    pairs = [one + other for one in names for other in names if one < other]
    driven = Driven(*names, planner=together(*pairs))
    for ticket, name in enumerate("ab", 1):
        driven.tell(Arrived(ticket, name), at=0.0)
    for ticket, name in enumerate("ab", 1):
        driven.tell(BecameReady(name, ticket), at=5.0)
    driven.tell(Released(2), at=6.0)
    driven.tell(Released(1), at=9.0)
    assert driven.tell(Arrived(3, "c"), at=20.0) == (evict("b", 2, "c"),), "b has been idle for longer"
    assert driven.tell(Arrived(4, "d"), at=20.0) == (evict("a", 1, "d"),), "and d need not wait for c"
    assert driven.tell(Exited("b", 2), at=21.0) == (Start("c", 3),)
    assert driven.tell(Exited("a", 1), at=21.0) == (Start("d", 4),)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_r14_whichever_of_two_victims_is_gone_first_makes_room_for_the_first_target(order: str) -> None:
    names = "abcd"
    driven = Driven(
        *names, planner=together(*(one + other for one in names for other in names if one < other))
    )
    runs = {"a": 1, "b": 2}
    for ticket, name in enumerate("ab", 1):
        driven.tell(Arrived(ticket, name))
        driven.tell(BecameReady(name, ticket))
        driven.tell(Released(ticket))
    assert driven.tell(Arrived(3, "c")) == (evict("a", 1, "c"),)
    assert driven.tell(Arrived(4, "d")) == (evict("b", 2, "d"),)
    first, second = order[0], order[1]
    assert driven.tell(Exited(first, runs[first])) == (Start("c", 3),)
    assert driven.tell(Exited(second, runs[second])) == (Start("d", 4),)


def test_r14_a_second_swap_does_not_wait_for_the_victim_of_the_first_where_it_fits_beside_it() -> None:
    # c takes the place of a; d, which may not live with b, lives with a and with c.
    driven = Driven(*"abcd", planner=together("ab", "bc", "ad", "cd"))
    for ticket, name in enumerate("ab", 1):
        driven.tell(Arrived(ticket, name))
        driven.tell(BecameReady(name, ticket))
    driven.tell(Released(1))
    assert driven.tell(Arrived(3, "c")) == (evict("a", 1, "c"),)
    driven.tell(Released(2))
    assert driven.tell(Arrived(4, "d")) == (evict("b", 2, "d"),)
    assert driven.tell(Exited("b", 2)) == (Start("d", 3),), "a is stopping still, and in nobody's way"
    assert driven.tell(Exited("a", 1)) == (Start("c", 4),)


def test_r15_one_load_serves_all_who_asked_for_it() -> None:
    driven = Driven(Model("a", concurrency_limit=50))
    answers = [driven.tell(Arrived(ticket, "a")) for ticket in range(1, 51)]
    assert [one for commands in answers for one in commands] == [Start("a", 1)]
    assert len(driven.tell(BecameReady("a", 1))) == 50


@pytest.mark.parametrize("dead_first", [True, False])
def test_r16_evicting_one_that_is_dead_already_ends(dead_first: bool) -> None:  # noqa: FBT001
    driven = ready("a", "b")
    if dead_first:
        driven.tell(Lost("a", 1))
        assert driven.tell(Arrived(2, "b")) == (), "there is nothing to stop"
    else:
        assert driven.tell(Arrived(2, "b")) == (evict("a", 1, "b"),)
        assert driven.tell(Lost("a", 1)) == ()
    assert driven.tell(Exited("a", 1)) == (Start("b", 2),)


def test_r17_a_victim_that_is_busy_for_long_never_makes_it_exceed_the_capacity() -> None:
    driven = closing()
    for minute in range(1, 30):
        assert driven.tell(Tick(), at=60.0 * minute) == ()
    assert driven.tell(Released(1)) == (evict("a", 1, "b"),)


def test_r18_under_skewed_demand_the_one_that_is_cheap_to_load_leaves() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "ac", "bc"))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Arrived(2, "b"), at=0.0)
    driven.tell(BecameReady("b", 2), at=3.0)
    driven.tell(BecameReady("a", 1), at=60.0)
    # b was used last, but a load of a takes twenty times as long.
    driven.tell(Released(1), at=61.0)
    driven.tell(Released(2), at=62.0)
    assert driven.tell(Arrived(3, "c"), at=63.0) == (evict("b", 2, "c"),)


def test_r19_a_request_for_a_model_that_is_being_evicted_waits_and_is_served() -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "b"))
    driven.tell(Arrived(3, "a"))
    driven.tell(Exited("a", 1))
    driven.tell(BecameReady("b", 2))
    assert driven.tell(Released(2)) == (evict("b", 2, "a"),)
    driven.tell(Exited("b", 2))
    assert driven.tell(BecameReady("a", 3)) == (Forward(3, "a", 3),)


def test_r20_a_load_goes_on_while_anyone_waits_for_it() -> None:
    driven = Driven("a", "b", policy=Policy(patience=0.0, load_factor=0.0))
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "a"))
    driven.tell(Arrived(3, "b"))
    assert driven.tell(Released(1)) == ()
    assert driven.tell(Tick(), after=60.0) == ()
    assert driven.tell(BecameReady("a", 1)) == (Forward(2, "a", 1),)
