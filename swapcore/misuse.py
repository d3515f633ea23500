"""Which facts cannot have happened?"""

from typing import assert_never

from swapcore.errors import MisuseError
from swapcore.events import (
    Arrived,
    BecameReady,
    CatalogReplaced,
    Event,
    Exited,
    LoadRequested,
    Lost,
    Progressed,
    Released,
    ShutdownRequested,
    Tick,
    UnloadRequested,
)
from swapcore.state import State

__all__ = ["refuse_misuse"]


def refuse_misuse(state: State, event: Event, now: float) -> None:
    """Raise if this event cannot have happened in this state; it changes nothing.

    Raises:
        MisuseError: the integrator is mistaken; the message says how.
    """
    if not now >= state.now:  # Written so that NaN is refused as well.
        raise MisuseError(f"time went back: {event} at {now}, after an event at {state.now}")
    match event:
        # Most events are these two, and patterns that take them apart cost as much as all else here.
        case Arrived():
            if event.ticket in state.tickets:
                raise MisuseError(f"ticket {event.ticket} has arrived already and is not released")
            if event.share is not None and not 0.0 < event.share <= 1.0:
                raise MisuseError(f"a share is above 0 and at most 1: {event}")
        case Released():
            if event.ticket not in state.tickets:
                raise MisuseError(f"ticket {event.ticket} has not arrived, or is released already")
        case (
            BecameReady(model, number)
            | Progressed(model, number)
            | Lost(model, number)
            | Exited(model, number)
        ):
            run = state.runs.get(model)
            if not 0 < number <= state.last_run or (run is not None and number > run.number):
                raise MisuseError(f"no such run was ever started: {event}")
        case LoadRequested(models) | UnloadRequested(models):
            unknown = [model for model in models if model not in state.position]
            if unknown:
                raise MisuseError(f"the catalog has no {', '.join(unknown)}: {event}")
        case CatalogReplaced() | ShutdownRequested() | Tick():
            pass
        case _:
            assert_never(event)
