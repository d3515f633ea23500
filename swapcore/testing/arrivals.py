"""What traffic is there to try?

Each generator yields `Ask`s, one caller's wish each, and is a pure function of
the source of chance that it is given: `random.Random(seed)` for traffic that
comes out the same each time. `Simulator.traffic` lets them arrive one after
the other, `Simulator.loop` each only when the one before it is finished.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from attrs import frozen

__all__ = ["Ask", "Chance", "Phase", "agent", "bursty", "poisson"]


class Chance(Protocol):
    """The part of `random.Random` that is used here."""

    def expovariate(self, lambd: float, /) -> float:
        """Draw from an exponential distribution of that rate."""

    def uniform(self, a: float, b: float, /) -> float:
        """Draw from between the two."""

    def choices(self, population: Sequence[str], weights: Sequence[float]) -> list[str]:
        """Draw one, as likely as its weight."""


@frozen(kw_only=True)
class Ask:
    """One caller who is to come. All durations are seconds."""

    model: str
    """The model it asks for."""

    after: float = 0.0
    """How long after the one before it: in traffic after its arrival, in a loop after its end."""

    service: float = 1.0
    """How long it keeps its lease."""

    gives_up_after: float = float("inf")
    """How long it waits before it leaves without an answer."""

    priority: int = 0
    """Its priority."""

    patience: float | None = None
    """Its patience; `None` for its model's."""

    caller: str | None = None
    """Whose it is, where callers take turns; `None` for nobody in particular."""

    share: float | None = None
    """The part of each queue that its caller's tickets may hold; `None` for the engine's."""

    evicts: bool = True
    """Whether others may be stopped because a model that is up serves it."""


@frozen
class Phase:
    """A while during which traffic is of one kind."""

    seconds: float
    """How long it lasts."""

    rate: float
    """Callers per second; 0 for silence."""

    weights: Mapping[str, float]
    """The models asked for, and how likely each is against the others."""


def poisson(
    chance: Chance, *, rate: float, weights: Mapping[str, float], count: int, service: float = 1.0
) -> Iterator[Ask]:
    """Callers who know nothing of each other.

    Args:
        chance: Drawn from for each caller in turn: gap, model, service.
        rate: Callers per second.
        weights: The models asked for, and how likely each is against the others.
        count: How many callers.
        service: The mean of the exponentially distributed services, in seconds.
    """
    models, likely = list(weights), list(weights.values())
    for _ in range(count):
        yield Ask(
            after=chance.expovariate(rate),
            model=chance.choices(models, likely)[0],
            service=chance.expovariate(1 / service),
        )


def bursty(chance: Chance, phases: Sequence[Phase], *, service: float = 1.0) -> Iterator[Ask]:
    """Callers whose number and tastes change from one phase to the next.

    Args:
        chance: As for `poisson`.
        phases: One after the other.
        service: As for `poisson`.
    """
    latest = begins = 0.0
    for phase in phases:
        ends = begins + phase.seconds
        models, likely = list(phase.weights), list(phase.weights.values())
        now = begins
        # An exponential gap has no memory, so each phase can begin with a new one.
        while phase.rate and (now := now + chance.expovariate(phase.rate)) < ends:
            model = chance.choices(models, likely)[0]
            yield Ask(after=now - latest, model=model, service=chance.expovariate(1 / service))
            latest = now
        begins = ends


def agent(
    chance: Chance,
    models: Sequence[str],
    *,
    rounds: int,
    service: float = 4.0,
    gap: float = 3.0,
    spread: float = 0.4,
) -> Iterator[Ask]:
    """One program that asks, thinks about the answer, and asks again: for `Simulator.loop`.

    Args:
        chance: Drawn from for each round in turn: gap, service.
        models: Those it asks for in turn, over and over.
        rounds: How often it asks.
        service: The mean of the services, in seconds.
        gap: The mean of the time it thinks, before the first round too, in seconds.
        spread: The share by which both differ from their means at most.
    """
    for number in range(rounds):
        yield Ask(
            model=models[number % len(models)],
            after=gap * chance.uniform(1 - spread, 1 + spread),
            service=service * chance.uniform(1 - spread, 1 + spread),
        )
