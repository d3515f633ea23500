"""Tests of `swapcore.collation`, against lines that are plain sorted lists."""

from random import Random

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from swapcore.collation import Line, Waiting, in_turn


def caller(ticket: int, priority: int = 0, whose: str | None = None) -> Waiting:
    return Waiting(ticket, priority, arrived_at=float(ticket), order=ticket, caller=whose)


def turns(*lines: Line, now: float = 100.0, choice: str = "oldest", seconds: float = 1.0) -> list[str]:
    return [line.model for line in in_turn(lines, now, choice, lambda _: seconds)]


@define
class DumbLine:
    """A line as a list, and who had a turn of each priority, the latest last."""

    waiting: list[Waiting] = field(factory=list)
    rota: dict[int, list[str | None]] = field(factory=dict)

    def join(self, one: Waiting) -> None:
        rota = self.rota.setdefault(one.priority, [])
        if one.caller not in rota:
            rota.append(one.caller)
        self.waiting.append(one)

    def leave(self, one: Waiting, *, served: bool) -> None:
        self.waiting.remove(one)
        rota = self.rota[one.priority]
        waits = any(other.caller == one.caller and other.priority == one.priority for other in self.waiting)
        if served or not waits:
            rota.remove(one.caller)
        if served and waits:
            rota.append(one.caller)

    def everyone(self) -> list[Waiting]:
        left = DumbLine(list(self.waiting), {priority: list(rota) for priority, rota in self.rota.items()})
        found = list[Waiting]()
        while left.waiting:
            found.append(left.first())
            left.leave(found[-1], served=True)
        return found

    def first(self) -> Waiting:
        highest = max(one.priority for one in self.waiting)
        turn = self.rota[highest][0]
        return next(one for one in self.waiting if one.priority == highest and one.caller == turn)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(-1, 1), st.sampled_from([None, "x", "y"])),
            st.sampled_from(["leave", "serve"]),
        ),
        max_size=60,
    ),
    st.randoms(),
)
def test_a_line_goes_by_priority_then_in_turns_then_by_arrival(
    steps: list[tuple[int, str | None] | str], random: Random
) -> None:
    line, dumb = Line("m"), DumbLine()
    for ticket, step in enumerate(steps):
        if isinstance(step, tuple):
            one = caller(ticket, *step)
            line.join(one)
            dumb.join(one)
        elif dumb.waiting:
            one = random.choice(dumb.waiting)
            if step == "serve":
                one = line.first(0.0)
                assert one is dumb.first()
            line.leave(one, served=step == "serve")
            dumb.leave(one, served=step == "serve")
        assert line.everyone(0.0) == dumb.everyone()
        assert len(line) == len(dumb.waiting)
        assert bool(line) == bool(dumb.waiting)
        assert line.held_by("x") == sum(one.caller == "x" for one in dumb.waiting)
        if dumb.waiting:
            assert line.oldest() is dumb.waiting[0]


def test_one_caller_with_many_tickets_does_not_keep_another_behind_them_all() -> None:
    line = Line("m")
    for ticket, whose in enumerate("xxxxyxy"):
        line.join(caller(ticket, whose=whose))
    assert [one.ticket for one in line.everyone(0.0)] == [0, 4, 1, 6, 2, 3, 5]


def test_once_somebody_is_due_arrival_alone_counts() -> None:
    line = Line("m")
    for ticket, whose in enumerate("xxy"):
        line.join(caller(ticket, whose=whose))
    line.leave(line.first(0.0), served=True)
    assert line.first(0.0).ticket == 2
    line.set_due(line.oldest(), 10.0)
    assert line.first(9.9).ticket == 2
    assert line.first(10.0).ticket == 1
    assert [one.ticket for one in line.everyone(10.0)] == [1, 2]


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
