"""What must leave so that the target fits? One planner answers, and any may be put in its place."""

from swapcore.planning.plan import Plan, Planner, one_at_a_time

__all__ = ["Plan", "Planner", "one_at_a_time"]
