"""Who is let through now, which model comes next, and who has waited too long?

Requests for A B C A B C, with room for one model, are served A A B B C C: a
ready model serves all who wait for it before another takes its place. That
alone lets a busy model keep the others out for ever, so each caller who waits
has a time at which it falls *due*; from then on its model goes first.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Literal

from attrs import define, field, frozen

__all__ = ["Line", "Policy", "Waiting", "in_turn"]


@frozen(kw_only=True)
class Policy:
    """The dials of collation.

    With `patience=math.inf` nobody is ever due: plain collation.

    Raises:
        ValueError: a dial is out of its range.
    """

    patience: float = 60.0
    """Seconds a caller may wait before its model goes first, unless its model or itself says otherwise."""

    load_factor: float = 2.0
    """Under overload patience stretches to so many times what serving everyone who waits would take."""

    quantum: float = 1.0
    """How long a model in the way of a due one goes on taking callers, in times of what its load cost."""

    choice: Literal["oldest", "age", "work"] = "oldest"
    """Which model comes next while none is due: see `in_turn`."""

    def __attrs_post_init__(self) -> None:
        for name, value in (
            ("patience", self.patience),
            ("load_factor", self.load_factor),
            ("quantum", self.quantum),
        ):
            if not value >= 0:
                raise ValueError(f"{name} is {value}; expected 0 or more")
        if self.choice not in {"oldest", "age", "work"}:
            raise ValueError(f"choice is {self.choice!r}; expected 'oldest', 'age' or 'work'")


@define(eq=False)
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

    due: float = field(default=math.inf, init=False)
    """When its model goes first because of it; fixed as it joins a line."""


@define(eq=False)
class Line:
    """The callers who wait for one model.

    They go by priority, and by arrival within one; by arrival alone while one
    of them is due. Joining, leaving and being let through cost the same
    however many wait: an `OrderedDict` finds its first entry at once, which a
    plain `dict` with a thousand entries removed from its front does not.
    """

    model: str
    """The model they wait for."""

    arrivals: float = field(default=0.0, init=False)
    """The sum of their times of arrival."""

    _by_arrival: OrderedDict[int, Waiting] = field(factory=OrderedDict, init=False)
    _by_priority: dict[int, OrderedDict[int, Waiting]] = field(factory=dict, init=False)
    _dues: list[tuple[float, int]] = field(factory=list, init=False)

    def __len__(self) -> int:
        return len(self._by_arrival)

    def join(self, waiting: Waiting) -> None:
        """Let a caller in at the end of its priority."""
        self._by_arrival[waiting.ticket] = waiting
        self._by_priority.setdefault(waiting.priority, OrderedDict())[waiting.ticket] = waiting
        self.arrivals += waiting.arrived_at

    def leave(self, waiting: Waiting) -> None:
        """Take a caller out, wherever it stands."""
        del self._by_arrival[waiting.ticket]
        same = self._by_priority[waiting.priority]
        del same[waiting.ticket]
        if not same:
            del self._by_priority[waiting.priority]
        self.arrivals -= waiting.arrived_at

    def set_due(self, waiting: Waiting, due: float) -> None:
        """Fix when this caller falls due; once, and never if not called."""
        waiting.due = due
        heapq.heappush(self._dues, (due, waiting.ticket))

    @property
    def due(self) -> float:
        """When the first of them falls due, or has fallen; infinite for never."""
        # Callers who have left are forgotten only when they come up.
        while self._dues and self._dues[0][1] not in self._by_arrival:
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else math.inf

    def oldest(self) -> Waiting:
        """Return who has waited longest; the line must not be empty."""
        return self._by_arrival[next(iter(self._by_arrival))]

    def first(self, now: float) -> Waiting:
        """Return who is let through next; the line must not be empty."""
        if self._dues and self.due <= now:
            return self.oldest()
        same = self._by_priority[max(self._by_priority)]
        return same[next(iter(same))]

    def everyone(self, now: float) -> list[Waiting]:
        """Return all who wait, in the order in which they would be let through."""
        if self.due <= now:
            return list(self._by_arrival.values())
        priorities = sorted(self._by_priority, reverse=True)
        return [one for priority in priorities for one in self._by_priority[priority].values()]


def in_turn(
    lines: Iterable[Line], now: float, choice: str, seconds_for: Callable[[Line], float]
) -> list[Line]:
    """Order the lines by which model should come next.

    Those that are due go first, the earliest due before the others, whatever
    their priority. Then the highest waiting priority, and then the choice:

    - `oldest`: whoever of that priority arrived first;
    - `age`: the most seconds waited for each second it takes to serve them;
    - `work`: the most callers for each second it takes to serve them, which
      is Smith's rule for batches, the callers' waiting time weighing alike.

    Args:
        lines: Lines that are not empty.
        now: The time.
        choice: Which of the three.
        seconds_for: How long it takes to bring a line's model in and to serve the line.
    """

    def turn(line: Line) -> tuple[int, float, float, int]:
        due = line.due
        oldest = line.oldest()
        if due <= now:
            return 0, due, 0.0, oldest.order
        first = line.first(now)
        if choice == "oldest":
            index = 0.0
        else:
            weight = len(line) * now - line.arrivals if choice == "age" else float(len(line))
            index = -weight / max(seconds_for(line), 1e-9)
        return 1, -first.priority, index, first.order

    return sorted(lines, key=turn)
