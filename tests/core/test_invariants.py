"""Tests of `swapcore.invariants`: does the check see a state that is wrong?"""

from collections.abc import Callable

import pytest

from swapcore import Arrived, BecameReady, Engine, LoadRequested, Model, Plan
from swapcore.collation import Line
from swapcore.invariants import check_state
from swapcore.state import Run, Stage, State, Ticket
from tests.core.driven import Driven


def world() -> Engine:
    """Run 1 of a serves tickets 1 and 2, ticket 3 waits for it, ticket 4 for b; c is wished for."""
    driven = Driven(Model("a", concurrency_limit=2), "b", "c")
    for ticket, model in enumerate("aaab", start=1):
        driven.tell(Arrived(ticket, model))
    driven.tell(BecameReady("a", 1))
    driven.tell(LoadRequested(("c",)))
    return driven.engine


def test_a_right_state_passes() -> None:
    check_state(world()._state)


def tamper(name: str, change: Callable[[State], object], message: str) -> object:
    return pytest.param(change, message, id=name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        tamper("ticket lost", lambda s: s.lines["a"].leave(s.tickets[3].waiting), "empty|lost to its line"),  # type: ignore[arg-type]
        tamper("ghost waits", lambda s: s.tickets.pop(4), "are not open"),
        tamper("wrong line", lambda s: s.lines.update(c=s.lines.pop("b")), "another model"),
        tamper("empty line", lambda s: s.lines.update(c=Line("c")), "is empty"),
        tamper("lease lost", lambda s: s.runs["a"].leases.remove(1), "lost its lease|which is free"),
        tamper("ghost lease", lambda s: s.tickets.update({2: Ticket("a")}), "no open ticket"),
        tamper("miscount", lambda s: setattr(s, "waiting", 7), "7 are said to wait"),
        tamper("closed for nobody", lambda s: setattr(s.runs["a"], "closed_for", "b"), "nothing is promised"),
        tamper(
            "serves while starting",
            lambda s: setattr(s.runs["a"], "stage", Stage.STARTING),
            "before it is ready",
        ),
        tamper("idle and busy", lambda s: setattr(s.runs["a"], "idle_since", 1.0), "idle clock"),
        tamper("over but resident", lambda s: setattr(s.runs["a"], "stage", Stage.OVER), "holds room"),
        tamper("overdue", lambda s: s.deadlines.update(a=s.now), "overdue"),
        tamper("due for nobody", lambda s: s.deadlines.update(x=99.0), "which has no run"),
        tamper("order not kept", lambda s: s.turns._entries.clear(), "out of turn"),
        tamper("unbounded", lambda s: setattr(s.runs["a"], "stage", Stage.STOPPING), "for ever"),
        tamper(
            "drained",
            lambda s: s.runs.update(b=Run(s.catalog.by_id["b"], 1, 0.0, Stage.DRAINING)),
            "was not stopped",
        ),
        tamper("promise for nobody", lambda s: s.plans.update(x=Plan("x", ())), "for nobody"),
        tamper("promise kept", lambda s: s.plans.update(a=Plan("a", ())), "outlived"),
        tamper("wish come true", lambda s: s.wishes.update(a=None), "wished for"),
        tamper("waiting in a shutdown", lambda s: setattr(s, "shutdowns", 1), "through a shutdown"),
    ],
)
def test_a_wrong_state_is_seen(change: Callable[[State], object], message: str) -> None:
    state = world()._state
    change(state)
    with pytest.raises(AssertionError, match=message):
        check_state(state)


def test_what_is_left_undone_is_seen() -> None:
    engine = world()
    engine._state.runs["a"].leases.clear()
    for ticket in (1, 2):
        del engine._state.tickets[ticket]
    engine._state.leave(engine._state.lines["a"], engine._state.tickets.pop(3).waiting)  # type: ignore[arg-type]
    del engine._state.lines["a"]
    engine._state.runs["a"].idle_since = 1.0
    with pytest.raises(AssertionError, match="left undone"):
        engine.check()
