"""An engine whose every step is judged from outside and checked inside."""

from collections.abc import Mapping, Sequence
from typing import Any

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Command,
    Engine,
    Event,
    Forward,
    Model,
    Plan,
    Planner,
    Policy,
    Released,
    Start,
    Stop,
    StopReason,
    one_at_a_time,
)
from tests.core.oracle import Judge


class Driven:
    """Tells an engine events, one second apart unless said otherwise, and judges what it answers."""

    def __init__(
        self,
        *models: Model | str,
        planner: Planner = one_at_a_time,
        policy: Policy | None = None,
        **limits: Any,
    ) -> None:
        catalog = Catalog(model if isinstance(model, Model) else Model(model) for model in models)
        self.engine = Engine(catalog, planner, policy=policy, **limits)
        self.judge = Judge(catalog, planner)
        self.now = 0.0

    def due(self) -> float | None:
        return self.engine.deadline

    def tell(self, event: Event, *, at: float | None = None, after: float = 1.0) -> tuple[Command, ...]:
        self.now = self.now + after if at is None else at
        commands = self.engine.handle(event, self.now)
        self.judge.see(self.now, event, commands)
        self.engine.check()
        return commands


def ready(*models: Model | str, **limits: Any) -> Driven:
    """An engine whose first model is up and idle, as run 1; ticket 1 has come and gone."""
    driven = Driven(*models, **limits)
    first = models[0].id if isinstance(models[0], Model) else models[0]
    assert driven.tell(Arrived(1, first), at=0.0) == (Start(first, 1),)
    assert driven.tell(BecameReady(first, 1), at=0.0) == (Forward(1, first, 1),)
    assert driven.tell(Released(1), at=0.0) == ()
    return driven


def evict(model: str, run: int, target: str) -> Stop:
    """Make the order to stop that run so that the target fits."""
    return Stop(model, run, StopReason.EVICT, making_room_for=target)


def together(*sets: str) -> Planner:
    """Make a planner in which the models of each set, one letter each, may live together."""

    def plan(target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
        others = [model for model in resident if model != target]
        options = [
            tuple(model for model in others if model not in members) for members in sets if target in members
        ] or [tuple(others)]
        best = min(options, key=lambda evict: sum(loss[model] for model in evict))
        return Plan(target, best, cost=sum(loss[model] for model in best))

    return plan
