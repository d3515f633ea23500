"""Tests of what the engine learns from the times of events."""

import pytest

from swapcore.learning import Experience, Mean


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
    known.learn_stop("a", 2.0)
    known.learn_stop("b", 6.0)
    assert (known.load("a"), known.service("a")) == (20.0, 3.0)
    assert (known.load("b"), known.service("b")) == (40.0, 5.0)
    assert (known.load("c"), known.service("c")) == (30.0, 4.0)
    assert known.overhead("a") == 24.0, "what leaves for a model is another one: the average stop counts"
    assert known.visit("b", 2) == 40.0 + 4.0 + 10.0


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
