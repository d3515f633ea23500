"""How long will it take until a model's callers are served?

The formulas are those of due-gated exhaustive service: the overhead of a model
is the stop of another and its own load, and a cycle is the time in which all
who wait for models that exclude each other could be served, one model after
the other.
"""

import math

from swapcore.collation import Line
from swapcore.state import Stage, State

__all__ = ["due_at", "seconds_for", "seconds_until_done", "seconds_until_served", "seconds_until_turn"]


def seconds_for(state: State, line: Line) -> float:
    """Return the seconds it takes to bring a line's model in and to serve all who wait in it."""
    return state.experience.visit(line.model, rounds_of(state, line))


def rounds_of(state: State, line: Line) -> int:
    """Return in how many rounds all who wait in a line can be served."""
    rounds = state.rounds.get(line.model)
    if rounds is None:
        limit = state.catalog.by_id[line.model].concurrency_limit
        rounds = state.rounds[line.model] = -(-len(line) // limit)
    return rounds


def due_at(state: State, line: Line, patience: float) -> float:
    """Return when a caller who has just joined this line falls due.

    That is its patience, stretched under overload to `Policy.load_factor`
    cycles, less what bringing its model in takes. It is fixed now: taken anew
    later, it would recede for ever before a queue that grows.
    """
    if patience == math.inf:
        return math.inf
    model, lines, experience = line.model, state.lines, state.experience
    excluded, stop = state.excluded(model, lines), experience.stop
    known, counted = experience.known, state.rounds
    cycle = 0.0
    # It is what `seconds_for` says of each, written out: nothing else is done for each line at each arrival.
    for name in lines:
        if name == model or name in excluded:
            load, service = known.get(name) or experience.standing(name)
            rounds = counted.get(name) or rounds_of(state, lines[name])
            cycle += load.value + stop + rounds * service.value
    patience = max(patience, state.settings.policy.load_factor * cycle)
    return state.now + patience - experience.overhead(model)


def seconds_until_turn(state: State, model: str, place: int) -> float:
    """Return how long it takes to serve a caller before whom so many wait, from when it is its model's turn.

    A model that is up need not be brought in, and of a load that has begun only the rest is left.
    """
    run = state.runs.get(model)
    limit = state.catalog.by_id[model].concurrency_limit
    rounds = place // limit
    if run is not None and run.stage is Stage.READY:
        seconds = 0.0
        # Who waits for one that is up waits because all its places are taken.
        rounds += len(run.leases) >= limit
    else:
        seconds = state.experience.overhead(model)
        if run is not None and run.stage is Stage.STARTING:
            seconds = max(0.0, seconds - (state.now - run.started_at))
    return seconds + rounds * state.experience.service(model)


def seconds_until_done(state: State, line: Line) -> float:
    """Return how long it takes to serve all of a line, from when it is its model's turn."""
    return seconds_until_turn(state, line.model, len(line) - 1) + state.experience.service(line.model)


def seconds_until_served(state: State, model: str) -> float:
    """Return an estimate of when another caller for this model would be let through.

    It counts what is in the way: bringing the model in, as far as it is not
    up, those who wait for excluding models, and those who wait for itself.
    """
    line = state.lines.get(model)
    own = seconds_until_turn(state, model, 0 if line is None else len(line))
    if state.is_coming(model):
        return own
    return own + sum(
        seconds_until_done(state, other)
        for other in state.lines.values()
        if other is not line and state.exclude(model, other.model)
    )
