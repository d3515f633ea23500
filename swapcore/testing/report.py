"""How well did it go: what was waited, swapped and wasted?

All figures are counted from a log of steps, never taken from the engine, so a
fault in its own counting cannot hide itself.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from swapcore.commands import Forward, Refusal, Reject, Start, Stop, StopReason
from swapcore.events import Arrived, BecameReady, Exited, Lost, Released
from swapcore.journal import Step

__all__ = ["Report", "Waits", "report"]


@frozen(kw_only=True)
class Waits:
    """How long some callers waited: from their arrivals until each was let through, in seconds.

    Callers who were not let through are not among them.
    """

    count: int = 0
    """How many they are."""

    total: float = 0.0
    """What they waited together."""

    mean: float = 0.0
    """What they waited on average."""

    p50: float = 0.0
    """What half of them waited at most: the least such wait that one of them had."""

    p99: float = 0.0
    """What 99 in 100 of them waited at most, likewise."""

    max: float = 0.0
    """What the one who waited longest waited."""


@frozen(kw_only=True)
class Report:
    """What a log comes to. All times are seconds."""

    callers: int
    """Callers who arrived."""

    makespan: float
    """From the first arrival until the last caller who was served had finished."""

    swaps: int
    """Runs started."""

    load_time: float
    """From each start until that run was ready, or was told to stop, lost or over before that."""

    switching_share: float
    """Load time ÷ makespan. It exceeds 1 where models load side by side."""

    evictions: int
    """Runs stopped to make room for another model."""

    wasted: int
    """Runs that ended, or were left at the end of the log, without having served anyone."""

    waits: Waits
    """Of all callers."""

    by_model: Mapping[str, Waits]
    """Of the callers of each model, in the order of its first caller."""

    by_priority: Mapping[int, Waits]
    """Of the callers of each priority, the highest first."""

    refusals: Mapping[Refusal, int]
    """Callers refused, by why."""

    left: int
    """Callers who left before they were answered."""

    unfairness: float
    """How uneven the waits are among models: the largest p99 of a model ÷ the median of those. 1 if all
    are alike, and if nobody waited."""

    jain: float
    """How even the slowdowns of models are: (Σx)² ÷ (n·Σx²), where a model's x is the time its callers
    took, waits and services together, ÷ their services. From 1/n to 1, where all are alike."""

    slack: Mapping[str, float]
    """The longest wait of each model ÷ the bound given for it: above 1 the bound was broken."""


def report(log: Iterable[Step], *, bounds: Mapping[str, float] | None = None) -> Report:
    """Count what happened.

    Args:
        log: The steps, in their order, from a moment when nothing ran.
        bounds: How long callers of a model may wait at most, for `Report.slack`.
    """
    count = _Count()
    for step in log:
        count.take(step)
    waits = {model: _waits(each) for model, each in count.by_model.items()}
    makespan = max(0.0, count.last - count.first) if count.callers else 0.0
    load_time = count.load_time + sum(count.now - since for since in count.loading.values())
    return Report(
        callers=count.callers,
        makespan=makespan,
        swaps=len(count.served),
        load_time=load_time,
        switching_share=load_time / makespan if makespan else 0.0,
        evictions=count.evictions,
        wasted=sum(not served for served in count.served.values()),
        waits=_waits([wait for each in count.by_model.values() for wait in each]),
        by_model=waits,
        by_priority={
            each: _waits(count.by_priority[each]) for each in sorted(count.by_priority, reverse=True)
        },
        refusals=count.refusals,
        left=count.left,
        unfairness=_unfairness([each.p99 for each in waits.values() if each.count]),
        jain=_jain([taken / service for taken, service in count.spent.values() if service > 0]),
        slack={
            model: each.max / bounds[model] for model, each in waits.items() if bounds and model in bounds
        },
    )


@define
class _Count:
    """Follows a log."""

    now: float = 0.0
    first: float = math.inf
    last: float = -math.inf
    callers: int = 0
    left: int = 0
    evictions: int = 0
    load_time: float = 0.0
    by_model: dict[str, list[float]] = field(factory=dict)
    by_priority: dict[int, list[float]] = field(factory=dict)
    refusals: Counter[Refusal] = field(factory=Counter)
    waiting: dict[int, tuple[Arrived, float]] = field(factory=dict)
    leases: dict[int, tuple[str, float]] = field(factory=dict)
    spent: dict[str, tuple[float, float]] = field(factory=dict)
    """What callers of each model took, and their services alone."""

    loading: dict[int, float] = field(factory=dict)
    """The runs that are not ready, with their starts."""

    served: dict[int, int] = field(factory=dict)
    """How many callers each run has served."""

    def take(self, step: Step) -> None:
        self.now = step.now
        match step.event:
            case Arrived(ticket, model, priority):
                self.callers += 1
                self.first = min(self.first, step.now)
                self.waiting[ticket] = (step.event, step.now)
                self.by_model.setdefault(model, [])
                self.by_priority.setdefault(priority, [])
            case Released(ticket) if ticket in self.leases:
                model, since = self.leases.pop(ticket)
                self.spend(model, step.now - since, step.now - since)
                self.last = step.now
            case Released(ticket):
                self.left += self.waiting.pop(ticket, None) is not None
            case BecameReady(_, run) | Lost(_, run) | Exited(_, run):
                self.end_load(run)
            case _:
                pass
        for command in step.commands:
            match command:
                case Start(_, run):
                    self.served[run] = 0
                    self.loading[run] = step.now
                case Stop(_, run, reason, force):
                    self.end_load(run)
                    self.evictions += reason is StopReason.EVICT and not force
                case Forward(ticket, model, run):
                    self.forward(ticket, model, run)
                case Reject(ticket, refusal):
                    self.waiting.pop(ticket, None)
                    self.refusals[refusal] += 1

    def forward(self, ticket: int, model: str, run: int) -> None:
        self.leases[ticket] = (model, self.now)
        if run in self.served:
            self.served[run] += 1
        # A log that begins in the midst of things has answers to callers it has not seen arrive.
        if ticket in self.waiting:
            arrived, at = self.waiting.pop(ticket)
            self.by_model[model].append(self.now - at)
            self.by_priority[arrived.priority].append(self.now - at)
            self.spend(model, self.now - at, 0.0)

    def spend(self, model: str, taken: float, service: float) -> None:
        before = self.spent.get(model, (0.0, 0.0))
        self.spent[model] = (before[0] + taken, before[1] + service)

    def end_load(self, run: int) -> None:
        if run in self.loading:
            self.load_time += self.now - self.loading.pop(run)


def _waits(waits: Sequence[float]) -> Waits:
    if not waits:
        return Waits()
    ordered = sorted(waits)
    total = math.fsum(ordered)
    return Waits(
        count=len(ordered),
        total=total,
        mean=total / len(ordered),
        p50=_quantile(ordered, 50),
        p99=_quantile(ordered, 99),
        max=ordered[-1],
    )


def _quantile(ordered: Sequence[float], percent: int) -> float:
    # Whole numbers: 0.99 × 100 is a little more than 99 to a computer.
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _unfairness(tails: Sequence[float]) -> float:
    if not tails or not max(tails):
        return 1.0
    ordered = sorted(tails)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return ordered[-1] / middle if middle else math.inf


def _jain(values: Sequence[float]) -> float:
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
