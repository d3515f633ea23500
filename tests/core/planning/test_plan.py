"""Tests of `swapcore.planning.plan` and `swapcore.planning.explain`."""

import math

import pytest

from swapcore.planning import BUSY, Group, Groups, Matrix, Plan, Planner, one_at_a_time, reasons


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


def test_busy_outweighs_any_sum_of_loads() -> None:
    assert 1000 * 3600.0 < BUSY < math.inf
    assert BUSY + 0.001 != BUSY


CHOSEN = "what was chosen of the set two"
ALONE = "a is in no set, so it runs alone"
EXCLUSIVE = "the target's group is exclusive, and the resident's is not persistent"
BUSY_TOO = "and it has to finish what it serves"
SETS = {"one": "a & b", "two": "a & c & d"}


@pytest.mark.parametrize(
    ("planner", "expected"),
    [
        (
            Matrix(SETS, models="abcde"),
            (
                "a is resident itself",
                f"b leaves: {CHOSEN} does not hold it; its loss is 2.5, {BUSY_TOO}",
                f"c stays: {CHOSEN} holds it",
                f"d stays: {CHOSEN} holds it",
                f"e leaves: {CHOSEN} does not hold it; it is leaving already",
            ),
        ),
        (
            Matrix(SETS, models="abcde", evict_costs={"c": 3}),
            (
                "a is resident itself",
                f"b leaves: {CHOSEN} does not hold it; its cost is 1, {BUSY_TOO}",
                f"c stays: {CHOSEN} holds it",
                f"d stays: {CHOSEN} holds it",
                f"e leaves: {CHOSEN} does not hold it; it is leaving already",
            ),
        ),
        (
            Matrix({"one": "b & c"}, models="abcde"),
            (
                "a is resident itself",
                f"b leaves: {ALONE}; its loss is 2.5, {BUSY_TOO}",
                f"c would have to leave: {ALONE}; it may not, and while it is up the target cannot come in",
                f"d leaves: {ALONE}; its loss is 4",
                f"e leaves: {ALONE}; it is leaving already",
            ),
        ),
        (
            Groups([Group("g", "abc", swap=False), Group("p", "d", persistent=True)], "abcde"),
            (
                "a is resident itself",
                "b stays: they share a group whose models live together (g)",
                "c stays: they share a group whose models live together (g)",
                "d stays: the resident's group is persistent (a in g, d in p)",
                f"e leaves: {EXCLUSIVE} (a in g, e in (default)); it is leaving already",
            ),
        ),
        (
            lambda target, *_: Plan(target, ("d",)),
            (
                "a is resident itself",
                "b stays: it may live beside a",
                "c stays: it may live beside a",
                "d leaves: it may not live beside a; its loss is 4",
                "e stays: it may live beside a",
            ),
        ),
    ],
)
def test_reasons_say_for_each_resident_why_it_leaves_or_stays(
    planner: Planner, expected: tuple[str, ...]
) -> None:
    loss = {"a": 1.0, "b": BUSY + 2.5, "c": math.inf, "d": 4.0, "e": 0.0}
    assert reasons(planner, planner("a", list(loss), loss), list(loss), loss) == expected


def test_reasons_say_that_the_search_was_cut_short() -> None:
    plan = Plan("a", ("b",), exhaustive=False)
    *_, last = reasons(one_at_a_time, plan, ["b"], {"b": 1.0})
    assert last == "the search ended at its budget: there may be a better plan"
