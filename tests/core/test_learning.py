"""Tests of what the engine learns from the times of events."""

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Exited,
    Model,
    Policy,
    Released,
)
from swapcore.learning import Experience, Mean
from tests.core.driven import Driven


def test_a_mean_starts_as_an_average_and_then_follows_changes() -> None:
    mean = Mean()
    for seconds in (2.0, 4.0, 9.0):
        mean.learn(seconds)
    assert mean.value == pytest.approx(5.0)
    for _ in range(7):
        mean.learn(5.0)
    assert mean.count == 10
    mean.learn(15.0)
    assert mean.value == pytest.approx(6.0), "from the tenth on the latest weighs a tenth"


def test_before_anything_was_measured_it_assumes_something() -> None:
    known = Experience()
    assert (known.load("a"), known.service("a"), known.overhead("a")) == (10.0, 2.0, 11.0)
    assert known.visit("a", 3) == 17.0


def test_a_model_of_which_nothing_is_known_is_taken_for_an_average_one() -> None:
    known = Experience()
    known.learn_load("a", 20.0)
    known.learn_load("b", 40.0)
    known.learn_service("a", 3.0)
    known.learn_service("b", 5.0)
    known.learn_stop(2.0)
    known.learn_stop(6.0)
    assert (known.load("a"), known.service("a")) == (20.0, 3.0)
    assert (known.load("b"), known.service("b")) == (40.0, 5.0)
    assert (known.load("c"), known.service("c")) == (30.0, 4.0)
    assert known.overhead("a") == 24.0, "what leaves for a model is another one: the average stop counts"
    assert known.visit("b", 2) == 40.0 + 4.0 + 10.0


def test_what_the_catalog_expects_of_a_load_holds_until_one_was_measured() -> None:
    catalog = Catalog([Model("a", expected_load=40.0), Model("b")])
    driven = Driven(*catalog, policy=Policy(load_factor=0.0))
    driven.tell(Arrived(1, "b"), at=0.0)
    # It is due its patience after its arrival, less a stop of 1 s and the load.
    assert due_in(driven, Arrived(2, "a")) == 60.0 - 1.0 - 40.0
    driven.tell(BecameReady("b", 1), at=20.0)
    assert due_in(driven, Arrived(3, "a")) == 60.0 - 1.0 - 40.0, (
        "another model's load says nothing of this one's"
    )
    driven.tell(Released(1), at=21.0)
    driven.tell(Exited("b", 1), at=22.0)
    driven.tell(BecameReady("a", 2), at=27.0)
    for ticket in (2, 3):
        driven.tell(Released(ticket), at=27.0)
    driven.tell(Arrived(4, "b"), at=28.0)
    driven.tell(Exited("a", 2), at=29.0)
    assert due_in(driven, Arrived(5, "a")) == 60.0 - 1.0 - 5.0
    driven.tell(CatalogReplaced(Catalog([Model("a"), Model("c", expected_load=7.0), Model("b")])), at=30.0)
    assert due_in(driven, Arrived(6, "c")) == 60.0 - 1.0 - 7.0


def due_in(driven: Driven, arrived: Arrived) -> float:
    driven.tell(arrived, after=0.0)
    (view,) = (one for one in driven.engine.snapshot().tickets if one.ticket == arrived.ticket)
    assert view.due is not None
    return round(view.due - driven.now, 6)


def test_the_loss_is_the_load_by_how_long_it_is_likely_not_to_be_asked_for() -> None:
    known = Experience()
    known.learn_load("a", 12.0)
    assert known.loss("a", 1.0) == pytest.approx(12.0 / 3.0)
    known.learn_arrival("a", 100.0)
    assert known.loss("a", 1.0) == pytest.approx(12.0 / 3.0), "one arrival has no gap"
    known.learn_arrival("a", 110.0)
    assert known.loss("a", 1.0) == pytest.approx(12.0 / 12.0)
    known.learn_arrival("a", 130.0)
    assert known.loss("a", 1.0) == pytest.approx(12.0 / (2.0 + 13.0)), "the latest gap weighs three tenths"
    assert known.loss("b", 3.0) == pytest.approx(12.0 / 7.0)
