"""What can happen in a small world at all, in every order?

`explore` starts with an engine that nothing has happened to and tries every
event that is possible, then every one after each of those, and so on. States
that differ only in the time of day, or in numbers that mean nothing, count as
one, so the search ends, and what is true of all it visits is proved for that
world, not sampled. After every event the oracle judges the commands and the
engine's whole state is checked.

The search proves liveness too. Each state has one *calm* successor: a run that
is ending ends, or else one that starts becomes ready, or a caller who is
served is finished, or the clock moves to the deadline. From every state these
steps have to lead to rest, with nobody waiting: a chain of them that comes
back to where it was is a livelock.
"""

import marshal
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar

from attrs import define, field, fields, frozen

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Command,
    Engine,
    Event,
    Exited,
    LoadRequested,
    Lost,
    Model,
    Planner,
    Policy,
    Reject,
    Released,
    ShutdownRequested,
    Start,
    Tick,
    UnloadRequested,
    Urgency,
)
from swapcore.collation import Line, Waiting
from swapcore.invariants import check_state
from swapcore.learning import Experience
from swapcore.orders import Orders
from swapcore.settling import settle
from swapcore.state import Failures, Run, Stage, State, Ticket
from swapcore.turns import Turns
from tests.core.oracle import Judge, RunRecord

T = TypeVar("T")

__all__ = ["COMPARED", "Found", "Node", "Scope", "World", "explore", "longest_calm"]


@frozen(kw_only=True)
class Scope:
    """A small world: what there is, and how often each thing may happen."""

    models: tuple[Model, ...]
    planner: Planner
    asks: tuple[str, ...]
    """For each ticket in turn the models that it may ask for."""
    callers: str = ""
    """Whose each ticket is, a letter for each; if not given, nobody's."""
    policy: Policy = field(factory=lambda: Policy(patience=20.0))
    starts: int = 2
    """How often a model is started: what follows from more is not followed up, but for its calm end."""
    faults: int = 0
    """How many runs die that nobody has told to."""
    unloads: int = 0
    loads: int = 0
    shutdowns: int = 0
    cancels: int = 0
    """How many callers leave while they wait."""
    late_ticks: int = 0
    """How often the timer is fifteen seconds late."""
    immortal: str = ""
    """Models whose runs never end in calm, though they were asked to, forced, and count as stuck."""
    max_queue: int = 100


BUDGETS = ("faults", "unloads", "loads", "shutdowns", "cancels", "late_ticks")


@frozen
class Found:
    """How large the world was."""

    states: int
    events: int
    deepest: int
    longest_calm: int


class _KnownTimes(Experience):
    """Nothing more is learned, so that worlds that differ only in means count as one."""

    def learn_load(self, model: str, seconds: float) -> None: ...
    def learn_stop(self, seconds: float) -> None: ...
    def learn_service(self, model: str, seconds: float) -> None: ...
    def learn_arrival(self, model: str, now: float) -> None: ...


# Copying ---------------------------------------------------------------------

_COPIED = {
    cls: tuple(one.name for one in fields(cls))
    for cls in (State, Ticket, Run, Line, Waiting, Turns, Failures, Judge, RunRecord)
}
_CONTAINERS = frozenset({dict, OrderedDict, Counter, list, set})
_CACHES = frozenset({"position", "pairs", "rivals", "one_way"})
"""Fields of `State` that say again what the catalog and the planner say: they are replaced, never wrong."""


def _fork(value: Any, memo: dict[int, Any]) -> Any:
    """Copy what can change and share the rest; `copy.deepcopy` takes twenty times as long."""
    cls = type(value)
    names = _COPIED.get(cls)
    if names is not None:
        known = memo.get(id(value))
        if known is None:
            known = memo[id(value)] = object.__new__(cls)
            for name in names:
                one = getattr(value, name)
                if (type(one) in _COPIED or type(one) in _CONTAINERS) and name not in _CACHES:
                    one = _fork(one, memo)
                setattr(known, name, one)
        return known
    if cls is Counter:
        return Counter(value)
    if cls is dict or cls is OrderedDict:
        return cls(
            (key, _fork(one, memo) if type(one) in _COPIED or type(one) in _CONTAINERS else one)
            for key, one in value.items()
        )
    return cls(value)


# Comparing -------------------------------------------------------------------

COMPARED = {
    State: """tickets lines waiting runs plans wishes failures aborted shutdowns wake unsettled now
        catalog planner settings experience arrivals last_run position pairs rivals one_way deadlines
        asked_to_go turns beside held rounds""",
    Run: """model number started_at stage leases ready_at batch closed_for abandoned_at
        idle_since ended_at reason outdated""",
    Ticket: "model waiting run forwarded_at",
    Waiting: "ticket priority arrived_at order due caller",
    Line: "model arrivals _by_arrival _by_priority _dues _standing",
    Failures: "count until detail",
}
"""The fields that `World.picture` has been thought through for; a test sees when there are others."""


@define(eq=False)
class World:
    """An engine, its judge, and what may still happen."""

    scope: Scope
    engine: Engine
    judge: Judge
    left: dict[str, int]
    """How often each thing may still happen."""
    starts: Counter[str] = field(factory=Counter)
    said_ready: frozenset[int] = frozenset()

    @classmethod
    def begin(cls, scope: Scope) -> "World":
        catalog = Catalog(scope.models)
        engine = Engine(
            catalog, scope.planner, policy=scope.policy, max_queue=scope.max_queue, shutdown_timeout=5.0
        )
        engine._state.experience = _KnownTimes()
        judge = Judge(catalog, scope.planner)
        left = {name: getattr(scope, name) for name in BUDGETS}
        return cls(scope, engine, judge, {**left, "tickets": len(scope.asks)})

    @property
    def state(self) -> State:
        return self.engine._state

    def fork(self) -> "World":
        engine = Engine.__new__(Engine)
        engine._state = _fork(self.state, {})
        judge: Judge = _fork(self.judge, {})
        return World(self.scope, engine, judge, dict(self.left), Counter(self.starts), self.said_ready)

    def tell(self, event: Event, after: float) -> tuple[Command, ...]:
        """Let an event happen; callers who are refused are finished at once, which commutes with all else."""
        now = max(self.state.now, 0.0) + after
        commands = self.engine.handle(event, now)
        self.judge.see(now, event, commands)
        for command in commands:
            match command:
                case Start(model):
                    self.starts[model] += 1
                case Reject(ticket):
                    self.tell(Released(ticket), 0.0)
                case _:
                    pass
        return commands

    def check(self) -> None:
        """Do what `Engine.check` does, faster."""
        check_state(self.state)
        twin = Engine.__new__(Engine)
        twin._state = _fork(self.state, {})
        assert twin.handle(Tick(), self.state.now) == (), "a second tick did something"
        orders = Orders(twin._state)
        settle(twin._state, orders)
        assert not orders.given, f"left undone: {orders.given}"
        assert self.state.wake <= twin._state.wake, f"would sleep past {twin._state.wake}"

    # What can happen ---------------------------------------------------------

    def events(self) -> Iterator[tuple[Event, float, str | None]]:
        """Give each event that can happen, in how many seconds, and the budget that it is taken from."""
        left = self.left
        if left["tickets"]:
            ticket = len(self.scope.asks) - left["tickets"] + 1
            for name in self.scope.asks[ticket - 1]:
                whose = self.scope.callers[ticket - 1 : ticket] or None
                yield Arrived(ticket, name, caller=whose), 0.0, "tickets"
        for number, run in self.judge.runs.items():
            if number not in self.said_ready and not run.lost:
                # This can be a late one, which crossed a stop.
                yield BecameReady(run.model, number), 0.0, None
            expected = run.stopped or run.lost
            if not run.lost and left["faults"]:
                yield Lost(run.model, number, "died"), 0.0, "faults"
            if expected or left["faults"]:
                yield Exited(run.model, number, "gone"), 0.0, None if expected else "faults"
            if run.leases:
                # Which of them ends makes no difference.
                yield Released(run.leases[0]), 0.0, None
        if left["cancels"]:
            for one in self.judge.waiting:
                yield Released(one.ticket), 0.0, "cancels"
        cut = self.answered() - {ticket for run in self.judge.runs.values() for ticket in run.leases}
        if cut:
            yield Released(min(cut)), 0.0, None
        tick = self.seconds_to_tick()
        if tick is not None:
            yield Tick(), tick, None
            if left["late_ticks"]:
                yield Tick(), tick + 15.0, "late_ticks"
        names = [model.id for model in self.scope.models]
        if left["unloads"]:
            for name in names:
                for urgency in Urgency:
                    yield UnloadRequested((name,), urgency), 0.0, "unloads"
        if left["loads"]:
            for name in names:
                yield LoadRequested((name,)), 0.0, "loads"
        if left["shutdowns"]:
            for urgency in Urgency:
                yield ShutdownRequested(urgency), 0.0, "shutdowns"

    def answered(self) -> set[int]:
        """Return who was let through and is not finished."""
        return self.judge.open_tickets - {one.ticket for one in self.judge.waiting}

    def seconds_to_tick(self) -> float | None:
        """Return in how long time alone makes a difference: at the deadline, or when a cool-down ends."""
        at = self.engine.deadline
        if at is None:
            at = min((one.until for one in self.state.failures.values()), default=-math.inf)
        return at - self.state.now if at > self.state.now else None

    def calm(self) -> tuple[Event, float] | None:
        """Give the next event of a world without faults, or nothing if it is at rest."""
        for number, run in self.judge.runs.items():
            if run.stopped or run.lost:
                if run.model not in self.scope.immortal:
                    return Exited(run.model, number, "gone"), 0.0
            elif not run.ready:
                return BecameReady(run.model, number), 0.0
        answered = self.answered()
        if answered:
            return Released(min(answered)), 0.0
        if self.judge.waiting:
            seconds = self.seconds_to_tick()
            assert seconds is not None, f"nothing will ever happen to {self.judge.waiting}"
            return Tick(), seconds
        return None

    def after(self, event: Event, seconds: float, budget: str | None) -> "World":
        """Return the world in which that has happened as well."""
        world = self.fork()
        if budget is not None:
            world.left[budget] -= 1
        if isinstance(event, BecameReady):
            world.said_ready |= {event.run}
        world.tell(event, seconds)
        return world

    def beyond(self) -> bool:
        """Whether more has been started than the scope follows up."""
        return any(times > self.scope.starts for times in self.starts.values())

    # What it looks like ------------------------------------------------------

    def picture(self) -> bytes:
        """Return the same for worlds in which the same can happen and has the same effect.

        Times are relative to now, and no further back than they make a
        difference; callers are known by their place among all who wait.
        """
        state = self.state
        now = state.now

        def ago(at: float | None, most: float = math.inf) -> float | None:
            return None if at is None else round(max(at - now, -most), 6)

        places = {one.ticket: place for place, one in enumerate(self.judge.waiting)}
        lines = [
            (
                model,
                [(places[one.ticket], one.priority, one.caller, ago(one.due)) for one in line.everyone(now)],
            )
            for model, line in sorted(state.lines.items())
        ]
        runs = [
            (
                model,
                run.number in self.said_ready,
                run.stage.value,
                ago(state.deadlines.get(model)),
                len(run.leases),
                ago(run.ready_at, 30.0),
                run.ended_at is not None and run.ended_at - run.ready_at >= 30.0,
                sum(one.order <= run.batch for one in state.lines[model].everyone(now))
                if model in state.lines
                else 0,
                run.closed_for,
                state.asked_to_go.get(model),
                ago(run.abandoned_at, 0.5),
                ago(run.idle_since),
                run.reason and run.reason.value,
                run.outdated,
            )
            for model, run in state.runs.items()
        ]
        judged = [
            (
                run.model,
                run.ready,
                run.lost,
                run.stopped,
                run.forced,
                sorted(places[ticket] for ticket in run.batch if ticket in places),
                len(run.leases),
            )
            for run in self.judge.runs.values()
        ]
        turns = sorted(
            (places[ticket], whose or "", times)
            for (ticket, whose), times in self.judge.turns.items()
            if ticket in places
        )
        cut = Counter(one.model for one in state.tickets.values() if one.run and one.run.stage is Stage.OVER)
        everything = (
            lines,
            runs,
            judged,
            turns if self.scope.callers else None,
            sorted(cut.items()),
            sorted(self.judge.aborted),
            [(target, plan.evict) for target, plan in state.plans.items()],
            list(state.wishes),
            [(model, one.count, ago(one.until, 0.0)) for model, one in sorted(state.failures.items())],
            sorted(state.aborted),
            state.shutdowns,
            ago(state.wake),
            state.unsettled,
            tuple(self.left.values()),
            sorted(self.starts.items()),
        )
        # Version 2 writes equal values alike, whether they are the same object or not.
        return blake2b(marshal.dumps(everything, 2), digest_size=16).digest()


# Searching -------------------------------------------------------------------


@define
class Node:
    """A state that was visited."""

    number: int
    depth: int
    parent: "Node | None" = None
    event: Event | None = None
    seconds: float = 0.0
    calm: "Node | None" = None

    def story(self) -> str:
        """Tell how it came to this."""
        lines = list[str]()
        node: Node | None = self
        while node is not None and node.event is not None:
            lines.append(f"  after {node.seconds:g} s: {node.event}")
            node = node.parent
        return "\n".join(reversed(lines))


def explore(scope: Scope, *, on_visit: Callable[[World], None] | None = None) -> Found:
    """Visit everything that can happen.

    Raises:
        AssertionError: an invariant is broken, or calm leads nowhere; the message says how it came to that.
    """
    world = World.begin(scope)
    root = Node(0, 0)
    seen = {world.picture(): root}
    todo = deque([(world, root)])
    events = 0
    while todo:
        world, node = todo.popleft()
        calm = _judged(node, None, 0.0, world.calm)
        options = [] if world.beyond() else list(world.events())
        if calm is not None and all((event, seconds) != calm for event, seconds, _ in options):
            options.append((*calm, None))
        for event, seconds, budget in options:
            events += 1
            after, picture = _judged(node, event, seconds, partial(_step, world, event, seconds, budget))
            child = seen.get(picture)
            if child is None:
                child = seen[picture] = Node(len(seen), node.depth + 1, node, event, seconds)
                _judged(child, None, 0.0, after.check)
                if on_visit is not None:
                    on_visit(after)
                todo.append((after, child))
            if (event, seconds) == calm:
                node.calm = child
    nodes = list(seen.values())
    return Found(len(nodes), events, nodes[-1].depth, longest_calm(nodes))


def _step(world: World, event: Event, seconds: float, budget: str | None) -> tuple[World, bytes]:
    after = world.after(event, seconds, budget)
    return after, after.picture()


def _judged(node: Node, event: Event | None, seconds: float, act: Callable[[], T]) -> T:
    """Do it; if that breaks an assertion, tell how it came to this."""
    try:
        return act()
    except AssertionError as error:
        last = "" if event is None else f"\n  after {seconds:g} s: {event}"
        raise AssertionError(f"{error}\n{node.story()}{last}") from error


def longest_calm(nodes: list[Node]) -> int:
    """Return the most calm steps that any of these states needs until it is at rest."""
    steps = dict[int, int]()
    for start in nodes:
        chain = list[Node]()
        node: Node | None = start
        underway = set[int]()
        while node is not None and node.number not in steps:
            assert node.number not in underway, f"no rest: calm goes round in a circle\n{node.story()}"
            underway.add(node.number)
            chain.append(node)
            node = node.calm
        below = -1 if node is None else steps[node.number]
        for one in reversed(chain):
            below += 1
            steps[one.number] = below
    return max(steps.values())
