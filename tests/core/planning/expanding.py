"""What would a planner answer that lists every combination and looks at all of them?

Deliberately dumb: it shares no idea with the solver but the order of plans.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product

from swapcore.planning.expression import AllOf, Either, Expression, Name, Reference, parse


def written(tree: Expression) -> str:
    """Write an expression down, with no parentheses but those it needs."""
    match tree:
        case Name(text):
            return text
        case Reference(text):
            return f"+{text}"
        case AllOf(parts):
            return " & ".join(
                written(part) if isinstance(part, Name | Reference) else f"({written(part)})"
                for part in parts
            )
        case Either(parts):
            return " | ".join(
                f"({written(part)})" if isinstance(part, Either) else written(part) for part in parts
            )


def combinations(
    tree: Expression, sets: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[tuple[str, ...]]:
    """Yield every combination that an expression allows, the leftmost choices first."""
    match tree:
        case Name(text):
            yield (names.get(text, text),)
        case Reference(text):
            yield from combinations(parse(sets[text]), sets, names)
        case Either(parts):
            for part in parts:
                yield from combinations(part, sets, names)
        case AllOf(parts):
            for chosen in product(*(list(combinations(part, sets, names)) for part in parts)):
                yield tuple(dict.fromkeys(model for one in chosen for model in one))


def price(
    evict: Sequence[str], loss: Mapping[str, float], costs: Mapping[str, float]
) -> tuple[int, Fraction, Fraction, int]:
    """What makes one plan better than another, the most important first."""
    leaving = [model for model in evict if loss[model] > 0]
    return (
        sum(loss[model] == math.inf for model in leaving),
        sum((Fraction(costs.get(model, 1)) for model in leaving if costs), Fraction(0)),
        sum((Fraction(loss[model]) for model in leaving if loss[model] < math.inf), Fraction(0)),
        len(evict) - len(leaving),
    )


def plan(
    target: str,
    resident: Sequence[str],
    loss: Mapping[str, float],
    *,
    sets: Mapping[str, str],
    names: Mapping[str, str],
    costs: Mapping[str, float],
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return what leaves, the combination chosen, and the name of its set."""
    others = [model for model in resident if model != target]
    options = [
        (tuple(model for model in others if model not in combination), combination, name)
        for name, text in sets.items()
        for combination in combinations(parse(text), sets, names)
        if target in combination
    ]
    if not options:
        return tuple(others), (target,), ""
    # The first of the best: `min` keeps the order.
    return min(options, key=lambda option: price(option[0], loss, costs))
