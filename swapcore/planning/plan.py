"""What is asked of a planner, and what does it answer?"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import frozen

__all__ = ["BUSY", "Plan", "Planner", "one_at_a_time"]

BUSY = 1e9
"""What a resident's loss exceeds while it serves callers, or still has to.

It is far more than all loads together take in seconds, so that a planner that
minimises the total of the losses evicts as few busy residents as it can, and
compares the rest after that.
"""


@frozen
class Plan:
    """What must leave so that the target fits, and what may live together then."""

    target: str
    """The model that is to come in."""

    evict: tuple[str, ...]
    """The residents that must leave, in the order in which they were given."""

    target_set: tuple[str, ...] = ()
    """The models that may live together once the plan is carried out, the target included."""

    set: str = ""
    """The name of the configured set that allows this; empty if no set does, or no sets are configured."""

    cost: float = 0.0
    """What the evictions cost, in the terms that decide first.

    Infinite if one that may not leave has to; else the total of the
    configured costs where there are any; else the total loss.
    """

    exhaustive: bool = True
    """Whether no plan is known to cost less than this one does.

    If false, the search ended at its budget, and this is the best that it had
    found: what stays may live together, but more might.
    """


class Planner(Protocol):
    """A pure function that says what must leave so that a target fits.

    The same arguments always give the same plan. It keeps, logs and asks
    nothing, and does not know which callers wait.
    """

    def __call__(self, target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
        """Answer for this target, these residents and these losses.

        Args:
            target: The model that is to come in. It may be resident itself,
                if its older run is not gone yet, or to ask whether those
                beside it may stay; the plan never evicts it.
            resident: All models whose room is taken, in definition order, and
                models that others' plans have been promised room for.
            loss: For each resident what its leaving costs.
                `0.0`: it is leaving already, so it leaves every plan for free,
                whatever else the configuration says that its leaving costs.
                `math.inf`: it may not leave. A plan that evicts it cannot be
                carried out yet, so any plan with fewer of these is better.
                Any other positive number: the measured seconds of its load,
                less the longer it has been idle, and more than `BUSY` if it
                is busy.

        Returns:
            The best plan. It evicts no model that may live beside the target
            in the set chosen, and nothing at all if everything fits.
        """


def one_at_a_time(target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
    """Plan for hardware that holds a single model: all others leave."""
    evict = [model for model in resident if model != target]
    return Plan(target, tuple(evict), (target,), cost=sum([loss[model] for model in evict], 0.0))
