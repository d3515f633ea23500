"""What does the engine remember?

The state is the open tickets, the lines of those who wait, the runs, the
committed plans and the operator's wishes; all else is derived from it. Only
`Engine` changes it; `misuse`, `invariants` and `snapshot` read it.
"""

import enum
import math

from attrs import define, field

from swapcore.catalog import Catalog, Model
from swapcore.collation import Line, Waiting
from swapcore.commands import StopReason
from swapcore.planning import Plan

__all__ = ["Run", "Stage", "State", "Ticket"]


class Stage(enum.Enum):
    """The stages of a run. They are passed downwards only, and any can be skipped."""

    STARTING = enum.auto()
    """Ordered, not ready yet. Its deadline: the end of the start timeout."""

    READY = enum.auto()
    """Takes callers. Its deadline: the end of its time to live, while idle."""

    DRAINING = enum.auto()
    """Closed: serves those it has. Its deadline: when those are cut."""

    STOPPING = enum.auto()
    """Told to end, or lost. Its deadline: when it is forced."""

    FORCED = enum.auto()
    """Told to be killed. Its deadline: when it counts as stuck."""

    STUCK = enum.auto()
    """Will not die. Nothing is expected of it any more but its exit."""

    OVER = enum.auto()
    """Its room is back. Only tickets not yet released still refer to it."""


@define(eq=False)
class Run:
    """One life of an upstream; it holds its room until its `Exited`."""

    model: Model
    number: int
    deadline: float | None
    """When `stage` says that something is due, if nothing else happens before."""

    stage: Stage = Stage.STARTING
    leases: set[int] = field(factory=set)
    """Tickets forwarded to it and not released. Only ever counted or tested for membership."""

    idle_since: float | None = None
    """When it last ran out of leases, while that lasts."""

    reason: StopReason | None = None
    """Why it is to end, from `DRAINING` on."""

    @property
    def coming(self) -> bool:
        """Whether callers who wait for its model will be served by it."""
        return self.stage is Stage.STARTING or self.stage is Stage.READY

    @property
    def ending(self) -> bool:
        """Whether it is leaving whatever else happens, and its room with it."""
        return self.stage in {Stage.STOPPING, Stage.FORCED, Stage.STUCK}

    def become_idle(self, now: float) -> None:
        """Start the idle clock."""
        self.idle_since = now
        if self.stage is Stage.READY:
            self.deadline = None if self.model.ttl is None else now + self.model.ttl

    def lend(self, ticket: int) -> None:
        """Take a caller in, which stops the idle clock."""
        self.leases.add(ticket)
        self.idle_since = None
        self.deadline = None


@define(eq=False)
class Ticket:
    """One caller between its `Arrived` and its `Released`: waiting, leased, or refused."""

    model: str
    waiting: Waiting | None = None
    """Its place in its model's line, while it has one."""

    run: Run | None = None
    """The run it was forwarded to, if it was."""


@define(eq=False)
class State:
    """Everything the engine remembers."""

    catalog: Catalog
    now: float = -math.inf
    """When the last event was handled."""

    tickets: dict[int, Ticket] = field(factory=dict)
    """The callers who have arrived and are not released, by number."""

    lines: dict[str, Line] = field(factory=dict)
    """Who waits for each model that anyone waits for; no line is empty."""

    runs: dict[str, Run] = field(factory=dict)
    """The run of each resident model: from its `Start` to its `Exited` its room is taken."""

    plans: dict[str, Plan] = field(factory=dict)
    """The committed plan of each target that room is being made for, the earliest first."""

    wishes: dict[str, None] = field(factory=dict)
    """Models that an operator wants loaded and that are not ready, in the order wanted."""

    arrivals: int = 0
    """How many callers have joined a line so far."""

    last_run: int = 0
    """The number of the latest run."""

    shutdowns: int = 0
    """How hard a shutdown was asked for: 0 not at all, 1 drain, 2 cut, 3 or more kill."""

    position: dict[str, int] = field(init=False)
    """Where in the definition order each model of the catalog stands."""

    def __attrs_post_init__(self) -> None:
        self.position = {model.id: position for position, model in enumerate(self.catalog)}

    def current(self, model: str, number: int) -> Run | None:
        """Return that run unless it is over: facts of older runs mean nothing."""
        run = self.runs.get(model)
        return run if run is not None and run.number == number else None

    def is_coming(self, model: str) -> bool:
        """Whether callers who wait for the model are served without another run."""
        run = self.runs.get(model)
        return run is not None and run.coming

    def is_vacant(self, run: Run) -> bool:
        """Whether the run may be evicted: it serves nobody, and nobody waits for it."""
        return run.stage is Stage.READY and not run.leases and run.model.id not in self.lines
