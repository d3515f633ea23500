"""Does what callers are told of their place come closer, and cost little?"""

from types import SimpleNamespace
from typing import Any

import pytest

from swapcore import TicketView
from swapcore_http.waiting import places
from swapcore_http.waiting.places import Places


class Queue:
    """A driver whose one caller stands somewhere, as the last event, at second 100, left it."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.looks = 0

    def now(self) -> float:
        return self.seconds

    def snapshot(self) -> Any:
        self.looks += 1
        view = TicketView(ticket=7, model="a", position=2, priority=0, waited=1.0, estimate=10.0, due=None)
        return SimpleNamespace(now=100.0, tickets=(view,))


def test_the_estimate_counts_down_between_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(places, "SPARE", 0)
    queue = Queue()
    found = Places(queue)  # type: ignore[arg-type] # It is as much of a driver as is needed.
    for seconds, left in [(100.0, 10.0), (103.0, 7.0), (104.0, 6.0), (200.0, 0.0)]:
        queue.seconds = seconds
        assert found.of(7) == (2, left)
    assert found.of(8) is None


def test_one_look_does_for_many() -> None:
    queue = Queue()
    found = Places(queue)  # type: ignore[arg-type] # Likewise.
    for ticket in range(1000):
        found.of(ticket)
    assert queue.looks == 1
