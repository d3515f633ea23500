"""Who is let through now, and which model comes next?

Requests for A B C A B C, with room for one model, are served A A B B C C: a
ready model serves all who wait for it before another takes its place.
"""

from collections import OrderedDict
from collections.abc import Iterable

from attrs import define, field, frozen

__all__ = ["Line", "Waiting", "in_turn"]


@frozen(eq=False)
class Waiting:
    """One caller who has arrived and is not answered yet."""

    ticket: int
    """The caller's number."""

    priority: int
    """Higher goes first."""

    arrived_at: float
    """When it arrived, in the engine's seconds."""

    order: int
    """How many callers had arrived before it, which settles ties of time."""


@define(eq=False)
class Line:
    """The callers who wait for one model: by priority, and by arrival within one.

    Joining, leaving and being let through cost the same however many wait: an
    `OrderedDict` finds its first entry at once, which a plain `dict` with a
    thousand entries removed from its front does not.
    """

    model: str
    """The model they wait for."""

    _by_priority: dict[int, OrderedDict[int, Waiting]] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return sum(map(len, self._by_priority.values()))

    def __bool__(self) -> bool:
        return bool(self._by_priority)

    def join(self, waiting: Waiting) -> None:
        """Let a caller in at the end of its priority."""
        self._by_priority.setdefault(waiting.priority, OrderedDict())[waiting.ticket] = waiting

    def leave(self, waiting: Waiting) -> None:
        """Take a caller out, wherever it stands."""
        same = self._by_priority[waiting.priority]
        del same[waiting.ticket]
        if not same:
            del self._by_priority[waiting.priority]

    def first(self) -> Waiting:
        """Return who is let through next; the line must not be empty."""
        same = self._by_priority[max(self._by_priority)]
        return same[next(iter(same))]

    def everyone(self) -> list[Waiting]:
        """Return all who wait, in the order in which they would be let through."""
        priorities = sorted(self._by_priority, reverse=True)
        return [one for priority in priorities for one in self._by_priority[priority].values()]


def in_turn(lines: Iterable[Line]) -> list[Line]:
    """Order the lines by which model should come next.

    The highest waiting priority goes first, then whoever of it arrived first.
    """

    def turn(line: Line) -> tuple[int, int]:
        first = line.first()
        return -first.priority, first.order

    return sorted(lines, key=turn)
