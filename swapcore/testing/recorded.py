"""What does a journal tell: would the engine do the same again, and what traffic was that?"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from attrs import define, evolve, field, frozen

from swapcore.catalog import Catalog
from swapcore.commands import Command, Forward, Reject, Start, Stop
from swapcore.engine import Engine
from swapcore.events import Arrived, BecameReady, Exited, Released
from swapcore.journal import Gap, Header, Record, Step, engine_of, resolved, without_detail
from swapcore.planning import Planner
from swapcore.testing.arrivals import Ask
from swapcore.testing.simulator import Fate

__all__ = ["Comparison", "Difference", "Traffic", "compare", "traffic_of"]


@frozen
class Difference:
    """The first step at which an engine does not do what was recorded."""

    step: Step
    """What was recorded."""

    commands: tuple[Command, ...]
    """What the engine orders now."""

    error: Exception | None = None
    """What it raises, if it does."""


@frozen(kw_only=True)
class Comparison:
    """How far a journal was replayed, and how well."""

    steps: int
    """Steps replayed with the same outcome."""

    commands: int
    """Commands that these brought."""

    skipped: int
    """Steps that could not be replayed, for want of what was before them."""

    dropped: int
    """Steps that the recorder did not keep."""

    difference: Difference | None
    """What ended it, if anything did."""


def compare(records: Iterable[Record], planners: Mapping[str, Planner] | None = None) -> Comparison:
    """Tell new engines what a journal holds, and compare what they order, up to the first difference.

    What commands say for people is not compared: recordings leave it out.

    Args:
        records: The records, in their order, from one file or several.
        planners: The planners that can be had besides swapcore's own, by the
            names the journal has for them.

    Raises:
        JournalError: a planner is not there, or a state cannot be read.
    """
    engine: Engine | None = None
    part = steps = commands = skipped = dropped = 0
    difference = None
    for record in records:
        match record:
            case Header():
                if record.part == 1 or record.state is not None:
                    engine = engine_of(record, planners)
                elif record.part != part + 1:
                    engine = None
                part = record.part
            case Gap(missing):
                engine = None
                dropped += missing
            case Step() if engine is None:
                skipped += 1
            case Step():
                difference = _difference(engine, record, planners or {})
                if difference is not None:
                    break
                steps += 1
                commands += len(record.commands)
    return Comparison(steps=steps, commands=commands, skipped=skipped, dropped=dropped, difference=difference)


def _difference(engine: Engine, recorded: Step, planners: Mapping[str, Planner]) -> Difference | None:
    # The planner is part of the event, so it must be the real one here.
    told = resolved(recorded, planners)
    assert isinstance(told, Step)
    try:
        commands = engine.handle(told.event, told.now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it did not happen when it was recorded.
        return Difference(recorded, (), error)
    same = without_detail(recorded).commands == without_detail(Step(told.now, told.event, commands)).commands
    return None if same else Difference(recorded, commands)


@frozen(kw_only=True)
class Traffic:
    """Who came, and how long things took: enough to try the same on another engine.

    Failures and crashes are not part of it.
    """

    asks: Sequence[Ask]
    """The callers, for `Simulator.traffic`. Who was not served is taken for an average one of its model;
    who left unanswered gives up after as long a wait again."""

    loads: Mapping[str, float]
    """How many seconds a load of each model took on average, where one was seen."""

    stops: Mapping[str, float]
    """How many seconds a stop of each model took on average, where one was seen."""

    def fates(self, catalog: Catalog) -> dict[str, Fate]:
        """Return what becomes of runs of these models; what was not seen is taken for average."""
        load, stop = _mean(self.loads.values(), 10.0), _mean(self.stops.values(), 1.0)
        return {
            model.id: Fate(load=self.loads.get(model.id, load), stop=self.stops.get(model.id, stop))
            for model in catalog
        }

    def renamed(self, rename: Callable[[str], str]) -> "Traffic":
        """Return the same traffic for models of other names."""
        return Traffic(
            asks=tuple(evolve(ask, model=rename(ask.model)) for ask in self.asks),
            loads={rename(model): seconds for model, seconds in self.loads.items()},
            stops={rename(model): seconds for model, seconds in self.stops.items()},
        )


def traffic_of(records: Iterable[Record]) -> Traffic:
    """Take the traffic out of the records of one recording."""
    seen = _Seen()
    for record in records:
        if isinstance(record, Step):
            seen.take(record)
    return Traffic(
        asks=tuple(seen.asks()),
        loads={model: _mean(times) for model, times in seen.loads.items()},
        stops={model: _mean(times) for model, times in seen.stops.items()},
    )


@define
class _Visit:
    """One caller, as far as it was seen."""

    arrived: Arrived
    at: float
    gave_up_after: float = math.inf
    service: float | None = None


@define
class _Seen:
    """Follows a recording."""

    visits: list[_Visit] = field(factory=list)
    waiting: dict[int, _Visit] = field(factory=dict)
    leases: dict[int, tuple[_Visit, float]] = field(factory=dict)
    starting: dict[int, float] = field(factory=dict)
    stopping: dict[int, float] = field(factory=dict)
    loads: dict[str, list[float]] = field(factory=dict)
    stops: dict[str, list[float]] = field(factory=dict)

    def take(self, step: Step) -> None:
        now = step.now
        match step.event:
            case Arrived(ticket):
                visit = self.waiting[ticket] = _Visit(step.event, now)
                self.visits.append(visit)
            case Released(ticket) if ticket in self.leases:
                visit, since = self.leases.pop(ticket)
                visit.service = now - since
            case Released(ticket) if ticket in self.waiting:
                visit = self.waiting.pop(ticket)
                visit.gave_up_after = now - visit.at
            case BecameReady(model, run) if run in self.starting:
                self.loads.setdefault(model, []).append(now - self.starting.pop(run))
            case Exited(model, run):
                self.starting.pop(run, None)
                if run in self.stopping:
                    self.stops.setdefault(model, []).append(now - self.stopping.pop(run))
            case _:
                pass
        for command in step.commands:
            match command:
                case Start(_, run):
                    self.starting[run] = now
                case Stop(_, run):
                    self.starting.pop(run, None)
                    self.stopping.setdefault(run, now)
                case Forward(ticket) if ticket in self.waiting:
                    self.leases[ticket] = (self.waiting.pop(ticket), now)
                case Reject(ticket):
                    self.waiting.pop(ticket, None)
                case _:
                    pass

    def asks(self) -> Iterator[Ask]:
        services: dict[str, list[float]] = {}
        for visit in self.visits:
            if visit.service is not None:
                services.setdefault(visit.arrived.model, []).append(visit.service)
        means = {model: _mean(times) for model, times in services.items()}
        latest = self.visits[0].at if self.visits else 0.0
        for visit in self.visits:
            model = visit.arrived.model
            average = means.get(model, _mean(means.values(), 1.0))
            yield Ask(
                model=model,
                after=visit.at - latest,
                service=average if visit.service is None else visit.service,
                gives_up_after=visit.gave_up_after,
                priority=visit.arrived.priority,
                patience=visit.arrived.patience,
                caller=visit.arrived.caller,
                share=visit.arrived.share,
                evicts=visit.arrived.evicts,
            )
            latest = visit.at


def _mean(values: Iterable[float], otherwise: float = 0.0) -> float:
    known = tuple(values)
    return math.fsum(known) / len(known) if known else otherwise
