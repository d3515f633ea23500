"""What must leave so that the target fits? One planner answers, and any may be put in its place."""

from importlib import import_module
from typing import TYPE_CHECKING

from swapcore.planning.faults import ExpressionError, PlanningError
from swapcore.planning.groups import Group, Groups
from swapcore.planning.plan import BUSY, Plan, Planner, one_at_a_time

if TYPE_CHECKING:
    from swapcore.planning.explain import reasons
    from swapcore.planning.matrix import Matrix

__all__ = [
    "BUSY",
    "ExpressionError",
    "Group",
    "Groups",
    "Matrix",
    "Plan",
    "Planner",
    "PlanningError",
    "one_at_a_time",
    "reasons",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Most have no matrix and explain nothing, and need not wait for the solver.
        homes = {"Matrix": "swapcore.planning.matrix", "reasons": "swapcore.planning.explain"}
        if name not in homes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(homes[name]), name)
        return value
