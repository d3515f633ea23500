"""Why does a plan say so?"""

import math
from collections.abc import Mapping, Sequence

from swapcore.planning.groups import Groups
from swapcore.planning.matrix import Matrix
from swapcore.planning.plan import BUSY, Plan, Planner

__all__ = ["reasons"]


def reasons(
    planner: Planner, plan: Plan, resident: Sequence[str], loss: Mapping[str, float]
) -> tuple[str, ...]:
    """Explain a plan in words, one sentence for each resident.

    Args:
        planner: Who made the plan. Of one that is not swapcore's own the
            rules are not known, only what they came to.
        plan: What it answered.
        resident: What it was asked with.
        loss: Likewise.

    Returns:
        Why each resident leaves or stays, in their order. If the search for
        the plan ended at its budget, a last sentence says so.
    """
    texts = [_sentence(planner, plan, model, loss[model]) for model in resident]
    if not plan.exhaustive:
        texts.append("the search ended at its budget: there may be a better plan")
    return tuple(texts)


def _sentence(planner: Planner, plan: Plan, model: str, loss: float) -> str:
    if model == plan.target:
        return f"{model} is resident itself"
    if model not in plan.evict:
        return f"{model} stays: {_rule(planner, plan, model)}"
    if math.isinf(loss):
        why = _rule(planner, plan, model)
        return f"{model} would have to leave: {why}; it may not, and while it is up the target cannot come in"
    return f"{model} leaves: {_rule(planner, plan, model)}; {_price(planner, model, loss)}"


def _rule(planner: Planner, plan: Plan, model: str) -> str:
    """Say what decides whether the resident leaves."""
    leaves = model in plan.evict
    if isinstance(planner, Groups):
        group, other = planner.group_of(plan.target).name, planner.group_of(model).name
        names = group if group == other else f"{plan.target} in {group}, {model} in {other}"
        return f"{planner.rule(plan.target, model).value} ({names})"
    if plan.set:
        return f"what was chosen of the set {plan.set} {'does not hold' if leaves else 'holds'} it"
    if isinstance(planner, Matrix):
        return f"{plan.target} is in no set, so it runs alone"
    return f"it {'may not' if leaves else 'may'} live beside {plan.target}"


def _price(planner: Planner, model: str, loss: float) -> str:
    """Say what it costs that the resident leaves."""
    if loss <= 0:
        return "it is leaving already"
    configured = planner.costs.get(model, 1.0) if isinstance(planner, Matrix) and planner.costs else None
    price = f"its loss is {loss % BUSY:.3g}" if configured is None else f"its cost is {configured:g}"
    return f"{price}, and it has to finish what it serves" if loss >= BUSY else price
