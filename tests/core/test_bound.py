"""How long can a caller wait at most? The starvation bound, measured from the log alone.

With one slot, one priority and a load factor of at least 1, a caller of m waits at most

    max(D, a*C) + s + max(f*O, B) of the resident + sum over j != m of (O_j + max(f*O_j, B_j) + s) + O_m + B_m

where D is its patience, C the cycle as estimated when it arrived, a the load
factor, f the quantum; and of what really happened, O_j is the longest load of
j and the longest stop before it, s the longest service, and B_j the longest
queue of j when it became ready, in rounds of s. Nothing here reads what the
engine counts: arrivals, waits, queues and times are taken from events and
commands, and C is learned from them anew.
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import pytest
from attrs import define, evolve, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Engine,
    Exited,
    Forward,
    Model,
    Policy,
    Released,
    Start,
    Stop,
)
from swapcore.journal import Step
from swapcore.testing import Fate, Simulator
from tests.core.oracle import Judge

# The log, read for what the bound is made of ----------------------------------


@define
class Average:
    """A plain average at first, and one in which the latest weighs a tenth after ten."""

    value: float = 0.0
    count: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.value = self.value + (seconds - self.value) * max(1.0 / self.count, 0.1)


@define
class Learned:
    """What could be known of loads, stops and services by then."""

    loads: defaultdict[str, Average] = field(factory=lambda: defaultdict(Average))
    services: defaultdict[str, Average] = field(factory=lambda: defaultdict(Average))
    stops: Average = field(factory=Average)

    def overhead(self, model: str) -> float:
        own, anyone = self.loads[model], self.loads[""]
        load = own.value if own.count else anyone.value if anyone.count else 10.0
        return load + (self.stops.value if self.stops.count else 1.0)

    def service(self, model: str) -> float:
        own, anyone = self.services[model], self.services[""]
        return own.value if own.count else anyone.value if anyone.count else 2.0


@frozen
class Wait:
    """One caller's wait, and what was known when it arrived."""

    ticket: int
    model: str
    seconds: float
    patience: float
    cycle: float
    overhead: float
    ahead: int
    """How many of its own model waited already, it included."""

    def stretched(self, policy: Policy) -> float:
        return max(self.patience, policy.load_factor * self.cycle)

    def due_after(self, policy: Policy) -> float:
        """Return how long after its arrival it falls due."""
        return self.stretched(policy) - self.overhead


@define
class Facts:
    """What a log says: who waited how long, and the longest of everything."""

    limits: Mapping[str, int]
    patience: float
    waits: list[Wait] = field(factory=list)
    unanswered: dict[int, tuple[Arrived, float]] = field(factory=dict)
    load: defaultdict[str, float] = field(factory=lambda: defaultdict(float))
    stop: float = 1.0
    service: float = 0.0
    batch: defaultdict[str, int] = field(factory=lambda: defaultdict(int))
    learned: Learned = field(factory=Learned)
    at_arrival: dict[int, Wait] = field(factory=dict)
    since: dict[tuple[str, int], float] = field(factory=dict)

    def rounds(self, model: str, callers: int) -> int:
        return math.ceil(callers / self.limits[model])

    def queue(self, model: str) -> int:
        return sum(asked.model == model for asked, _ in self.unanswered.values())

    def take(self, step: Step) -> None:
        now = step.now
        match step.event:
            case Arrived(ticket, model, patience=patience) as asked:
                self.unanswered[ticket] = (asked, now)
                waiting = Counter(other.model for other, _ in self.unanswered.values())
                cycle = sum(
                    self.learned.overhead(name) + self.rounds(name, callers) * self.learned.service(name)
                    for name, callers in waiting.items()
                )
                own = self.patience if patience is None else patience
                overhead = self.learned.overhead(model)
                self.at_arrival[ticket] = Wait(ticket, model, 0.0, own, cycle, overhead, waiting[model])
            case BecameReady(model, run):
                seconds = now - self.since.pop(("start", run))
                self.load[model] = max(self.load[model], seconds)
                self.batch[model] = max(self.batch[model], self.queue(model))
                self.learned.loads[model].add(seconds)
                self.learned.loads[""].add(seconds)
            case Exited(_, run):
                seconds = now - self.since.pop(("stop", run))
                self.stop = max(self.stop, seconds)
                self.learned.stops.add(seconds)
            case Released(ticket) if ("serve", ticket) in self.since:
                seconds = now - self.since.pop(("serve", ticket))
                self.service = max(self.service, seconds)
                model = self.at_arrival[ticket].model
                # Of a longer lease no more than the patience is learned.
                self.learned.services[model].add(min(seconds, self.patience))
                self.learned.services[""].add(min(seconds, self.patience))
            case _:
                pass
        for command in step.commands:
            match command:
                case Start(_, run):
                    self.since["start", run] = now
                case Stop(_, run, force=False):
                    self.since["stop", run] = now
                case Forward(ticket, model):
                    _, arrived_at = self.unanswered.pop(ticket)
                    self.since["serve", ticket] = now
                    known = self.at_arrival[ticket]
                    self.waits.append(evolve(known, seconds=now - arrived_at))
                case _:
                    pass

    def overhead(self, model: str) -> float:
        return self.load[model] + self.stop

    def visit(self, model: str, policy: Policy) -> float:
        """Return the longest that a visit can last once it is to end, but for the last service."""
        return max(
            policy.quantum * self.overhead(model), self.rounds(model, self.batch[model]) * self.service
        )

    def bound(self, wait: Wait, policy: Policy) -> float:
        others = [model for model in self.load if model != wait.model]
        own = self.rounds(wait.model, max(self.batch[wait.model], wait.ahead)) * self.service
        return (
            wait.stretched(policy)
            + self.service
            + max((self.visit(model, policy) for model in self.load), default=0.0)
            + sum(self.overhead(model) + self.visit(model, policy) + self.service for model in others)
            + self.overhead(wait.model)
            + own
        )


def read(log: Sequence[Step], catalog: Catalog, policy: Policy) -> Facts:
    facts = Facts({model.id: model.concurrency_limit for model in catalog}, policy.patience)
    for step in log:
        facts.take(step)
    return facts


# Worlds -----------------------------------------------------------------------


@frozen
class Stream:
    """Callers of one model at regular intervals; short ones keep it busy without end."""

    model: str
    begins: float
    every: float
    callers: int
    service: float
    patience: float | None = None
    caller: str | None = None


def simulate(
    models: Sequence[Model], fates: Mapping[str, Sequence[Fate]], streams: Sequence[Stream], policy: Policy
) -> Simulator:
    simulator = Simulator(Catalog(models), fates=fates, policy=policy, check=False)
    for stream in streams:
        for nth in range(stream.callers):
            simulator.ask(
                stream.model,
                at=stream.begins + nth * stream.every,
                service=stream.service,
                patience=stream.patience,
                caller=stream.caller,
            )
    simulator.run(max_steps=20_000)
    return simulator


NAMES = "abcd"
fates = st.builds(Fate, load=st.sampled_from([0.5, 4.0, 15.0, 50.0]), stop=st.sampled_from([0.0, 1.0, 8.0]))
patiences = st.sampled_from([1.0, 10.0, 60.0])


def streams(patience: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[Stream]]:
    one = st.builds(
        Stream,
        st.sampled_from(NAMES),
        st.integers(0, 120).map(float),
        st.sampled_from([0.0, 0.7, 3.0, 20.0]),
        st.sampled_from([1, 1, 2, 8, 40]),
        st.sampled_from([0.1, 2.0, 9.0, 30.0]),
        patience,
        st.sampled_from([None, None, "x", "y"]),
    )
    return st.lists(one, min_size=1, max_size=8)


worlds = {
    "models": st.lists(st.integers(1, 4), min_size=4, max_size=4).map(
        lambda limits: [
            Model(name, concurrency_limit=limit) for name, limit in zip(NAMES, limits, strict=True)
        ]
    ),
    "fates": st.fixed_dictionaries({name: st.lists(fates, min_size=1, max_size=3) for name in NAMES}),
    "policy": st.builds(
        Policy,
        patience=patiences,
        load_factor=st.sampled_from([1.0, 2.0]),
        quantum=st.sampled_from([0.0, 1.0, 3.0]),
        choice=st.sampled_from(["oldest", "age", "work"]),
    ),
}


def assert_bounded(simulator: Simulator, models: Sequence[Model], policy: Policy) -> None:
    catalog = Catalog(models)
    facts = read(simulator.log, catalog, policy)
    assert not facts.unanswered
    assert len(facts.waits) == len(simulator.callers)
    for wait in facts.waits:
        bound = facts.bound(wait, policy)
        assert wait.seconds <= bound + 1e-6, f"{wait} is over its bound of {bound}"
    # Capacity, single flight, non-preemption, one answer per ticket, order inside a model.
    judge = Judge(catalog, simulator.engine._state.planner)
    for step in simulator.log:
        judge.see(step.now, step.event, step.commands)


@settings(max_examples=400, deadline=None)
@given(traffic=streams(st.none()), **worlds)
def test_nobody_waits_longer_than_the_bound(
    models: list[Model], fates: dict[str, list[Fate]], traffic: list[Stream], policy: Policy
) -> None:
    assert_bounded(simulate(models, fates, traffic, policy), models, policy)


@settings(max_examples=300, deadline=None)
@given(traffic=streams(patiences), **worlds)
def test_nor_does_who_has_a_patience_of_its_own(
    models: list[Model], fates: dict[str, list[Fate]], traffic: list[Stream], policy: Policy
) -> None:
    assert_bounded(simulate(models, fates, traffic, policy), models, policy)


def test_what_the_resident_owes_its_batch_belongs_to_the_bound() -> None:
    """Where services were mistaken for short ones, a resident with a long batch can come up once more.

    Its term in §3.3 of the reference is its quantum alone, which this world exceeds.
    """
    models = [Model(name, concurrency_limit=1) for name in "adem"]
    policy = Policy(load_factor=1.0, quantum=0.0)
    loads = {"a": 1.0, "d": 30.0, "e": 15.0, "m": 4.0}
    begin = [Stream("d", 0, 0, 1, 0.1), Stream("m", 0, 0, 1, 0.1)]
    short = [Stream("e", 40, 0, 1, 0.1), Stream("e", 70, 0.2, 60, 0.1), Stream("a", 100, 0, 1, 0.1)]
    first, again = Stream("e", 110, 0, 20, 30.0), Stream("e", 126.5, 0, 20, 30.0)
    late = [Stream("d", 127, 0, 1, 0.1), Stream("m", 128, 0, 1, 0.1)]
    fates = {name: [Fate(load=seconds)] for name, seconds in loads.items()}
    simulator = simulate(models, fates, [*begin, *short, first, again, *late], policy)
    assert_bounded(simulator, models, policy)
    facts = read(simulator.log, Catalog(models), policy)
    longest = max(facts.waits, key=lambda wait: (wait.model == "m", wait.seconds))
    batch = max(facts.visit(model, policy) for model in loads)
    assert longest.seconds > facts.bound(longest, policy) - batch


# What the bound rests on ------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(traffic=streams(st.none()), **worlds)
def test_callers_fall_due_when_the_definition_says(
    models: list[Model], fates: dict[str, list[Fate]], traffic: list[Stream], policy: Policy
) -> None:
    """The definition, worked out from the log."""
    simulator = simulate(models, fates, traffic, policy)
    catalog = Catalog(models)
    facts = Facts({model.id: model.concurrency_limit for model in catalog}, policy.patience)
    engine = Engine(catalog, policy=policy)
    for step in simulator.log:
        assert engine.handle(step.event, step.now) == step.commands
        facts.take(step)
        if isinstance(step.event, Arrived) and step.event.ticket in facts.unanswered:
            wait = facts.at_arrival[step.event.ticket]
            (view,) = (one for one in engine.snapshot().tickets if one.ticket == wait.ticket)
            assert view.due == pytest.approx(step.now + wait.due_after(policy))


# The suites of the reference ---------------------------------------------------


def hot_stream(policy: Policy) -> Simulator:
    """Model 0 is asked for every second, and served without a pause; model 1 five times in all."""
    models = [Model("hot", concurrency_limit=4), Model("rare")]
    fates = {name: [Fate(load=10.0)] for name in ("hot", "rare")}
    streams = [Stream("hot", 0.0, 1.0, 600, 3.0), Stream("rare", 20.0, 100.0, 5, 2.0)]
    return simulate(models, fates, streams, policy)


def rare_waits(simulator: Simulator) -> list[float]:
    return [caller.waited or math.inf for caller in simulator.callers.values() if caller.model == "rare"]


def test_a_hot_stream_keeps_nobody_out_for_longer_than_the_bound() -> None:
    models = [Model("hot", concurrency_limit=4), Model("rare")]
    simulator = hot_stream(Policy())
    assert_bounded(simulator, models, Policy())
    # Patience is 60 s, and twice the cycle where the hot model has to catch up.
    assert max(rare_waits(simulator)) < 80.0


def test_without_patience_a_hot_stream_keeps_everybody_out_to_its_end() -> None:
    """Which is what the bound is for, and shows that these worlds can break it."""
    simulator = hot_stream(Policy(patience=math.inf))
    assert max(rare_waits(simulator)) > 590.0
    facts = read(simulator.log, Catalog([Model("hot", concurrency_limit=4), Model("rare")]), Policy())
    assert any(wait.seconds > facts.bound(wait, Policy()) for wait in facts.waits)


def hot_at_twice_its_capacity(seed: int, policy: Policy, until: float) -> Simulator:
    """One model is offered twice what it can serve, for an hour; somebody asks for another after a minute."""
    chance = random.Random(seed)
    models = [Model("hot", concurrency_limit=4), Model("rare")]
    fates = {name: [Fate(load=10.0, stop=1.0)] for name in ("hot", "rare")}
    simulator = Simulator(Catalog(models), fates=fates, policy=policy, check=False)
    at = 0.0
    while (at := at + chance.expovariate(2 * 4 / 3.0)) < 3600.0:
        simulator.ask("hot", at=at, service=3.0)
    simulator.ask("rare", at=60.0, service=2.0)
    simulator.run(until)
    return simulator


@pytest.mark.parametrize("seed", range(8))
def test_at_twice_its_capacity_a_hot_model_keeps_nobody_out(seed: int) -> None:
    simulator = hot_at_twice_its_capacity(seed, Policy(), until=900.0)
    catalog = Catalog([Model("hot", concurrency_limit=4), Model("rare")])
    facts = read(simulator.log, catalog, Policy())
    (wait,) = (wait for wait in facts.waits if wait.model == "rare")
    assert wait.seconds <= facts.bound(wait, Policy())


def test_without_patience_it_does_for_ever() -> None:
    simulator = hot_at_twice_its_capacity(0, Policy(patience=math.inf), until=3600.0)
    assert rare_waits(simulator) == [math.inf]
