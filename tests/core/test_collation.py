"""Tests of `swapcore.collation`, against lines that are plain sorted lists."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from swapcore.collation import Line, Waiting, in_turn


def caller(ticket: int, priority: int = 0) -> Waiting:
    return Waiting(ticket, priority, arrived_at=float(ticket), order=ticket)


def turns(*lines: Line, now: float = 100.0, choice: str = "oldest", seconds: float = 1.0) -> list[str]:
    return [line.model for line in in_turn(lines, now, choice, lambda _: seconds)]


@given(st.lists(st.one_of(st.integers(-2, 2), st.just("leave"), st.just("first")), max_size=60), st.randoms())
def test_a_line_is_a_list_sorted_by_priority_then_arrival(
    steps: list[int | str],
    random: Random,
) -> None:
    line, dumb = Line("m"), list[Waiting]()
    for ticket, step in enumerate(steps):
        if isinstance(step, int):
            one = caller(ticket, step)
            line.join(one)
            dumb.append(one)
        elif dumb:
            dumb.sort(key=lambda one: (-one.priority, one.order))
            one = dumb[0] if step == "first" else random.choice(dumb)
            if step == "first":
                assert line.first(0.0) is one
            dumb.remove(one)
            line.leave(one)
        dumb.sort(key=lambda one: (-one.priority, one.order))
        assert line.everyone(0.0) == dumb
        assert len(line) == len(dumb)
        assert bool(line) == bool(dumb)


def test_models_take_turns_by_priority_then_by_the_oldest_caller() -> None:
    lines = {name: Line(name) for name in "abc"}
    for ticket, (name, priority) in enumerate([("a", 0), ("b", 0), ("c", 1), ("b", 5), ("a", 1)]):
        lines[name].join(caller(ticket, priority))
    assert turns(*lines.values()) == ["b", "c", "a"]


def test_a_late_caller_of_high_priority_does_not_lend_it_to_an_early_one() -> None:
    early, late = Line("early"), Line("late")
    early.join(caller(1, 0))
    late.join(caller(2, 3))
    early.join(caller(3, 3))
    assert turns(early, late) == ["late", "early"]
