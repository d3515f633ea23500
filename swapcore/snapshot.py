"""What does the engine's state look like from outside, at one moment?

Snapshots are for showing: lists, pages, metrics. Nothing is decided from one,
because it is old as soon as it is read.
"""

import enum
import math
from collections.abc import Iterator

from attrs import frozen

from swapcore.catalog import Model
from swapcore.collation import in_turn
from swapcore.estimates import seconds_for, seconds_until_done, seconds_until_turn
from swapcore.state import Stage, State

__all__ = ["Phase", "Snapshot", "TicketView", "UpstreamView", "take_snapshot"]


class Phase(enum.Enum):
    """Where an upstream is in its life."""

    STOPPED = "stopped"
    """Not resident: it has no run."""

    STARTING = "starting"
    """Its run has been ordered and is not ready yet."""

    READY = "ready"
    """Its run answers."""

    STOPPING = "stopping"
    """Its run has been told to end, or has died, and its room is not back yet."""


@frozen(kw_only=True)
class UpstreamView:
    """One model's upstream."""

    model: str
    """The model's id."""

    phase: Phase
    """Where it is in its life."""

    run: int | None
    """The number of its run, if it is resident."""

    leases: int
    """Callers that its run is serving."""

    waiting: int
    """Callers that wait for the model."""

    closed: bool
    """Whether it is ready but takes no new callers, because it is to end."""

    stuck: bool
    """Whether its run was killed and is not gone."""

    idle_since: float | None
    """When its last lease ended, or when it became ready if it had none; `None` unless ready and idle."""

    cooling_until: float | None
    """When it will be tried again after failures, if it is being left alone."""

    load_time: float | None = None
    """How many seconds its loads take, as measured; `None` before one was."""


@frozen(kw_only=True)
class TicketView:
    """One caller who waits."""

    ticket: int
    """Its number."""

    model: str
    """The model it waits for."""

    position: int
    """How many are likely to be let through before it, itself included."""

    priority: int
    """Its priority."""

    waited: float
    """How many seconds it has waited."""

    estimate: float
    """In how many seconds it is likely to be let through."""

    due: float | None
    """When its model goes first because of it; `None` for never."""


@frozen(kw_only=True)
class Snapshot:
    """The whole engine at one moment."""

    now: float
    """When the last event was handled, in the engine's seconds."""

    upstreams: tuple[UpstreamView, ...]
    """One for each model of the catalog, in definition order."""

    tickets: tuple[TicketView, ...]
    """One for each caller who waits, if that was asked for, in the order of their turns."""

    wishes: tuple[str, ...]
    """Models that an operator wants loaded and that are not ready yet, next one first."""

    shutting_down: bool
    """Whether everything ends."""

    def upstream(self, model: str) -> UpstreamView:
        """Return the view of that model's upstream.

        Raises:
            KeyError: the catalog has no such model.
        """
        for view in self.upstreams:
            if view.model == model:
                return view
        raise KeyError(model)


_PHASES = {
    Stage.STARTING: Phase.STARTING,
    Stage.READY: Phase.READY,
    Stage.DRAINING: Phase.READY,
    Stage.STOPPING: Phase.STOPPING,
    Stage.FORCED: Phase.STOPPING,
    Stage.STUCK: Phase.STOPPING,
}


def take_snapshot(state: State, *, tickets: bool = True) -> Snapshot:
    """Describe this state as it is now, with those who wait or without."""
    removed = [run.model for run in state.runs.values() if run.model.id not in state.position]
    return Snapshot(
        now=state.now,
        upstreams=tuple(_view(state, model) for model in (*state.catalog, *removed)),
        tickets=tuple(_queue(state)) if tickets else (),
        wishes=tuple(state.wishes),
        shutting_down=state.shutdowns > 0,
    )


def _view(state: State, model: Model) -> UpstreamView:
    run = state.runs.get(model.id)
    line = state.lines.get(model.id)
    failures = state.failures.get(model.id)
    phase = Phase.STOPPED if run is None else _PHASES[run.stage]
    return UpstreamView(
        model=model.id,
        phase=phase,
        run=None if run is None else run.number,
        leases=0 if run is None else len(run.leases),
        waiting=0 if line is None else len(line),
        closed=run is not None and (run.stage is Stage.DRAINING or run.closed_for is not None),
        stuck=run is not None and run.stage is Stage.STUCK,
        idle_since=run.idle_since if run is not None and phase is Phase.READY else None,
        cooling_until=failures.until if failures is not None and failures.until > state.now else None,
        load_time=state.experience.measured_load(model.id),
    )


def _queue(state: State) -> Iterator[TicketView]:
    """Describe those who wait, model by model, in the order in which the models are to come up."""
    lines = list(state.lines.values())
    coming = [line for line in lines if state.is_coming(line.model)]
    rest = [line for line in lines if not state.is_coming(line.model)]
    choice = state.settings.policy.choice
    turns = [*coming, *in_turn(rest, state.now, choice, lambda line: seconds_for(state, line))]
    ahead: list[tuple[str, float]] = []
    position = 0
    for line in turns:
        model = line.model
        before = 0.0
        if not state.is_coming(model):
            before = sum(seconds for other, seconds in ahead if state.exclude(model, other))
        ahead.append((model, seconds_until_done(state, line)))
        for place, one in enumerate(line.everyone(state.now)):
            position += 1
            yield TicketView(
                ticket=one.ticket,
                model=model,
                position=position,
                priority=one.priority,
                waited=state.now - one.arrived_at,
                estimate=before + seconds_until_turn(state, model, place),
                due=one.due if one.due < math.inf else None,
            )
