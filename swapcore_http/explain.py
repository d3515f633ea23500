"""What would a request for a model evict, and why?

Nothing runs for this: the planner of a configuration is asked, with the models
that are said to be running.
"""

import math
from collections.abc import Iterable
from typing import Any

import attrs
from attrs import frozen

from swapcore.errors import SwapcoreError
from swapcore.planning import reasons
from swapcore_http.config import Config

__all__ = ["Explanation", "UnknownNameError", "as_json", "explain"]


class UnknownNameError(SwapcoreError):
    """No model of the configuration is called so."""


@frozen
class Explanation:
    """A plan, and the reasons for it."""

    target: str
    """The id of the model that the request is for."""

    evict: tuple[str, ...]
    """The ids of those that leave, in definition order."""

    target_set: tuple[str, ...]
    """The ids of those that may live together afterwards, the target included."""

    set: str
    """The set of the matrix that allows this; empty if none does."""

    cost: float
    """What the evictions cost; infinite if one of them never leaves, so that the target cannot come in."""

    reasons: tuple[str, ...]
    """A sentence for each that is running, in definition order."""


def explain(config: Config, target: str, running: Iterable[str]) -> Explanation:
    """Ask the configuration's planner.

    All that run cost the same, unless the configuration says what they cost:
    they are idle, and nothing is known of their load times. Those that are
    pinned may not leave.

    Args:
        config: The configuration.
        target: What the request is for, by id or alias.
        running: What is running, likewise.

    Raises:
        UnknownNameError: the configuration has no model of one of these names.
    """
    wanted = _resolve(config, target)
    up = {_resolve(config, name) for name in running}
    resident = tuple(model for model in config.catalog() if model.id in up)
    ids = tuple(model.id for model in resident)
    loss = {model.id: float("inf") if model.pinned else 1.0 for model in resident}
    planner = config.planner()
    plan = planner(wanted, ids, loss)
    return Explanation(
        target=plan.target,
        evict=plan.evict,
        target_set=plan.target_set,
        set=plan.set,
        cost=plan.cost,
        reasons=reasons(planner, plan, ids, loss),
    )


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Show an answer as JSON has it, which has no number that is infinite."""
    cost = explanation.cost if math.isfinite(explanation.cost) else None
    return attrs.asdict(explanation) | {"cost": cost}


def _resolve(config: Config, name: str) -> str:
    model = config.resolve(name)
    if model is None:
        raise UnknownNameError(config.unknown(name))
    return model
