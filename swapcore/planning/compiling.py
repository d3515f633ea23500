"""What do the names in the expressions of sets mean?

The trees that were read become the nodes that the solver works on: variables
are replaced by their models, and references by the sets they name. What is
written twice becomes the same node, and is solved once.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from attrs import define, field

from swapcore.planning.expression import AllOf, Either, Expression, Name, Reference, parse
from swapcore.planning.faults import ExpressionError, PlanningError
from swapcore.planning.solver import AnyNode, EveryNode, Fixed, Node

__all__ = ["compile_sets"]

MAX_DEPTH = 250
"""How deep a set may nest, references counted: the solver calls itself that often."""


def compile_sets(
    sets: Mapping[str, str], variables: Mapping[str, str], bits: Mapping[str, int]
) -> dict[str, Node]:
    """Turn expressions into nodes.

    Args:
        sets: The expressions by the names of the sets.
        variables: Short names of models, which come before ids.
        bits: The bit of each model.

    Returns:
        The node of each set, in the order of the sets.

    Raises:
        ExpressionError: an expression cannot be understood.
        PlanningError: there is no set, or one nests too deeply.
    """
    if not sets:
        raise PlanningError(("sets",), "there are none; expected at least one")
    trees = {name: _parse(name, text) for name, text in sets.items()}
    compiler = _Compiler(variables, bits)
    for name in _referenced_first(trees):
        compiler.add(name, trees[name])
    return {name: compiler.roots[name] for name in sets}


def _parse(name: str, text: str) -> Expression:
    try:
        return parse(text)
    except ExpressionError as fault:
        raise ExpressionError(("sets", name), fault.message, fault.position) from None


def _referenced_first(trees: Mapping[str, Expression]) -> Iterator[str]:
    """Yield the names of the sets, none before one that it refers to."""
    references = {name: list(_references(tree)) for name, tree in trees.items()}
    for name, found in references.items():
        for reference in found:
            if reference.text not in trees:
                message = f"there is no set {reference.text!r}"
                raise ExpressionError(("sets", name), message, reference.position)
    graph = {name: [reference.text for reference in found] for name, found in references.items()}
    try:
        yield from TopologicalSorter(graph).static_order()
    except CycleError as error:
        # It comes with the referenced before the referring, from anywhere on and back to there.
        around = error.args[1][:0:-1]
        first = min(around, key=list(trees).index)
        cycle = [*around[around.index(first) :], *around[: around.index(first)], first]
        position = next(one.position for one in references[cycle[0]] if one.text == cycle[1])
        message = f"it refers to itself: {' → '.join(cycle)}"
        raise ExpressionError(("sets", cycle[0]), message, position) from None


def _references(tree: Expression) -> Iterator[Reference]:
    left = [tree]
    while left:
        match left.pop():
            case Reference() as reference:
                yield reference
            case AllOf(parts) | Either(parts):
                left.extend(reversed(parts))
            case Name():
                pass


@define
class _Compiler:
    variables: Mapping[str, str]
    bits: Mapping[str, int]
    roots: dict[str, Node] = field(factory=dict)
    fixed: dict[tuple[int, ...], Fixed] = field(factory=dict)
    nodes: dict[tuple[type[Node], tuple[Node, ...]], Node] = field(factory=dict)

    def add(self, name: str, tree: Expression) -> None:
        root = self.node(name, tree)
        if root.depth > MAX_DEPTH:
            raise PlanningError(
                ("sets", name), f"it nests {root.depth} deep, at most {MAX_DEPTH} are allowed"
            )
        self.roots[name] = root

    def node(self, name: str, tree: Expression) -> Node:
        match tree:
            case Name(text, position):
                bit = self.bits.get(self.variables.get(text, text))
                if bit is None:
                    message = f"there is no variable or model {text!r}"
                    raise ExpressionError(("sets", name), message, position)
                return self.together((bit,))
            case Reference(text):
                return self.roots[text]
            case Either(parts):
                return self.shared(AnyNode, tuple(self.node(name, part) for part in parts))
            case AllOf(parts):
                nodes = tuple(self.node(name, part) for part in parts)
                single = [node.bits for node in nodes if isinstance(node, Fixed)]
                if len(single) == len(nodes):
                    return self.together(tuple(dict.fromkeys(bit for bits in single for bit in bits)))
                return self.shared(EveryNode, nodes)

    def together(self, bits: tuple[int, ...]) -> Node:
        return self.fixed.setdefault(bits, Fixed(bits))

    def shared(self, kind: type[AnyNode | EveryNode], parts: tuple[Node, ...]) -> Node:
        known = self.nodes.get((kind, parts))
        if known is None:
            known = self.nodes[kind, parts] = kind(parts)
        return known
