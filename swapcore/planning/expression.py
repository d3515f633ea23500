"""What does the expression of a set say?

    either := all ("|" all)*
    all    := atom ("&" atom)*
    atom   := NAME | "+" NAME | "(" either ")"

A name is made of letters, digits, `_`, `-` and `.`, of any script. After `+`
it is that of another set. `&` binds tighter than `|`. White space separates,
and means nothing else, but there is none between `+` and its name.
"""

from collections.abc import Iterator
from typing import TypeAlias

from attrs import define, field, frozen

from swapcore.planning.faults import ExpressionError

__all__ = ["AllOf", "Either", "Expression", "Name", "Reference", "parse"]

MAX_NESTING = 100
"""How many parentheses may be open at once. No one writes more, and what walks the tree is bounded by it."""


@frozen
class Name:
    """A variable or a model."""

    text: str
    """What it is called."""

    position: int = field(default=0, eq=False)
    """Where in the expression it stands."""


@frozen
class Reference:
    """All that another set allows."""

    text: str
    """The name of that set, without the `+`."""

    position: int = field(default=0, eq=False)
    """Where in the expression its `+` stands."""


@frozen
class AllOf:
    """Parts that may live together."""

    parts: tuple["Expression", ...]
    """Two or more, from left to right."""


@frozen
class Either:
    """Parts of which one is chosen."""

    parts: tuple["Expression", ...]
    """Two or more, from left to right."""


Expression: TypeAlias = Name | Reference | AllOf | Either


@define
class _Level:
    """What was read of one pair of parentheses, or of the whole."""

    opened_at: int
    alternatives: list[Expression] = field(factory=list)
    """What stands before the last `|`."""

    parts: list[Expression] = field(factory=list)
    """What stands after it."""

    def next_alternative(self) -> None:
        self.alternatives.append(self.parts[0] if len(self.parts) == 1 else AllOf(tuple(self.parts)))
        self.parts = []

    def close(self) -> Expression:
        self.next_alternative()
        return self.alternatives[0] if len(self.alternatives) == 1 else Either(tuple(self.alternatives))


def parse(text: str) -> Expression:
    """Read an expression.

    It does not call itself, so that no text can exhaust the stack.

    Raises:
        ExpressionError: it is empty, or no expression, or nested too deeply.
    """
    levels = [_Level(0)]
    after_atom = False
    for position, token in _tokens(text):
        level = levels[-1]
        match token:
            case "&" if after_atom:
                after_atom = False
            case "|" if after_atom:
                level.next_alternative()
                after_atom = False
            case ")" if after_atom and len(levels) > 1:
                levels.pop()
                levels[-1].parts.append(level.close())
            case "&" | "|":
                raise ExpressionError((), f"expected a model or a set before {token!r}", position)
            case ")":
                raise ExpressionError((), _unexpected_end(levels), position)
            case _ if after_atom:
                raise ExpressionError((), f"expected '&' or '|' before {token!r}", position)
            case "(":
                if len(levels) > MAX_NESTING:
                    raise ExpressionError((), f"more than {MAX_NESTING} parentheses in each other", position)
                levels.append(_Level(position))
            case _:
                is_set = token.startswith("+")
                level.parts.append(Reference(token[1:], position) if is_set else Name(token, position))
                after_atom = True
    if not after_atom:
        nothing = len(levels) == 1 and not levels[0].alternatives and not levels[0].parts
        message = (
            "the expression is empty" if nothing else "expected a model or a set, but the expression ends"
        )
        raise ExpressionError((), message, len(text))
    if len(levels) > 1:
        raise ExpressionError((), "this '(' is never closed", levels[-1].opened_at)
    return levels[0].close()


def _unexpected_end(levels: list[_Level]) -> str:
    """Say what is wrong with a `)` that does not stand after a whole part within parentheses."""
    if len(levels) == 1:
        return "this ')' was never opened"
    if not levels[-1].alternatives and not levels[-1].parts:
        return "there is nothing in these parentheses"
    return "expected a model or a set before ')'"


def _tokens(text: str) -> Iterator[tuple[int, str]]:
    """Yield what the text is made of, and where."""
    position = 0
    while position < len(text):
        start, character = position, text[position]
        position += 1
        if character.isspace():
            continue
        if character in "&|()":
            yield start, character
            continue
        if character != "+" and not _is_in_names(character):
            raise ExpressionError((), f"unexpected character {character!r}", start)
        while position < len(text) and _is_in_names(text[position]):
            position += 1
        if text[start:position] == "+":
            raise ExpressionError((), "expected the name of a set right after '+'", start)
        yield start, text[start:position]


def _is_in_names(character: str) -> bool:
    return character.isalpha() or character.isdecimal() or character in "_-."
