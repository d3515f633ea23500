"""Tests of `swapcore.turns`: is the order that is kept the one that `in_turn` finds anew?"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore.collation import Line, Waiting, in_turn
from swapcore.turns import Turns

NAMES = ["a", "b", "c", "d", "e"]


class Kept:
    """Lines, and the turns that are told of all that happens to them."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.turns = Turns()
        self.order = 0

    def join(self, model: str, priority: int, due: float | None) -> None:
        self.order += 1
        line = self.lines.setdefault(model, Line(model))
        one = Waiting(self.order, priority, float(self.order), self.order)
        line.join(one)
        if due is not None:
            line.set_due(one, due)
        self.turns.changed[model] = None

    def leave(self, random: Random) -> None:
        line = self.lines[random.choice(sorted(self.lines))]
        line.leave(random.choice(line.everyone(0.0)))
        self.turns.changed[line.model] = None
        if not line:
            del self.lines[line.model]

    def check(self, now: float) -> None:
        self.turns.check(self.lines)
        self.turns.refresh(self.lines)
        self.turns.check(self.lines)
        expected = in_turn(self.lines.values(), now, "oldest", lambda _: 1.0)
        assert [*self.turns.due(now), *self.turns.not_due(now)] == [line.model for line in expected]
        later = sorted((line.due, line.model) for line in expected if line.due > now)
        assert sorted(self.turns.to_fall_due(now)) == later
        times = [due for due, _ in self.turns.to_fall_due(now)]
        assert times == sorted(times)


joins = st.tuples(
    st.sampled_from(NAMES), st.integers(-1, 1), st.sampled_from([None, 0.0, 3.0, 5.0, 5.0, 9.0])
)


@given(
    st.lists(st.one_of(joins, st.sampled_from(["leave", "look"])), max_size=60),
    st.sampled_from([0.0, 3.0, 5.0, 7.0]),
    st.randoms(),
)
def test_the_order_is_that_of_lines_never_seen_before(
    steps: list[tuple[str, int, float | None] | str], now: float, random: Random
) -> None:
    kept = Kept()
    for step in steps:
        if isinstance(step, tuple):
            kept.join(*step)
        elif step == "leave" and kept.lines:
            kept.leave(random)
        elif step == "look":
            kept.check(now)
    kept.check(now)


def test_a_change_that_it_was_not_told_of_is_seen() -> None:
    kept = Kept()
    kept.join("a", 0, None)
    kept.check(0.0)
    kept.lines["a"].join(Waiting(2, 1, 2.0, 2))
    with pytest.raises(AssertionError, match="a is out of turn"):
        kept.turns.check(kept.lines)
