"""Tests of what one caller may take of the queue and of a model's time, where tickets say whose they are."""

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Engine,
    Forward,
    MisuseError,
    Model,
    Policy,
    Refusal,
    Reject,
    Released,
)
from tests.core.driven import Driven, ready


def refused(driven: Driven, ticket: int, model: str, caller: str | None, share: float | None = None) -> str:
    """Ask, and return why that was refused, or nothing."""
    found = ""
    for command in driven.tell(Arrived(ticket, model, caller=caller, share=share), at=driven.now):
        if isinstance(command, Reject):
            assert command.refusal is Refusal.QUEUE_FULL
            assert command.ticket == ticket
            assert command.retry_after is not None
            assert command.retry_after >= 0
            found = command.detail
    return found


def test_a_caller_may_hold_its_share_of_a_models_queue_and_no_more() -> None:
    driven = ready(Model("a", max_queue=4, concurrency_limit=1), "b", caller_share=0.5)
    driven.tell(Arrived(2, "a"))
    assert not refused(driven, 3, "a", "x")
    assert not refused(driven, 4, "a", "x")
    assert refused(driven, 5, "a", "x") == "2 requests of this caller wait for a and 2 in all; no more may"
    assert not refused(driven, 6, "a", "y")
    assert not refused(driven, 7, "b", "x"), "another queue is another share"
    assert not refused(driven, 8, "a", None)
    assert refused(driven, 9, "a", None) == "4 requests wait for a and 5 in all; no more may"
    driven.tell(Released(3))
    assert not refused(driven, 10, "a", "x"), "who has left holds nothing"


def test_a_caller_may_hold_its_share_of_all_queues_together_and_no_more() -> None:
    driven = Driven("a", "b", "c", max_queue=6, caller_share=0.34)
    assert not refused(driven, 1, "a", "x")
    assert not refused(driven, 2, "b", "x")
    assert refused(driven, 3, "c", "x")
    assert not refused(driven, 4, "c", "y")


def test_what_is_served_at_once_takes_nothing_of_a_share() -> None:
    driven = ready(Model("a", concurrency_limit=3), max_queue=2, caller_share=0.5)
    for ticket in (2, 3, 4, 5):
        assert not refused(driven, ticket, "a", "x")
    assert refused(driven, 6, "a", "x")


def test_a_share_is_never_less_than_one_ticket() -> None:
    driven = Driven("a", max_queue=3, caller_share=0.01)
    assert not refused(driven, 1, "a", "x")
    assert refused(driven, 2, "a", "x")


def test_a_tickets_own_share_goes_before_the_engines() -> None:
    driven = Driven("a", max_queue=4, caller_share=0.25)
    assert not refused(driven, 1, "a", "x")
    assert not refused(driven, 2, "a", "x", share=0.5)
    assert refused(driven, 3, "a", "x", share=0.5)
    assert not refused(driven, 4, "a", "x", share=1.0)


def test_where_shares_are_whole_nobody_is_counted() -> None:
    driven = Driven("a", max_queue=3)
    for ticket in (1, 2, 3):
        assert not refused(driven, ticket, "a", "x")
    assert refused(driven, 4, "a", "y"), "the queue itself is full"


def test_callers_of_one_model_take_turns() -> None:
    driven = ready(Model("a", concurrency_limit=1))
    driven.tell(Arrived(2, "a", caller="x"))
    for ticket, caller in enumerate("xxxyxz", start=3):
        assert driven.tell(Arrived(ticket, "a", caller=caller)) == ()
    assert [one.ticket for one in driven.engine.snapshot().tickets] == [3, 6, 8, 4, 5, 7]
    for ticket, following in [(2, 3), (3, 6), (6, 8), (8, 4), (4, 5), (5, 7)]:
        assert driven.tell(Released(ticket)) == (Forward(following, "a", 1),)


def test_a_higher_priority_goes_before_any_turn() -> None:
    driven = Driven(Model("a", concurrency_limit=1))
    driven.tell(Arrived(1, "a", caller="x"))
    driven.tell(Arrived(2, "a", priority=1, caller="y"))
    driven.tell(Arrived(3, "a", priority=1, caller="y"))
    assert driven.tell(BecameReady("a", 1)) == (Forward(2, "a", 1),)
    assert driven.tell(Released(2)) == (Forward(3, "a", 1),)


def test_who_is_due_waits_for_no_turns() -> None:
    driven = ready(Model("a", concurrency_limit=1), "b", policy=Policy(patience=30.0))
    driven.tell(Arrived(2, "a", caller="x"), at=1.0)
    for ticket, caller in enumerate("xxy", start=3):
        driven.tell(Arrived(ticket, "a", caller=caller), at=2.0)
    assert driven.tell(Released(2), at=2.0) == (Forward(3, "a", 1),)
    # By turns it would be the other caller's.
    assert driven.tell(Released(3), at=60.0) == (Forward(4, "a", 1),)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_is_a_part(share: float) -> None:
    with pytest.raises(ValueError, match=r"caller_share is .*; expected above 0 and at most 1"):
        Engine(Catalog([Model("a")]), caller_share=share)
    with pytest.raises(MisuseError, match="a share is above 0"):
        Engine(Catalog([Model("a")])).handle(Arrived(1, "a", caller="x", share=share), 0.0)
