"""What must leave where sets say which models may live together, as llama-swap's `matrix` does?"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from attrs import field, frozen

from swapcore.planning.compiling import compile_sets
from swapcore.planning.faults import PlanningError
from swapcore.planning.plan import Plan
from swapcore.planning.solver import Node, Option, Search, chosen_bits

__all__ = ["DEFAULT_BUDGET", "Matrix"]

DEFAULT_BUDGET = 10_000
"""Partial combinations that one plan may look at: some ten or twenty milliseconds."""

VARIABLE = re.compile(r"[a-zA-Z0-9.-]{1,32}")


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


def _texts(mapping: Mapping[str, str]) -> Mapping[str, str]:
    return dict(mapping)


def _costs(mapping: Mapping[str, float]) -> Mapping[str, float]:
    return dict(mapping)


def _items(mapping: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(mapping.items())


@frozen
class Matrix:
    """A planner for models of which certain sets may live together.

    A set is written as an expression that allows combinations of models, such
    as `(a | b) & c`. All that any of them holds may live together; a set starts
    nothing. A model in no set runs alone.

    Of the combinations that hold the target the best is chosen: that for which
    the fewest residents leave that may not, then that of the least total of
    the configured costs of evicting, if there are any, then that of the least
    total loss, then that which waits for the fewest residents that are leaving
    already. Among equals the first is chosen: sets in written order, and within
    a set the leftmost choices.

    Sets are kept as they are written and never expanded, so that they may allow
    any number of combinations. What a plan may cost is bounded by `budget`;
    where that does not suffice `Plan.exhaustive` is false, and the plan is the
    best combination found so far.

    Raises:
        ExpressionError: a set's expression cannot be understood.
        PlanningError: a set, variable or cost contradicts the rest.
    """

    sets: Mapping[str, str] = field(converter=_texts, eq=_items)
    """The sets' expressions by their names, in definition order."""

    models: tuple[str, ...] = field(converter=_names, kw_only=True)
    """The ids of all models, in definition order."""

    vars: Mapping[str, str] = field(converter=_texts, factory=dict, eq=_items, kw_only=True)
    """Short names of models; in expressions and costs they come before ids."""

    evict_costs: Mapping[str, float] = field(converter=_costs, factory=dict, eq=_items, kw_only=True)
    """What evicting a model costs, by its id or variable. If there are any, it is 1 for all others."""

    budget: int = field(default=DEFAULT_BUDGET, kw_only=True)
    """How many partial combinations one plan may look at."""

    costs: Mapping[str, float] = field(init=False, eq=False, repr=False)
    """The configured costs by the ids of the models."""

    _bits: Mapping[str, int] = field(init=False, eq=False, repr=False)
    _ids: tuple[str, ...] = field(init=False, eq=False, repr=False)
    _roots: Mapping[str, Node] = field(init=False, eq=False, repr=False)
    _sets_of: Mapping[str, tuple[str, ...]] = field(init=False, eq=False, repr=False)
    _whole_costs: Mapping[str, int] = field(init=False, eq=False, repr=False)
    _whole_one: int = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        bits = {model: 1 << number for number, model in enumerate(dict.fromkeys(self.models))}
        if self.budget < 1:
            raise PlanningError(("budget",), f"it is {self.budget}; expected at least 1")
        for name, model in self.vars.items():
            if not VARIABLE.fullmatch(name):
                message = "expected 1 to 32 of the letters a to z and A to Z, digits, '.' and '-'"
                raise PlanningError(("vars", name), message)
            if model not in bits:
                raise PlanningError(("vars", name), f"there is no model {model!r}")
        costs = self._resolve_costs(bits)
        ratios = {model: cost.as_integer_ratio() for model, cost in costs.items()}
        scale = math.lcm(*(denominator for _, denominator in ratios.values()))
        roots = compile_sets(self.sets, self.vars, bits)
        sets_of: dict[str, list[str]] = {}
        ids = tuple(bits)
        for name, root in roots.items():
            for number in _numbers(root.mask):
                sets_of.setdefault(ids[number], []).append(name)
        for name, value in (
            ("costs", costs),
            ("_bits", bits),
            ("_ids", ids),
            ("_roots", roots),
            ("_sets_of", {model: tuple(names) for model, names in sets_of.items()}),
            # Whole numbers add up exactly, in whatever order.
            ("_whole_costs", {model: above * (scale // below) for model, (above, below) in ratios.items()}),
            ("_whole_one", scale),
        ):
            object.__setattr__(self, name, value)

    def __call__(self, target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
        """Answer as `Planner` asks."""
        others = [model for model in resident if model != target]
        names = self.sets_of(target)
        if not names:
            return Plan(target, tuple(others), (target,), cost=self._cost(others, loss))
        search = Search(self._weights(target, others, loss), self.budget)
        chosen = ""
        best: Option = (0, 0, None)
        for name in names:
            root = self._roots[name]
            # Only what weighs more comes before an earlier set, and no set weighs more than all it names.
            if search.weight(root.mask) > best[1]:
                option = search.best(root)
                if option[1] > best[1]:
                    chosen, best = name, option
        held = dict.fromkeys(self._ids[bit.bit_length() - 1] for bit in chosen_bits(best[2]))
        evict = tuple(model for model in others if model not in held)
        # Where the target is up and nothing has to leave, all is as it is.
        target_set = tuple(resident) if target in resident and not evict else tuple(held)
        return Plan(
            target, evict, target_set, chosen, self._cost(evict, loss), search.exhaustive or not evict
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself: nothing in it ever changes."""
        return self

    def sets_of(self, model: str) -> tuple[str, ...]:
        """Return the names of the sets that hold a model in some of their combinations."""
        return self._sets_of.get(model, ())

    def can_live_together(self, models: Iterable[str]) -> bool:
        """Whether these models may all be resident; no, if the budget does not suffice to say."""
        them = dict.fromkeys(models)
        if len(them) <= 1:
            return True
        if not all(model in self._sets_of for model in them):
            return False
        search = Search({self._bits[model]: 1 for model in them}, self.budget)
        names = self._sets_of[next(iter(them))]
        return any(search.best(self._roots[name])[1] == len(them) for name in names)

    def _cost(self, evict: Iterable[str], loss: Mapping[str, float]) -> float:
        leaving = [(model, loss[model]) for model in evict if loss[model] > 0]
        if not self.costs or any(math.isinf(one) for _, one in leaving):
            return math.fsum(one for _, one in leaving)
        return math.fsum(self.costs.get(model, 1) for model, _ in leaving)

    def _weights(self, target: str, others: Iterable[str], loss: Mapping[str, float]) -> dict[int, int]:
        """Return by its bit what it is worth that a combination holds a model.

        A weight is a number of four digits, of what decides first to what
        decides last. Each has a base that no total of it reaches, so totals
        compare digit by digit.
        """
        known = [(self._bits[model], model, loss[model]) for model in others if model in self._bits]
        ratios = [one.as_integer_ratio() if 0 < one < math.inf else (0, 1) for _, _, one in known]
        scale = math.lcm(*(denominator for _, denominator in ratios))
        losses = [numerator * (scale // denominator) for numerator, denominator in ratios]
        costs = [self._weight_of_cost(model) if one > 0 else 0 for _, model, one in known]
        cost_base, loss_base, count_base = sum(costs) + 1, sum(losses) + 1, len(known) + 1
        weights = {
            bit: (((one == math.inf) * cost_base + cost) * loss_base + finite) * count_base + (one <= 0)
            for (bit, _, one), cost, finite in zip(known, costs, losses, strict=True)
        }
        weights[self._bits[target]] = sum(weights.values()) + 1
        return weights

    def _weight_of_cost(self, model: str) -> int:
        return self._whole_costs.get(model, self._whole_one) if self.costs else 0

    def _resolve_costs(self, bits: Mapping[str, int]) -> dict[str, float]:
        costs: dict[str, float] = {}
        for name, cost in self.evict_costs.items():
            place = ("evict_costs", name)
            # Written so that NaN fails as well.
            if not 0 < cost < math.inf:
                raise PlanningError(place, f"it is {cost}; expected more than 0")
            model = self.vars.get(name, name)
            if model not in bits:
                raise PlanningError(place, "there is no such variable or model")
            if costs.setdefault(model, cost) != cost:
                raise PlanningError(
                    place, f"the model {model!r} has another cost, {costs[model]}, under another name"
                )
        return costs


def _numbers(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set."""
    while mask:
        bit = mask & -mask
        yield bit.bit_length() - 1
        mask ^= bit
