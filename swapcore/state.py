"""What does the engine remember?

The state is the open tickets, the lines of those who wait, the runs, the
committed plans, the operator's wishes, and what was learned; all else is
derived from it. `facts`, `orders` and `settling` change it, on behalf of
`Engine`; `misuse`, `invariants` and `snapshot` read it.
"""

import enum
import math
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from attrs import define, field

from swapcore.catalog import Catalog, Model
from swapcore.collation import Line, Waiting
from swapcore.commands import StopReason
from swapcore.learning import Experience
from swapcore.planning import Plan, Planner
from swapcore.settings import Settings
from swapcore.turns import Turns

__all__ = ["Failures", "Run", "Stage", "State", "Ticket"]


class Stage(enum.Enum):
    """The stages of a run. They are passed downwards only, and any can be skipped.

    Each says what is due at the run's entry in `State.deadlines`, if it has one.
    """

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


@define(eq=False, repr=False)
class Run:
    """One life of an upstream; it holds its room until its `Exited`."""

    model: Model
    number: int
    started_at: float
    stage: Stage = Stage.STARTING
    leases: set[int] = field(factory=set)
    """Tickets forwarded to it and not released. Only ever counted or tested for membership."""

    ready_at: float = math.inf
    """When its visit began: the time it became ready."""

    batch: int = 0
    """The order of the last caller who had arrived when it became ready: so many are served in any case."""

    closed_for: str | None = None
    """The due target that it makes room for: it takes no new callers beyond its batch."""

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
    def firm(self) -> bool:
        """Whether no plan gets it to leave: it will not die, or is pinned."""
        return self.stage is Stage.STUCK or (self.model.pinned and self.coming and not self.outdated)


@define(eq=False, repr=False)
class Ticket:
    """One caller between its `Arrived` and its `Released`: waiting, leased, or refused."""

    model: str
    waiting: Waiting | None = None
    """Its place in its model's line, while it has one."""

    run: Run | None = None
    """The run it was forwarded to, if it was."""

    forwarded_at: float = math.inf
    """When it was forwarded."""


@define(eq=False, repr=False)
class Failures:
    """How often a model has failed in a row, and until when it is left alone."""

    count: int = 0
    until: float = -math.inf
    detail: str = ""
    """What the last one was, for people."""


@define(eq=False, repr=False)
class Answers:
    """What a planner, which never changes its mind, has said of one model and others."""

    asked: set[str] = field(factory=set)
    """Those it was asked about. Only ever compared with others."""

    yes: set[str] = field(factory=set)
    """Those of which it is true. Only ever compared with others."""

    def missing(self, others: Collection[str]) -> Collection[str]:
        """Return those of these that it was not asked about yet."""
        if self.asked.issuperset(others):
            return ()
        return [other for other in others if other not in self.asked]

    def learn(self, other: str, *, yes: bool) -> None:
        """Take an answer in."""
        self.asked.add(other)
        if yes:
            self.yes.add(other)


@define(eq=False, repr=False)
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

    deadlines: dict[str, float] = field(factory=dict)
    """When something is due about a model's run, if nothing else happens before: see `Stage`."""

    asked_to_go: dict[str, str] = field(factory=dict)
    """Models that are to leave once they are idle, each with the one that is up and whose callers
    asked for it: see `evicted_beside`."""

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

    held: dict[str, int] = field(factory=dict, init=False)
    """How many tickets of each `Waiting.caller` wait in all lines together."""

    turns: Turns = field(factory=Turns, init=False)
    """The lines in order, as of the latest settling that had to know it."""

    rounds: dict[str, int] = field(factory=dict, init=False)
    """In how many rounds a line can be served, for those that were counted since they changed."""

    pairs: dict[str, Answers] = field(factory=dict, init=False)
    """For each model which others evict it, by the planner's answers for two alone; see `evictors`."""

    rivals: dict[str, Answers] = field(factory=dict, init=False)
    """Likewise, for each model which others it excludes or is excluded by; see `excluded`."""

    one_way: dict[str, Answers] = field(factory=dict, init=False)
    """Likewise, for each model which others it evicts if both of them are up; see `evicted_beside`."""

    beside: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    """The answers of `evicted_beside` that hold until another model is resident."""

    def __attrs_post_init__(self) -> None:
        self.adopt(self.catalog, self.planner, self.settings)

    def adopt(self, catalog: Catalog, planner: Planner, settings: Settings) -> None:
        """Take over a catalog, a planner and settings."""
        self.catalog = catalog
        self.planner = planner
        self.settings = settings
        self.position = {model.id: position for position, model in enumerate(catalog)}
        self.experience.expect(
            {model.id: model.expected_load for model in catalog if model.expected_load is not None}
        )
        self.pairs, self.rivals, self.one_way, self.beside, self.rounds = {}, {}, {}, {}, {}

    def current(self, model: str, number: int) -> Run | None:
        """Return that run unless it is over: facts of older runs mean nothing."""
        run = self.runs.get(model)
        return run if run is not None and run.number == number else None

    def open_place(self, model: str) -> Run | None:
        """Return the run that would take a caller of the model in at once, if there is such a one."""
        run = self.runs.get(model)
        # Whoever waited would have had this place: it is only without a line that one gets in at once.
        if run is None or model in self.lines or run.closed_for is not None or run.stage is not Stage.READY:
            return None
        return run if len(run.leases) < run.model.concurrency_limit else None

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

    def join(self, line: Line, waiting: Waiting) -> None:
        """Let a caller wait in its line."""
        line.join(waiting)
        self.waiting += 1
        if waiting.caller is not None:
            self.held[waiting.caller] = self.held.get(waiting.caller, 0) + 1
        self.change(line)

    def leave(self, line: Line, waiting: Waiting) -> None:
        """Take a caller out of its line unserved; who does so removes the line if it is empty then."""
        line.leave(waiting)
        self.count_out(waiting)
        self.change(line)

    def count_out(self, waiting: Waiting) -> None:
        """Count one caller less who waits."""
        self.waiting -= 1
        if waiting.caller is not None:
            self.held[waiting.caller] -= 1
            if not self.held[waiting.caller]:
                del self.held[waiting.caller]

    def change(self, line: Line) -> None:
        """Note that a line is not what it was, or is gone."""
        self.turns.changed[line.model] = None
        self.rounds.pop(line.model, None)

    def lend(self, run: Run, ticket: int) -> None:
        """Let a run take a caller in, which stops the idle clock."""
        run.leases.add(ticket)
        run.idle_since = None
        self.deadlines.pop(run.model.id, None)

    def become_idle(self, run: Run, since: float) -> None:
        """Start the idle clock of a run."""
        run.idle_since = since
        if run.stage is Stage.READY:
            ttl = None if run.model.pinned else run.model.ttl
            if ttl is None:
                self.deadlines.pop(run.model.id, None)
            else:
                self.deadlines[run.model.id] = since + ttl

    def evicts(self, target: str, other: str) -> bool:
        """Whether the other always leaves when the target comes in, by the planner's answer for the two."""
        answers = _of(self.pairs, other)
        if target not in answers.asked:
            answers.learn(target, yes=other in self.planner(target, (other,), {other: 1.0}).evict)
        return target in answers.yes

    def evictors(self, other: str, targets: Collection[str]) -> AbstractSet[str]:
        """Return for whom the other always leaves: those of these targets, and perhaps further models."""
        answers = _of(self.pairs, other)
        for target in answers.missing(targets):
            self.evicts(target, other)
        return answers.yes

    def exclude(self, one: str, other: str) -> bool:
        """Whether one of the two always leaves for the other."""
        return other in self.excluded(one, (other,))

    def excluded(self, one: str, others: Collection[str]) -> AbstractSet[str]:
        """Return who leaves for this one or has it leave: those of these, and perhaps further models."""
        answers = _of(self.rivals, one)
        for other in answers.missing(others):
            rivals = self.evicts(one, other) or self.evicts(other, one)
            answers.learn(other, yes=rivals)
            _of(self.rivals, other).learn(one, yes=rivals)
        return answers.yes

    def evicted_beside(self, target: str) -> tuple[str, ...]:
        """Return what a target that is up asks to leave, as llama-swap's exclusive groups do."""
        known = self.beside.get(target)
        if known is None:
            answers = _of(self.one_way, target)
            others = [model for model in self.runs if model != target and model in self.position]
            for other in answers.missing(others):
                pair = sorted((target, other), key=self.position.__getitem__)
                plan = self.planner(target, pair, dict.fromkeys(pair, 1.0))
                answers.learn(other, yes=other in plan.evict)
            known = self.beside[target] = tuple(other for other in others if other in answers.yes)
        return known


def _of(answers: dict[str, Answers], model: str) -> Answers:
    known = answers.get(model)
    if known is None:
        known = answers[model] = Answers()
    return known
