"""Tests of how long callers are told that it will take."""

import pytest

from swapcore import Arrived, BecameReady, Exited, Model, Refusal, Reject, Released
from tests.core.driven import Driven, together


def retry_after(driven: Driven, ticket: int, model: str) -> float:
    """Ask where one caller too many is told when to try again."""
    (reject,) = driven.tell(Arrived(ticket, model), at=driven.now)
    assert isinstance(reject, Reject)
    assert reject.refusal is Refusal.QUEUE_FULL
    assert reject.retry_after is not None
    driven.tell(Released(ticket), at=driven.now)
    return reject.retry_after


def measured(*names: str, limit: int = 1, sets: tuple[str, ...] = (), max_queue: int = 1) -> Driven:
    """The first model is up and idle; loads take 20 s, stops 3 s and services 4 s, all seen once."""
    models = [Model(name, concurrency_limit=limit, max_queue=max_queue) for name in names]
    driven = Driven(*models, planner=together(*(sets or names)))
    driven.tell(Arrived(101, "z"), at=0.0)
    driven.tell(BecameReady("z", 1), at=20.0)
    driven.tell(Released(101), at=24.0)
    driven.tell(Arrived(102, names[0]), at=24.0)
    driven.tell(Exited("z", 1), at=27.0)
    driven.tell(BecameReady(names[0], 2), at=47.0)
    driven.tell(Released(102), at=51.0)
    return driven


def test_a_model_that_is_up_costs_no_load_only_those_who_wait_for_it_and_are_served() -> None:
    driven = measured("a", "b", "z")
    for ticket in (1, 2):
        driven.tell(Arrived(ticket, "a"), at=60.0)
    # Ticket 1 is served and 2 waits.
    assert retry_after(driven, 3, "a") == 8.0


def test_nor_does_it_cost_those_who_wait_for_another() -> None:
    driven = measured("a", "b", "z")
    for ticket, model in ((1, "a"), (2, "a"), (3, "b")):
        driven.tell(Arrived(ticket, model), at=60.0)
    # Two callers of a, b's own stop and load, and the one who waits for b.
    assert retry_after(driven, 4, "b") == 8.0 + 23.0 + 4.0


def test_of_a_load_that_has_begun_only_the_rest_is_left() -> None:
    driven = measured("a", "b", "z")
    driven.tell(Arrived(1, "b"), at=60.0)
    driven.tell(Exited("a", 2), at=63.0)
    driven.now = 70.0
    assert retry_after(driven, 2, "b") == (23.0 - 7.0) + 4.0
    driven.now = 100.0
    assert retry_after(driven, 3, "b") == 4.0, "a load that takes longer than usual is nearly over"


def test_as_many_as_are_served_at_once_wait_for_one_round() -> None:
    driven = measured("a", "b", "z", limit=2, max_queue=3)
    for ticket in range(1, 6):
        driven.tell(Arrived(ticket, "a"), at=60.0)
    assert [one.estimate for one in driven.engine.snapshot().tickets] == [4.0, 4.0, 8.0]
    assert retry_after(driven, 6, "a") == 8.0
    for ticket in (7, 8, 9):
        driven.tell(Arrived(ticket, "b"), at=60.0)
    # Three of a in two rounds after the one being served; then b is brought in and serves two at once.
    estimates = [one.estimate for one in driven.engine.snapshot().tickets if one.model == "b"]
    assert estimates == [12.0 + 23.0, 12.0 + 23.0, 12.0 + 23.0 + 4.0]


@pytest.mark.parametrize(("sets", "seconds"), [(("ab", "z"), 27.0), (("a", "b", "z"), 35.0)])
def test_only_what_excludes_a_model_is_in_its_way(sets: tuple[str, ...], seconds: float) -> None:
    driven = measured("a", "b", "z", sets=sets, max_queue=1)
    driven.tell(Arrived(1, "a"), at=60.0)
    driven.tell(Arrived(2, "a"), at=60.0)
    started = driven.tell(Arrived(3, "b"), at=60.0)
    assert bool(started) == (sets[0] == "ab")
    assert retry_after(driven, 4, "b") == seconds
    (view,) = (one for one in driven.engine.snapshot().tickets if one.ticket == 3)
    assert view.estimate == seconds - 4.0


def test_every_model_is_taken_for_what_was_measured_of_it() -> None:
    driven = measured("a", "b", "z")
    driven.tell(Arrived(1, "b"), at=60.0)
    driven.tell(Exited("a", 2), at=63.0)
    driven.tell(BecameReady("b", 3), at=103.0)
    driven.tell(Released(1), at=107.0)
    driven.tell(Arrived(2, "b"), at=108.0)
    for ticket, model in ((3, "b"), (4, "z")):
        driven.tell(Arrived(ticket, model), at=108.0)
    # Of b, which is up, two services of 4 s; a load of z takes 20 s, though one of b took 40.
    (view,) = (one for one in driven.engine.snapshot().tickets if one.ticket == 4)
    assert view.estimate == 8.0 + 23.0
