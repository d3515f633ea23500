"""Which orders may the engine give, and what does their performer owe?

Commands are performed in the order in which they are returned. Each says why
it is given, so logs and metrics can be derived from commands alone.
"""

import enum

from attrs import frozen

__all__ = ["Command", "Forward", "Refusal", "Reject", "Start", "Stop", "StopReason"]


class StopReason(enum.Enum):
    """Why a run has to end."""

    EVICT = "evict"
    """To make room for another model."""

    TTL = "ttl"
    """It has been idle for its `Model.ttl`."""

    UNLOAD = "unload"
    """An operator asked for it."""

    SHUTDOWN = "shutdown"
    """Everything ends."""

    START_TIMEOUT = "start_timeout"
    """It was not ready within its `Model.start_timeout`."""

    ABANDONED = "abandoned"
    """Everyone who waited for it has left while it loads, and another model needs the room."""

    RELOAD = "reload"
    """A new catalog lacks it, changes it, or does not let it live beside the others."""

    LOST = "lost"
    """It answers no more, and what it held has not come back by itself."""


class Refusal(enum.Enum):
    """Why a caller is not served."""

    UNKNOWN_MODEL = "unknown_model"
    """The catalog has no such model."""

    CANNOT_FIT = "cannot_fit"
    """Room for the model could only be made by evicting one that is pinned."""

    QUEUE_FULL = "queue_full"
    """As many callers as may wait are waiting already."""

    COOLING_DOWN = "cooling_down"
    """The model has failed lately, and it is too early to try again."""

    START_FAILED = "start_failed"
    """The model's run ended before it was ready."""

    UNLOADED = "unloaded"
    """An operator unloaded the model while the caller waited for it."""

    SHUTTING_DOWN = "shutting_down"
    """Everything ends."""

    STUCK = "stuck"
    """Only the leaving of a run that does not die could make room."""


@frozen
class Start:
    """Bring the model up as this run.

    Owed: at most one `BecameReady`, then exactly one `Exited`, also if nothing
    could be started. A `Stop` of this run can be the very next command.
    """

    model: str
    """The model to start. No other run of it exists."""

    run: int
    """The number of this run, higher than that of all runs before it."""


@frozen
class Stop:
    """Ask that run to end, or, with `force`, kill it. Owed: its `Exited` follows.

    Callers that are still forwarded to that run are to be cut off: that
    happens only where an operator or a limit has decided it.
    """

    model: str
    """The model of the run."""

    run: int
    """The run to stop."""

    reason: StopReason
    """Why it has to end."""

    force: bool = False
    """Whether it was asked before and its time is over."""

    making_room_for: str | None = None
    """The model that needs its room, if the reason is `StopReason.EVICT`."""


@frozen
class Forward:
    """Let that caller through to that run. Owed: `Released` when it is finished."""

    ticket: int
    """The caller's number."""

    model: str
    """The model it asked for."""

    run: int
    """The run that serves it."""


@frozen
class Reject:
    """Tell that caller no. Owed: `Released`, as for every ticket."""

    ticket: int
    """The caller's number."""

    refusal: Refusal
    """Why, for programs."""

    detail: str = ""
    """Why, for people."""

    retry_after: float | None = None
    """In how many seconds it is worth asking again, where that can be said."""


Command = Start | Stop | Forward | Reject
"""Everything that the engine may order."""
