"""What is counted while the server runs?

Plain numbers, cheap to add to; `prometheus` shows them. What the engine does
is counted from its events and commands, and nowhere else.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from attrs import define, field

from swapcore import (
    Arrived,
    BecameReady,
    Exited,
    Forward,
    Lost,
    Reject,
    Released,
    Start,
    Stop,
    StopReason,
)
from swapcore_http.activity.recording import Recording
from swapcore_http.driver import Observation

if TYPE_CHECKING:
    from swapcore_http.activity.entries import Entry

__all__ = ["OTHER", "Spread", "Tallies"]

ENDS = (Lost, Exited)
ANSWERS = (Forward, Reject)

OTHER = "other"
"""Stands for all names beyond those that get a series of their own."""

MOST_MODELS = 1000
"""Models with series of their own; a server that is reconfigured for long enough would know any number."""

WAITS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""The upper edges, in seconds, by which times are counted."""


@define(eq=False, repr=False)
class Spread:
    """How many values fell below each edge."""

    counts: list[int] = field(factory=lambda: [0] * (len(WAITS) + 1))
    """One for each edge of `WAITS`, and one for what lies beyond."""

    total: float = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(WAITS, value)] += 1
        self.total += value


@define(eq=False, repr=False)
class _Waiting:
    """Somebody who waits."""

    model: str
    since: float
    patience: float


@define(eq=False, repr=False)
class Tallies:
    """The counts of one server.

    Args:
        paths: The paths that are counted each on its own.
        patience: Says how many seconds the callers of a model may wait before it is due.
    """

    _paths: Collection[str]
    _patience: Callable[[str], float]

    requests: Counter[tuple[str, str, int]] = field(factory=Counter, init=False)
    """Requests that are over, by model, path and status."""

    queue: dict[str, Spread] = field(factory=dict, init=False)
    """How long they waited for their model."""

    first_byte: dict[str, Spread] = field(factory=dict, init=False)
    """How long it took from their arrival to the head of the answer."""

    tokens: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    """Tokens by model and kind."""

    swaps: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    """Starts by model and by what they were for: a `request`, or a `preload`."""

    loads: dict[str, Spread] = field(factory=dict, init=False)
    """How long starts took until the model was ready."""

    evictions: Counter[tuple[str, str, str]] = field(factory=Counter, init=False)
    """Stops by model, reason, and the model that needed the room, if one did."""

    start_failures: Counter[str] = field(factory=Counter, init=False)
    """Runs that ended before they were ready, and not because they were told to."""

    overdue: Counter[str] = field(factory=Counter, init=False)
    """Callers who waited longer than their patience."""

    _names: set[str] = field(factory=set, init=False)
    _waiting: dict[int, _Waiting] = field(factory=dict, init=False)
    _wanted: Counter[str] = field(factory=Counter, init=False)
    _starting: dict[int, float] = field(factory=dict, init=False)

    def closed(self, recording: Recording) -> None:
        """Count a request that is over."""
        model = self._name(recording.model)
        path = recording.path if recording.path in self._paths else OTHER
        self.requests[model, path, recording.status] += 1
        until = recording.forwarded or recording.ended or recording.arrived
        _spread(self.queue, model).add(until - recording.arrived)
        if recording.headed is not None:
            _spread(self.first_byte, model).add(recording.headed - recording.arrived)

    def recorded(self, _: int, entry: "Entry") -> None:
        """Count what a recorded request took."""
        tokens = entry.tokens
        model = self._name(entry.model)
        for kind, count in (("input", tokens.input), ("output", tokens.output), ("cached", tokens.cached)):
            if count > 0:
                self.tokens[model, kind] += count

    def observe(self, observation: Observation) -> None:
        """Count one step of the engine."""
        event, commands, now = observation.event, observation.commands, observation.now
        if isinstance(event, Arrived):
            if len(commands) == 1 and isinstance(commands[0], Forward) and commands[0].ticket == event.ticket:
                # Most callers come for a model that is up.
                return
            patience = self._patience(event.model) if event.patience is None else event.patience
            self._waiting[event.ticket] = _Waiting(event.model, now, patience)
            self._wanted[event.model] += 1
        elif isinstance(event, Released):
            self._let_go(event.ticket, now)
            if not commands:
                return
        elif isinstance(event, BecameReady):
            began = self._starting.pop(event.run, None)
            if began is not None:
                _spread(self.loads, self._name(event.model)).add(now - began)
        elif isinstance(event, ENDS) and self._starting.pop(event.run, None) is not None:
            self.start_failures[self._name(event.model)] += 1
        for command in commands:
            if isinstance(command, ANSWERS):
                self._let_go(command.ticket, now)
            elif isinstance(command, Start):
                self._starting[command.run] = now
                reason = "request" if self._wanted[command.model] > 0 else "preload"
                self.swaps[self._name(command.model), reason] += 1
            elif isinstance(command, Stop) and not command.force:
                self._stopped(command)

    def _stopped(self, stop: Stop) -> None:
        began = self._starting.pop(stop.run, None)
        model = self._name(stop.model)
        if began is not None and stop.reason is StopReason.START_TIMEOUT:
            self.start_failures[model] += 1
        room_for = self._name(stop.making_room_for) if stop.making_room_for else ""
        self.evictions[model, stop.reason.value, room_for] += 1

    def _let_go(self, ticket: int, now: float) -> None:
        waiting = self._waiting.pop(ticket, None)
        if waiting is None:
            return
        self._wanted[waiting.model] -= 1
        if not self._wanted[waiting.model]:
            del self._wanted[waiting.model]
        if now - waiting.since > waiting.patience:
            self.overdue[self._name(waiting.model)] += 1

    def _name(self, model: str) -> str:
        if model not in self._names:
            if len(self._names) >= MOST_MODELS:
                return OTHER
            self._names.add(model)
        return model


def _spread(spreads: dict[str, Spread], model: str) -> Spread:
    spread = spreads.get(model)
    if spread is None:
        spread = spreads[model] = Spread()
    return spread
