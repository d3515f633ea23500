"""What must leave so that the target fits? One planner answers, and any may be put in its place."""

from swapcore.planning.explain import reasons
from swapcore.planning.faults import ExpressionError, PlanningError
from swapcore.planning.groups import Group, Groups
from swapcore.planning.matrix import Matrix
from swapcore.planning.plan import BUSY, Plan, Planner, one_at_a_time

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
