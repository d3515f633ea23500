"""What does the engine remember?

The state is the open tickets, the lines of those who wait, the runs, the
committed plans, the operator's wishes, and what was learned; all else is
derived from it. `facts`, `orders` and `settling` change it, on behalf of
`Engine`; `misuse`, `invariants` and `snapshot` read it.
"""

import enum
import math

from attrs import define, field

from swapcore.catalog import Catalog, Model
from swapcore.collation import Line, Waiting
from swapcore.commands import StopReason
from swapcore.learning import Experience
from swapcore.planning import Plan, Planner
from swapcore.settings import Settings

__all__ = ["Failures", "Run", "Stage", "State", "Ticket"]


class Stage(enum.Enum):
    """The stages of a run. They are passed downwards only, and any can be skipped."""

    STARTING = enum.auto()
    """Ordered, not ready yet. Its deadline: the end of the start timeout."""

    READY = enum.auto()
    """Answers. Its deadline: the end of its time to live, while idle."""

    DRAINING = enum.auto()
    """An operator ends it, and it serves those it has. Its deadline: when those are cut, if ever."""

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
    started_at: float
    deadline: float | None
    """When `stage` says that something is due, if nothing else happens before."""

    stage: Stage = Stage.STARTING
    leases: set[int] = field(factory=set)
    """Tickets forwarded to it and not released. Only ever counted or tested for membership."""

    ready_at: float = math.inf
    """When its visit began: the time it became ready."""

    batch: int = 0
    """The order of the last caller who had arrived when it became ready: so many are served in any case."""

    closed_for: str | None = None
    """The due target that it makes room for: it takes no new callers beyond its batch."""

    evict_for: str | None = None
    """The ready model whose callers have asked it to go, once it is idle: see `State.evicts_beside`."""

    abandoned_at: float | None = None
    """Since when nobody waits for it while it starts."""

    idle_since: float | None = None
    """When it last ran out of leases, while that lasts."""

    ended_at: float | None = None
    """When it was told to end, or died."""

    reason: StopReason | None = None
    """Why it is to end, from `DRAINING` on."""

    outdated: bool = False
    """Whether the present catalog lacks it or has it in another revision."""

    @property
    def coming(self) -> bool:
        """Whether callers who wait for its model may be served by it."""
        return self.stage is Stage.STARTING or self.stage is Stage.READY

    @property
    def ending(self) -> bool:
        """Whether it is leaving whatever else happens, and its room with it."""
        # Asked for each resident at each event: a member of an enumeration takes long to hash.
        stage = self.stage
        return stage is Stage.STOPPING or stage is Stage.FORCED or stage is Stage.STUCK

    @property
    def has_place(self) -> bool:
        """Whether it answers and serves fewer callers than it may at once."""
        return self.stage is Stage.READY and len(self.leases) < self.model.concurrency_limit

    def become_idle(self, now: float) -> None:
        """Start the idle clock."""
        self.idle_since = now
        if self.stage is Stage.READY:
            mortal = self.model.ttl is not None and not self.model.pinned
            self.deadline = now + (self.model.ttl or 0.0) if mortal else None

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

    forwarded_at: float = math.inf
    """When it was forwarded."""


@define
class Failures:
    """How often a model has failed in a row, and until when it is left alone."""

    count: int = 0
    until: float = -math.inf
    detail: str = ""
    """What the last one was, for people."""


@define(eq=False)
class State:
    """Everything the engine remembers."""

    catalog: Catalog
    planner: Planner
    settings: Settings
    now: float = -math.inf
    """When the last event was handled."""

    tickets: dict[int, Ticket] = field(factory=dict)
    """The callers who have arrived and are not released, by number."""

    lines: dict[str, Line] = field(factory=dict)
    """Who waits for each model that anyone waits for; no line is empty."""

    waiting: int = 0
    """How many wait in all lines together."""

    runs: dict[str, Run] = field(factory=dict)
    """The run of each resident model: from its `Start` to its `Exited` its room is taken."""

    plans: dict[str, Plan] = field(factory=dict)
    """The committed plan of each target that room is being made for, the earliest first."""

    wishes: dict[str, None] = field(factory=dict)
    """Models that an operator wants loaded and that are not ready, in the order wanted."""

    failures: dict[str, Failures] = field(factory=dict)
    """The models that have failed lately."""

    aborted: dict[str, None] = field(factory=dict)
    """Models whose latest load was given up for want of callers: the next one is finished."""

    experience: Experience = field(factory=Experience)
    """How long loads, stops and services take."""

    arrivals: int = 0
    """How many callers have joined a line so far."""

    last_run: int = 0
    """The number of the latest run."""

    shutdowns: int = 0
    """How hard a shutdown was asked for: 0 not at all, 1 drain, 2 cut, 3 or more kill."""

    wake: float = math.inf
    """When time alone next makes a difference to who is brought in."""

    unsettled: bool = False
    """Whether anything has happened since the last settling that could let a target in."""

    position: dict[str, int] = field(init=False)
    """Where in the definition order each model of the catalog stands."""

    pairs: dict[str, dict[str, bool]] = field(factory=dict, init=False)
    """The planner's answers for two models alone, as far as they were asked for; see `evicts`."""

    rivals: dict[str, dict[str, bool]] = field(factory=dict, init=False)
    """Likewise, for each model which others it excludes or is excluded by; see `exclude`."""

    one_way: dict[tuple[str, str], bool] = field(factory=dict, init=False)
    """Likewise, with both of them up; see `evicts_beside`."""

    def __attrs_post_init__(self) -> None:
        self.adopt(self.catalog, self.planner, self.settings)

    def adopt(self, catalog: Catalog, planner: Planner, settings: Settings) -> None:
        """Take over a catalog, a planner and settings."""
        self.catalog = catalog
        self.planner = planner
        self.settings = settings
        self.position = {model.id: position for position, model in enumerate(catalog)}
        self.experience.expected = {
            model.id: model.expected_load for model in catalog if model.expected_load is not None
        }
        self.pairs = {}
        self.rivals = {}
        self.one_way = {}

    def current(self, model: str, number: int) -> Run | None:
        """Return that run unless it is over: facts of older runs mean nothing."""
        run = self.runs.get(model)
        return run if run is not None and run.number == number else None

    def is_coming(self, model: str) -> bool:
        """Whether callers who wait for the model may be served without another run."""
        run = self.runs.get(model)
        return run is not None and run.coming

    def is_vacant(self, run: Run) -> bool:
        """Whether a ready run may be evicted: it serves nobody, and owes nobody who waits its service."""
        if run.stage is not Stage.READY or run.leases:
            return False
        line = self.lines.get(run.model.id)
        return line is None or (run.closed_for is not None and line.oldest().order > run.batch)

    def evicts(self, target: str, other: str) -> bool:
        """Whether the other always leaves when the target comes in, by the planner's answer for the two."""
        known = self.pairs.get(target)
        if known is None:
            known = self.pairs[target] = {}
        answer = known.get(other)
        if answer is None:
            answer = known[other] = other in self.planner(target, (other,), {other: 1.0}).evict
        return answer

    def exclude(self, one: str, other: str) -> bool:
        """Whether one of the two always leaves for the other."""
        known = self.rivals.get(one)
        if known is None:
            known = self.rivals[one] = {}
        answer = known.get(other)
        if answer is None:
            answer = known[other] = self.evicts(one, other) or self.evicts(other, one)
        return answer

    def evicts_beside(self, target: str, other: str) -> bool:
        """Whether a target that is up asks the other to leave, as llama-swap's exclusive groups do."""
        known = self.one_way.get((target, other))
        if known is None:
            pair = sorted((target, other), key=self.position.__getitem__)
            plan = self.planner(target, pair, dict.fromkeys(pair, 1.0))
            known = self.one_way[target, other] = other in plan.evict
        return known
