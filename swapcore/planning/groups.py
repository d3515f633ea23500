"""What must leave where models are sorted into groups, as llama-swap's `groups` say?"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from attrs import field, frozen

from swapcore.planning.faults import PlanningError
from swapcore.planning.plan import Plan

__all__ = ["DEFAULT_GROUP", "Group", "Groups", "Rule"]

DEFAULT_GROUP = "(default)"
"""The name of the group of all models that are in no other."""


class Rule(enum.Enum):
    """Why a resident leaves, or stays, when a target comes in."""

    SWAPS = "they share a group that holds one model at a time"
    EXCLUSIVE = "the target's group is exclusive, and the resident's is not persistent"
    TOGETHER = "they share a group whose models live together"
    PERSISTENT = "the resident's group is persistent"
    NOT_EXCLUSIVE = "the target's group is not exclusive"

    @property
    def evicts(self) -> bool:
        """Whether the resident leaves."""
        return self is Rule.SWAPS or self is Rule.EXCLUSIVE


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


@frozen
class Group:
    """Some models, and how they get on with each other and with the rest."""

    name: str
    """What it is called; not `(default)`."""

    members: tuple[str, ...] = field(converter=_names)
    """The ids of its models."""

    swap: bool = True
    """Whether only one of its models may be resident at a time."""

    exclusive: bool = True
    """Whether its models evict those of other groups, as far as these are not persistent."""

    persistent: bool = False
    """Whether models of other groups leave its models alone."""


def _in_order(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(groups)


@frozen
class Groups:
    """A planner for models that are sorted into groups.

    The rule looks at the target's side only: a model of a group that is not
    exclusive comes in beside those of an exclusive group, and leaves at the
    next request for one of these, also if that one is up already. Which of
    them live together so depends on who was asked for last.

    Models of no group form a group of their own, of which one is resident at a
    time, and which is exclusive and not persistent.

    Raises:
        PlanningError: a model is in two groups or unknown, or a group's name is taken.
    """

    groups: tuple[Group, ...] = field(converter=_in_order)
    """The groups that are configured."""

    models: tuple[str, ...] = field(converter=_names)
    """The ids of all models, in definition order."""

    _by_model: Mapping[str, Group] = field(init=False, eq=False, repr=False)
    _default: Group = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        known = frozenset(self.models)
        names = set[str]()
        by_model: dict[str, Group] = {}
        for group in self.groups:
            if group.name == DEFAULT_GROUP:
                message = "this name is kept for the models that are in no other group"
                raise PlanningError((group.name,), message)
            if group.name in names:
                raise PlanningError((group.name,), "there are two groups of this name")
            names.add(group.name)
            for model in group.members:
                place = (group.name, "members")
                if model not in known:
                    raise PlanningError(place, f"there is no model {model!r}; members are named by their ids")
                other = by_model.get(model)
                if other is group:
                    raise PlanningError(place, f"{model!r} is listed twice")
                if other is not None:
                    raise PlanningError(place, f"{model!r} is a member of {other.name!r} already")
                by_model[model] = group
        rest = Group(DEFAULT_GROUP, (model for model in self.models if model not in by_model))
        object.__setattr__(self, "_by_model", by_model)
        object.__setattr__(self, "_default", rest)

    def __call__(self, target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
        """Answer as `Planner` asks. There is only one plan to choose from."""
        leaves = {model for model in resident if model != target and self.rule(target, model).evicts}
        evict = tuple(model for model in resident if model in leaves)
        stays = tuple(model for model in resident if model not in leaves and model != target)
        return Plan(
            target, evict, target_set=(target, *stays), cost=sum((loss[model] for model in evict), 0.0)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: nothing in it ever changes."""
        return self

    def group_of(self, model: str) -> Group:
        """Return the group that a model belongs to."""
        return self._by_model.get(model, self._default)

    def rule(self, target: str, resident: str) -> Rule:
        """Return what decides whether that resident leaves for that target."""
        mine, other = self.group_of(target), self.group_of(resident)
        if mine is other:
            return Rule.SWAPS if mine.swap else Rule.TOGETHER
        if not mine.exclusive:
            return Rule.NOT_EXCLUSIVE
        return Rule.PERSISTENT if other.persistent else Rule.EXCLUSIVE

    def can_live_together(self, models: Iterable[str]) -> bool:
        """Whether these models may all be resident, and stay so whichever of them is asked for."""
        them = tuple(dict.fromkeys(models))
        return not any(self.rule(one, other).evicts for one in them for other in them if one != other)
