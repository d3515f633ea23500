"""How long will it take until a model's callers are served?

The formulas are those of due-gated exhaustive service: the overhead of a model
is the stop of another and its own load, and a cycle is the time in which all
who wait for models that exclude each other could be served, one model after
the other.
"""

import math

from swapcore.collation import Line
from swapcore.state import Stage, State

__all__ = ["due_at", "seconds_for", "seconds_until_served"]


def seconds_for(state: State, line: Line) -> float:
    """Return the seconds it takes to bring a line's model in and to serve all who wait in it."""
    return state.experience.overhead(line.model) + _seconds_to_serve(state, line)


def due_at(state: State, line: Line, patience: float) -> float:
    """Return when a caller who has just joined this line falls due.

    That is its patience, stretched under overload to `Policy.load_factor`
    cycles, less what bringing its model in takes. It is fixed now: taken anew
    later, it would recede for ever before a queue that grows.
    """
    if patience == math.inf:
        return math.inf
    cycle = sum(
        seconds_for(state, other)
        for other in state.lines.values()
        if other is line or state.exclude(line.model, other.model)
    )
    patience = max(patience, state.settings.policy.load_factor * cycle)
    return state.now + patience - state.experience.overhead(line.model)


def seconds_until_served(state: State, model: str) -> float:
    """Return an estimate of when another caller for this model would be let through.

    It counts what is in the way: the rest of a load, those who wait for
    excluding models, and those who wait for the model itself.
    """
    run = state.runs.get(model)
    line = state.lines.get(model)
    seconds = 0.0 if line is None else _seconds_to_serve(state, line)
    if run is not None and run.stage is Stage.READY:
        return seconds
    load = state.experience.overhead(model)
    if run is not None and run.stage is Stage.STARTING:
        return max(0.0, load - (state.now - run.started_at)) + seconds
    ahead = sum(
        seconds_for(state, other)
        for other in state.lines.values()
        if other is not line and state.exclude(model, other.model)
    )
    return load + ahead + seconds


def _seconds_to_serve(state: State, line: Line) -> float:
    rounds = math.ceil(len(line) / state.catalog.by_id[line.model].concurrency_limit)
    return rounds * state.experience.service(line.model)
