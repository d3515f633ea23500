"""What must hold of the state after every event?

The checks look at the whole state, so they are for tests and the simulator;
in production the engine keeps only assertions that cost nothing.
"""

import math
from collections import Counter

from swapcore.state import Stage, State

__all__ = ["check_state"]


def check_state(state: State) -> None:
    """Verify everything that must hold between two events.

    Raises:
        AssertionError: something does not, which is a bug of the engine.
    """
    _check_tickets(state)
    _check_runs(state)
    for target in state.plans:
        assert not state.is_coming(target), f"the plan for {target} outlived its start"
        assert target in state.lines or target in state.wishes, f"room is promised to {target} for nobody"
    for wish in state.wishes:
        run = state.runs.get(wish)
        assert run is None or run.stage is not Stage.READY, f"{wish} is ready, yet wished for"
    state.turns.check(state.lines)
    if state.shutdowns:
        assert not state.lines, "callers wait through a shutdown"
        assert not state.plans, "room is promised through a shutdown"
        assert not state.wishes, "wishes outlive a shutdown"


def _check_tickets(state: State) -> None:
    waiting = {one.ticket: model for model, line in state.lines.items() for one in line.everyone(state.now)}
    for model, line in state.lines.items():
        everyone = line.everyone(state.now)
        assert line, f"the line of {model} is empty"
        assert len(line) == len(everyone), f"the line of {model} miscounts itself"
        assert math.isclose(line.arrivals, sum(one.arrived_at for one in everyone), abs_tol=1e-6)
    assert state.waiting == len(waiting), f"{state.waiting} are said to wait, {len(waiting)} do"
    for number, ticket in state.tickets.items():
        assert (ticket.waiting is None) == (number not in waiting), f"ticket {number} is lost to its line"
        assert ticket.waiting is None or ticket.run is None, f"ticket {number} waits and is served"
        if number in waiting:
            assert waiting.pop(number) == ticket.model, f"ticket {number} waits for another model"
        if ticket.run is not None:
            assert number in ticket.run.leases, f"ticket {number} lost its lease"
    assert not waiting, f"tickets {sorted(waiting)} wait and are not open"
    held = Counter(one.caller for line in state.lines.values() for one in line.everyone(state.now))
    assert state.held == {caller: count for caller, count in held.items() if caller is not None}
    for model, rounds in state.rounds.items():
        limit = state.catalog.by_id[model].concurrency_limit
        assert rounds == -(-len(state.lines[model]) // limit), f"the rounds of {model} are miscounted"


def _check_runs(state: State) -> None:
    for model, run in state.runs.items():
        # A new catalog can lower the limit below what is being served.
        limit = run.model.concurrency_limit
        assert run.model.id == model
        assert 0 < run.number <= state.last_run
        assert run.stage is not Stage.OVER, f"{model} is over and holds room"
        for number in run.leases:
            assert state.tickets[number].run is run, f"a lease of {model} has no open ticket"
        if run.stage is Stage.STARTING:
            assert not run.leases, f"{model} serves before it is ready"
        if run.stage is Stage.READY:
            full = len(run.leases) >= limit
            line = state.lines.get(model)
            served = line is None or (run.closed_for is not None and line.oldest().order > run.batch)
            assert full or served, f"callers wait for {model}, which is free"
            assert (run.idle_since is None) == bool(run.leases), f"the idle clock of {model} is wrong"
        if run.closed_for is not None:
            assert run.stage is Stage.READY, f"{model} is closed and {run.stage.name}"
            assert run.closed_for in state.plans, (
                f"{model} is closed for {run.closed_for}, to whom nothing is promised"
            )
        if run.stage is Stage.DRAINING:
            assert run.leases, f"{model} is drained and was not stopped"
        if run.stage in {Stage.STARTING, Stage.STOPPING, Stage.FORCED}:
            assert model in state.deadlines, f"{model} could stay {run.stage.name} for ever"
        assert state.deadlines.get(model, math.inf) > state.now, f"something about {model} is overdue"
    for model in (*state.deadlines, *state.asked_to_go):
        assert model in state.runs, f"something is due about {model}, which has no run"
