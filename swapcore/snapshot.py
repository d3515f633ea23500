"""What does the engine's state look like from outside, at one moment?

Snapshots are for showing: lists, pages, metrics. Nothing is decided from one,
because it is old as soon as it is read.
"""

import enum

from attrs import frozen

from swapcore.catalog import Model
from swapcore.state import Stage, State

__all__ = ["Phase", "Snapshot", "UpstreamView", "take_snapshot"]


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


@frozen(kw_only=True)
class Snapshot:
    """The whole engine at one moment."""

    now: float
    """When the last event was handled, in the engine's seconds."""

    upstreams: tuple[UpstreamView, ...]
    """One for each model of the catalog, in definition order."""

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


def take_snapshot(state: State) -> Snapshot:
    """Describe this state as it is now."""
    return Snapshot(
        now=state.now,
        upstreams=tuple(_view(state, model) for model in state.catalog),
        wishes=tuple(state.wishes),
        shutting_down=state.shutdowns > 0,
    )


def _view(state: State, model: Model) -> UpstreamView:
    run = state.runs.get(model.id)
    waiting = len(state.lines.get(model.id, ()))
    if run is None:
        return UpstreamView(
            model=model.id,
            phase=Phase.STOPPED,
            run=None,
            leases=0,
            waiting=waiting,
            closed=False,
            stuck=False,
            idle_since=None,
        )
    phase = _PHASES[run.stage]
    return UpstreamView(
        model=model.id,
        phase=phase,
        run=run.number,
        leases=len(run.leases),
        waiting=waiting,
        closed=run.stage is Stage.DRAINING,
        stuck=run.stage is Stage.STUCK,
        idle_since=run.idle_since if phase is Phase.READY else None,
    )
