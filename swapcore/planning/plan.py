"""What is asked of a planner, and what does it answer?"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import frozen

__all__ = ["Plan", "Planner", "one_at_a_time"]


@frozen
class Plan:
    """What must leave so that the target fits, and what lives together then."""

    target: str
    """The model that is to come in."""

    evict: tuple[str, ...]
    """The residents that must leave, in the order in which they were given."""

    target_set: tuple[str, ...] = ()
    """The models that may live together once the plan is carried out, the target included."""

    set: str = ""
    """The name of the configured set that allows this, if sets are what decides."""

    cost: float = 0.0
    """The total loss of what is evicted."""


class Planner(Protocol):
    """A pure function that says what must leave so that a target fits.

    The same arguments always give the same plan. It keeps, logs and asks
    nothing, and does not know which callers wait.
    """

    def __call__(self, target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
        """Answer for this target, these residents and these losses.

        Args:
            target: The model that is to come in. It may be resident itself.
            resident: All models whose room is taken, in definition order, and
                models that others' plans have been promised room for.
            loss: For each resident what its leaving costs. Infinite for one
                that may not leave: a plan that evicts it has to wait, so any
                other plan is better. 0 for one that is leaving already.

        Returns:
            The plan with the least total loss. It evicts no model that may
            live beside the target in the set chosen.
        """


def one_at_a_time(target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
    """Plan for hardware that holds a single model: all others leave."""
    evict = tuple(model for model in resident if model != target)
    return Plan(target, evict, target_set=(target,), cost=sum(loss[model] for model in evict))
