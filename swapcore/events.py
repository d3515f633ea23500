"""Which facts may the engine be told?

Each event is something that has happened. Whoever drives the engine reports
all of them, in the order in which they happened, and never twice.
"""

import enum

from attrs import frozen

from swapcore.catalog import Catalog
from swapcore.planning import Planner
from swapcore.settings import Settings

__all__ = [
    "Arrived",
    "BecameReady",
    "CatalogReplaced",
    "Event",
    "Exited",
    "LoadRequested",
    "Lost",
    "Progressed",
    "Released",
    "ShutdownRequested",
    "Tick",
    "UnloadRequested",
    "Urgency",
]


class Urgency(enum.Enum):
    """What an operator who ends something wants of the callers being served."""

    DRAIN = "drain"
    """They finish first, for as long as the model's limit allows."""

    NOW = "now"
    """They are cut off."""


@frozen
class Arrived:
    """When: a caller wants a model. It is answered by one `Forward` or one `Reject`."""

    ticket: int
    """The caller's number, chosen by the integrator, never used for another caller."""

    model: str
    """The id of the model wanted. An id that the catalog does not have is refused."""

    priority: int = 0
    """Higher goes first, among the callers of one model and among models, as long as nobody is due."""

    patience: float | None = None
    """How many seconds it may wait before its model goes first; `None` for its model's."""

    caller: str | None = None
    """An opaque key for whose ticket this is, say the name of an API key; `None` for nobody in particular.

    Among the tickets of one model and priority the callers take turns, and
    none may hold more than its share of the queue."""

    share: float | None = None
    """The part of each queue that the caller may hold, above 0 and up to 1; `None` for the engine's."""

    evicts: bool = True
    """Whether others may be stopped because a model that is up serves it, as groups' one-way rule asks."""


@frozen
class Released:
    """When: that caller is finished, whether it was served, was refused or has gone.

    Exactly once for each ticket that arrived; write it in a `finally`.
    """

    ticket: int
    """The number it arrived with."""


@frozen
class BecameReady:
    """When: that run answers its readiness check, the first time."""

    model: str
    """The model of the run."""

    run: int
    """The number that its `Start` gave it."""


@frozen
class Progressed:
    """When: a starting run shows that it is getting on, by output or a busy answer."""

    model: str
    """The model of the run."""

    run: int
    """The number that its `Start` gave it."""


@frozen
class Lost:
    """When: that run answers no more, but its resources are not back yet.

    Its leader exited, or its launcher gave it up. Nothing more is forwarded to
    it, and `Exited` follows once what it held is free.
    """

    model: str
    """The model of the run."""

    run: int
    """The number that its `Start` gave it."""

    detail: str = ""
    """Why, for people: the exit status, or what went wrong."""


@frozen
class Exited:
    """When: that run is over and its resources are back, whatever the reason.

    Exactly once for each `Start`, also when the start could not even be tried.
    """

    model: str
    """The model of the run."""

    run: int
    """The number that its `Start` gave it."""

    detail: str = ""
    """Why, for people: the exit status, or what went wrong."""


@frozen
class LoadRequested:
    """When: an operator wants models loaded that nobody asks for yet.

    A wish without a caller: the models come up one after the other, in this
    order, as soon as no caller waits for anything and only idle upstreams need
    to leave for them. A wish that fails is not repeated.
    """

    models: tuple[str, ...]
    """Ids of models of the catalog."""


@frozen
class UnloadRequested:
    """When: an operator wants models stopped. Callers waiting for them are refused."""

    models: tuple[str, ...]
    """Ids of models of the catalog."""

    urgency: Urgency = Urgency.DRAIN
    """`DRAIN` cuts the leases of a model only after its `unload_timeout`."""


@frozen
class CatalogReplaced:
    """When: there is a new configuration. What it does not change goes on undisturbed.

    Runs of models that it lacks, or has in another revision, and runs that by
    its planner may not live beside the others, are closed and drained.
    """

    catalog: Catalog
    """The models there are from now on."""

    planner: Planner | None = None
    """The planner from now on; `None` to keep the present one."""

    settings: Settings | None = None
    """What holds for all models from now on; `None` to keep it. A due time once fixed stays."""


@frozen
class ShutdownRequested:
    """When: an operator wants everything to end. All who wait or arrive are refused.

    A second one hurries the first: a drain becomes `NOW`, and `NOW` becomes a
    forced stop of every run.
    """

    urgency: Urgency = Urgency.DRAIN
    """`DRAIN` cuts leases only after the engine's `shutdown_timeout`."""


@frozen
class Tick:
    """When: `now` has reached `Engine.deadline`. One too many does nothing."""


Event = (
    Arrived
    | Released
    | BecameReady
    | Progressed
    | Lost
    | Exited
    | LoadRequested
    | CatalogReplaced
    | UnloadRequested
    | ShutdownRequested
    | Tick
)
"""Everything that the engine may be told."""
