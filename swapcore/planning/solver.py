"""Which of the combinations that an expression allows keeps the most?

An expression denotes many combinations of models: one choice for each `|`.
They are never listed. What matters is only which of the *relevant* models, the
target and the residents, a combination holds; each of these has a weight, and
the best combination is the one whose relevant models weigh most in all. Among
equals the first in written order is taken, the leftmost choice counting most.

Parts of an `&` that have no relevant model in common are independent: the best
of the whole is made of the best of each. Parts that do have some in common
are compared by what they hold of these. So a node of the expression is solved
for the models that are *open*, those that something outside it may hold as
well. Its answer is a front: for each way to cover the open ones the best and
first way to choose the rest, without those that another is always better than.

Sets of models are masks: integers with one bit for each model.
"""

from collections.abc import Mapping
from typing import TypeAlias

from attrs import define, field, frozen

__all__ = ["AnyNode", "EveryNode", "Fixed", "Node", "Option", "Search", "chosen_bits"]

FEW = 64
"""In fronts up to this size each option is compared with each; in larger ones it costs more than it saves."""

COMPARISONS_PER_STATE = 8
"""How many comparisons of two options take as long as making one."""

CHUNK = 8
"""How many models' weights are looked up at once."""


@frozen(eq=False)
class Fixed:
    """A single combination: one model or several, and nothing to choose."""

    bits: tuple[int, ...]
    """One for each model, from left to right."""

    mask: int = field(init=False)
    """All of them."""

    depth: int = field(default=1, init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "mask", sum(self.bits))


@frozen(eq=False)
class AnyNode:
    """A choice of one of its parts."""

    parts: tuple["Node", ...]
    mask: int = field(init=False)
    """All models that some choice holds."""

    depth: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "mask", _union(self.parts))
        object.__setattr__(self, "depth", 1 + max(part.depth for part in self.parts))


@frozen(eq=False)
class EveryNode:
    """All of its parts together."""

    parts: tuple["Node", ...]
    mask: int = field(init=False)
    """All models that some choice holds."""

    depth: int = field(init=False)
    elsewhere: tuple[int, ...] = field(init=False)
    """For each part the models that other parts may hold."""

    later: tuple[int, ...] = field(init=False)
    """For each part the models that parts after it may hold."""

    def __attrs_post_init__(self) -> None:
        earlier, later, behind = [0], [0], 0
        for part in self.parts:
            earlier.append(earlier[-1] | part.mask)
        for part in reversed(self.parts[1:]):
            behind |= part.mask
            later.append(behind)
        later.reverse()
        object.__setattr__(self, "mask", earlier.pop())
        object.__setattr__(self, "depth", 1 + max(part.depth for part in self.parts))
        object.__setattr__(self, "elsewhere", tuple(a | b for a, b in zip(earlier, later, strict=True)))
        object.__setattr__(self, "later", tuple(later))


Node: TypeAlias = Fixed | AnyNode | EveryNode


def _union(parts: tuple[Node, ...]) -> int:
    mask = 0
    for part in parts:
        mask |= part.mask
    return mask


Choice: TypeAlias = "Node | tuple[Choice, Choice] | None"
"""What was chosen: a node stands for the leftmost choice in it, a pair for both of its halves."""

Option: TypeAlias = tuple[int, int, Choice]
"""The open models that it covers, the weight of the others, and what is chosen for that."""


def chosen_bits(choice: Choice) -> tuple[int, ...]:
    """Return the bits of the models that were chosen, each once, from left to right."""
    bits: dict[int, None] = {}
    left = [choice]
    seen = set[int]()
    while left:
        one = left.pop()
        # What references repeat is one object, and need not be walked again.
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        match one:
            case Fixed():
                bits.update(dict.fromkeys(one.bits))
            case AnyNode():
                left.append(one.parts[0])
            case EveryNode():
                left.extend(reversed(one.parts))
            case first, second:
                left += (second, first)
    return tuple(bits)


@define(eq=False)
class Search:
    """One question put to any number of expressions: which combination weighs most?

    The work is bounded. Where the budget does not suffice for all options that
    may still become the best, the heaviest are kept, and when it is used up,
    one for each node. What it answers then is a combination like any other,
    which holds the model that outweighs all others together if any does.
    """

    weights: Mapping[int, int]
    """What each relevant model weighs, by its bit: more than nothing."""

    budget: int
    """How many options may still be made."""

    exhaustive: bool = field(default=True, init=False)
    """Whether the budget sufficed, so that the answers are the best there are."""

    relevant: int = field(init=False)
    _chunks: list[tuple[int, dict[int, int]]] = field(factory=list, init=False)
    """The relevant models, a few at a time, with what those of them weigh that were asked for together."""

    _fronts: dict[tuple[Node, int], list[Option]] = field(factory=dict, init=False)
    _heaviest: dict[Node, Option] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.relevant = sum(self.weights)
        bits = tuple(self.weights)
        for first in range(0, len(bits), CHUNK):
            chunk = bits[first : first + CHUNK]
            self._chunks.append((sum(chunk), {bit: self.weights[bit] for bit in chunk}))

    def best(self, node: Node) -> Option:
        """Return the first of the options of greatest weight."""
        # With no model open all options cover the same, and one of them is kept.
        return self._front(node, 0)[0]

    def weight(self, mask: int) -> int:
        """Return what the relevant models of a mask weigh together."""
        total = 0
        for chunk, known in self._chunks:
            part = mask & chunk
            if part:
                weight = known.get(part)
                if weight is None:
                    weight = known[part] = sum(one for bit, one in self.weights.items() if bit & part)
                total += weight
        return total

    def _front(self, node: Node, around: int) -> list[Option]:
        """Return the options of a node that may become the best, in written order.

        Args:
            node: Where to choose.
            around: Models that something outside the node may hold.
        """
        inside = node.mask & self.relevant
        if not inside:
            return [(0, 0, node)]
        is_open = inside & around
        if isinstance(node, Fixed):
            return [(is_open, self.weight(inside & ~is_open), node)]
        if self.budget <= 0:
            # Also if the front is known: going over a long one again and again would cost as much.
            return [self._close(self._take_heaviest(node), is_open)]
        front = self._fronts.get((node, is_open))
        if front is None:
            front = self._fronts[node, is_open] = self._solve(node, is_open)
        return front

    def _solve(self, node: AnyNode | EveryNode, is_open: int) -> list[Option]:
        return self._choose(node, is_open) if isinstance(node, AnyNode) else self._combine(node, is_open)

    def _choose(self, node: AnyNode, is_open: int) -> list[Option]:
        found: dict[int, Option] = {}
        for part in node.parts:
            options = self._front(part, is_open)
            self.budget -= len(options)
            for option in options:
                _note(found, option)
        return self._without_dominated(list(found.values()))

    def _combine(self, node: EveryNode, is_open: int) -> list[Option]:
        partial: list[Option] = [(0, 0, None)]
        for place, part in enumerate(node.parts):
            options = self._front(part, is_open | node.elsewhere[place])
            still_open = is_open | node.later[place]
            # Each part may spend its share of what is left.
            share = max(self.budget, 0) // (len(node.parts) - place)
            partial = self._heaviest_of(partial, max(1, share // len(options)))
            self.budget -= len(partial) * len(options)
            found: dict[int, Option] = {}
            for covered, weight, choice in partial:
                for covered_here, weight_here, choice_here in options:
                    union = covered | covered_here
                    closed = union & ~still_open
                    total = weight + weight_here + (self.weight(closed) if closed else 0)
                    _note(found, (union & still_open, total, (choice, choice_here)))
            partial = self._without_dominated(list(found.values()))
        return partial

    def _without_dominated(self, options: list[Option]) -> list[Option]:
        """Leave out options that another one is better than, whatever is chosen around them.

        An earlier option must cover what they cover, and weigh no less; a
        later one must weigh more, because at equal weight the earlier counts.
        """
        if not 1 < len(options) <= FEW:
            return options
        self.budget -= len(options) * len(options) // COMPARISONS_PER_STATE
        kept = []
        for place, option in enumerate(options):
            covered, weight, _ = option
            for other_place, (other, other_weight, _) in enumerate(options):
                if (
                    other_weight >= weight
                    and not covered & ~other
                    and (other_weight > weight or other_place < place)
                ):
                    break
            else:
                kept.append(option)
        return kept

    def _heaviest_of(self, options: list[Option], count: int) -> list[Option]:
        """Return that many of the heaviest options, in written order."""
        if len(options) <= count:
            return options
        self.exhaustive = False
        ranked = sorted(range(len(options)), key=lambda place: -self._in_all(options[place]))
        return [options[place] for place in sorted(ranked[:count])]

    def _in_all(self, option: Option) -> int:
        return option[1] + self.weight(option[0])

    def _close(self, option: Option, is_open: int) -> Option:
        """Turn an option that leaves every model open into one that leaves these open."""
        covered, _, choice = option
        return covered & is_open, self.weight(covered & ~is_open), choice

    def _take_heaviest(self, node: Node) -> Option:
        """Return the heaviest option of each `|`, taken by itself; every model counts as open.

        It looks at each node once, whatever is around it.
        """
        if isinstance(node, Fixed) or not node.mask & self.relevant:
            return (node.mask & self.relevant, 0, node)
        known = self._heaviest.get(node)
        if known is not None:
            return known
        self.exhaustive = False
        if isinstance(node, AnyNode):
            heaviest = max((self._take_heaviest(part) for part in node.parts), key=self._in_all)
        else:
            covered = 0
            choice: Choice = None
            for part in node.parts:
                covered_here, _, choice_here = self._take_heaviest(part)
                covered, choice = covered | covered_here, (choice, choice_here)
            heaviest = (covered, 0, choice)
        self._heaviest[node] = heaviest
        return heaviest


def _note(found: dict[int, Option], option: Option) -> None:
    """Keep the first of the heaviest options that cover the same, in written order."""
    known = found.get(option[0])
    if known is None:
        found[option[0]] = option
    elif option[1] > known[1]:
        # Its place in the order is that of the heavier one.
        del found[option[0]]
        found[option[0]] = option
