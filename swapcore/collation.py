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
from itertools import zip_longest
from typing import Literal

from attrs import define, field, frozen

__all__ = ["Line", "Policy", "Waiting", "in_turn"]


@frozen(kw_only=True)
class Policy:
    """The dials of collation.

    With `patience=math.inf` nobody is ever due: plain collation. Else, with
    one slot, one priority and a load factor of at least 1, a caller waits at
    most as long as all of these take together:

    - its patience, or so many cycles as `load_factor` says if that is more,
      and one service;
    - what is left of the resident's visit: `quantum` times its overhead, or
      serving all who waited when it became ready, whichever is longer;
    - for each other model once its overhead, such a visit, and one service;
    - its own model's overhead, and those before it in its own model's line.

    The batch of the resident counts because those who waited when a model
    became ready are always served first, due callers or not. With callers of
    unequal patience a model can come up more than once before another.

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


@define(eq=False, repr=False)
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

    caller: str | None = None
    """Whose it is: see `Line`."""

    due: float = field(default=math.inf, init=False)
    """When its model goes first because of it; fixed as it joins a line."""


_Turns = OrderedDict[str | None, OrderedDict[int, Waiting]]
"""The tickets of one priority by whose they are, whose turn is next first."""


@define(eq=False, repr=False)
class Line:
    """The tickets that wait for one model.

    They go by priority; within one, whoever they belong to take turns, and
    each one's own go by arrival. Where nobody is named, all belong to the
    same one. While any of them is due, they go by arrival alone. Joining,
    leaving and being let through cost the same however many wait: an
    `OrderedDict` finds its first entry at once, which a plain `dict` with a
    thousand entries removed from its front does not.
    """

    model: str
    """The model they wait for."""

    arrivals: float = field(default=0.0, init=False)
    """The sum of their times of arrival."""

    _by_arrival: OrderedDict[int, Waiting] = field(factory=OrderedDict, init=False)
    _by_priority: dict[int, _Turns] = field(factory=dict, init=False)
    _dues: list[tuple[float, int]] = field(factory=list, init=False)
    _standing: tuple[float, int, int, int] | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self._by_arrival)

    def join(self, waiting: Waiting) -> None:
        """Let a ticket in behind those of its priority and caller; a caller new to it has the last turn."""
        self._standing = None
        self._by_arrival[waiting.ticket] = waiting
        turns = self._by_priority.get(waiting.priority)
        if turns is None:
            turns = self._by_priority[waiting.priority] = OrderedDict()
        own = turns.get(waiting.caller)
        if own is None:
            own = turns[waiting.caller] = OrderedDict()
        own[waiting.ticket] = waiting
        self.arrivals += waiting.arrived_at

    def leave(self, waiting: Waiting, *, served: bool = False) -> None:
        """Take a ticket out, wherever it stands; if it is served, its caller's next turn is the last."""
        self._standing = None
        del self._by_arrival[waiting.ticket]
        turns = self._by_priority[waiting.priority]
        own = turns[waiting.caller]
        del own[waiting.ticket]
        if own:
            if served:
                turns.move_to_end(waiting.caller)
        else:
            del turns[waiting.caller]
            if not turns:
                del self._by_priority[waiting.priority]
        self.arrivals -= waiting.arrived_at

    def held_by(self, caller: str) -> int:
        """Return how many of the tickets are this caller's."""
        return sum(len(turns.get(caller, ())) for turns in self._by_priority.values())

    def set_due(self, waiting: Waiting, due: float) -> None:
        """Fix when this caller falls due; once, and never if not called."""
        self._standing = None
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
        return self._foremost()

    def standing(self) -> tuple[float, int, int, int]:
        """Return when the first falls due, the oldest's order, and the foremost's priority and order.

        It is what `in_turn` goes by, kept from one call to the next as long as
        nobody joins or leaves: of many lines an event changes one or two.
        """
        if self._standing is None:
            foremost = self._foremost()
            self._standing = self.due, self.oldest().order, foremost.priority, foremost.order
        return self._standing

    def _foremost(self) -> Waiting:
        """Return who is let through next as long as nobody is due."""
        turns = self._by_priority[max(self._by_priority)]
        own = turns[next(iter(turns))]
        return own[next(iter(own))]

    def everyone(self, now: float) -> list[Waiting]:
        """Return all who wait, in the order in which they would be let through."""
        if self.due <= now:
            return list(self._by_arrival.values())
        found: list[Waiting] = []
        for priority in sorted(self._by_priority, reverse=True):
            # A round after the other: the first ticket of each, the second of each, and so on.
            for turn in zip_longest(*(own.values() for own in self._by_priority[priority].values())):
                found += [one for one in turn if one is not None]
        return found


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
        due, oldest, priority, foremost = line.standing()
        if due <= now:
            return 0, due, 0.0, oldest
        if choice == "oldest":
            index = 0.0
        else:
            weight = len(line) * now - line.arrivals if choice == "age" else float(len(line))
            index = -weight / max(seconds_for(line), 1e-9)
        return 1, -priority, index, foremost

    return sorted(lines, key=turn)
