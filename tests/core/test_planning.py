"""Tests of `swapcore.planning`."""

import math

import pytest

from swapcore import Plan, one_at_a_time


@pytest.mark.parametrize(
    ("resident", "evict", "cost"),
    [
        ({}, (), 0.0),
        ({"a": 1.0}, (), 0.0),
        ({"b": 1.0}, ("b",), 1.0),
        ({"c": 0.0, "a": 1.0, "b": 2.5}, ("c", "b"), 2.5),
        ({"b": math.inf}, ("b",), math.inf),
    ],
)
def test_one_at_a_time_evicts_all_others_in_their_order(
    resident: dict[str, float], evict: tuple[str, ...], cost: float
) -> None:
    assert one_at_a_time("a", list(resident), resident) == Plan("a", evict, ("a",), "", cost)
