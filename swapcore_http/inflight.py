"""Which requests are on their way, and how is one of them ended?

A request is on its way from when its model is known until it is answered,
also while it waits.
"""

import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Protocol

from attrs import define, field

from swapcore_http.accesslog import Sender, client_of
from swapcore_http.activity.captures import RawFields, raw_redacted, redacted
from swapcore_http.activity.recording import Recording

__all__ = ["Flight", "Heard", "InFlight"]


@define(eq=False, repr=False)
class Heard:
    """What is known of an answer that nothing records, by what its tap is told."""

    fields: RawFields = field(default=(), init=False)
    """Its header fields."""

    headed: float | None = field(default=None, init=False)
    """When its head came, in seconds of the monotonic clock, once it has."""

    received: int = field(default=0, init=False)
    """Bytes of it that have come."""

    metadata: Mapping[str, Any] = field(factory=dict, init=False)

    def head(self, status: int, fields: RawFields) -> None:  # noqa: ARG002 - the tap's own form.
        """Note how the answer begins."""
        self.headed = time.monotonic()
        self.fields = fields

    def feed(self, content: bytes) -> None:
        """Note what comes next."""
        self.received += len(content)

    def end(self, whole: bool) -> None:  # noqa: FBT001 - likewise.
        """Note nothing: it is on its way no more."""


class Answerer(Protocol):
    """What has a request answered: a task, or what does without one."""

    def cancel(self) -> object:
        """End that."""


@define(eq=False, repr=False)
class Flight:
    """One request that is on its way."""

    number: int
    request: Sender
    model: str
    """The id of the model that it is for."""

    path: str
    """What that is asked for, without the query."""

    answerer: "Answerer | None"
    """What has it answered."""

    arrived: float
    ticket: int | None = None
    """Its ticket, once it has one."""

    answer: Recording | Heard | None = None
    """What listens to its answer, once anything does."""

    cancelled: bool = False
    """Whether an operator has ended it."""

    @property
    def progress(self) -> tuple[bool, int]:
        """Whether the answer has begun, and how many bytes of it have come."""
        answer = self.answer
        return (False, 0) if answer is None else (answer.headed is not None, answer.received)

    def as_json(self) -> dict[str, Any]:
        """Show it as llama-swap does, without secrets."""
        from swapcore_http.activity.entries import timestamp  # noqa: PLC0415 - few ask.

        elapsed = time.monotonic() - self.arrived
        answer = self.answer
        answered: dict[str, str] = {}
        for name, value in () if answer is None else raw_redacted(answer.fields):
            answered.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        asked: dict[str, str] = {}
        for key, text in redacted(self.request.headers).items():
            asked.setdefault(key, text)
        row: dict[str, Any] = {
            "id": str(self.number),
            "timestamp": timestamp(time.time() - elapsed),
            "model": self.model,
            "req_path": self.path,
            "method": self.request.method,
            "req_headers": asked,
            "remote_ip": client_of(self.request),
            "resp_headers": answered,
            "resp_bytes": self.progress[1],
            "elapsed_ms": round(elapsed * 1000),
        }
        if answer is not None and answer.metadata:
            row["metadata"] = dict(answer.metadata)
        return row


class Watcher(Protocol):
    """Hears of requests that come and go."""

    def began(self, flight: Flight) -> None:
        """Hear that a request is on its way."""

    def ended(self, flight: Flight) -> None:
        """Hear that it is no more."""


@define(eq=False, repr=False)
class InFlight:
    """All requests that are on their way through one server."""

    watcher: Watcher | None = field(default=None, init=False)
    _numbers: Iterator[int] = field(factory=lambda: count(1), init=False)
    _flights: dict[int, Flight] = field(factory=dict, init=False)

    def __iter__(self) -> Iterator[Flight]:
        """Go through them, the oldest first."""
        return iter(self._flights.values())

    def __len__(self) -> int:
        return len(self._flights)

    def begin(self, request: Sender, model: str, path: str, answerer: Answerer | None) -> Flight:
        """Take a request in; whoever has it answered will `end` it."""
        flight = Flight(next(self._numbers), request, model, path, answerer, time.monotonic())
        self._flights[flight.number] = flight
        if self.watcher is not None:
            self.watcher.began(flight)
        return flight

    def end(self, flight: Flight) -> None:
        """Let a request go."""
        del self._flights[flight.number]
        if self.watcher is not None:
            self.watcher.ended(flight)

    def get(self, number: int) -> Flight | None:
        """Find the request with that number, if it is on its way."""
        return self._flights.get(number)

    def cancel(self, flight: Flight) -> bool:
        """End a request wherever it is on its way; False if that cannot be done."""
        if flight.answerer is None:
            return False
        flight.cancelled = True
        flight.answerer.cancel()
        return True
