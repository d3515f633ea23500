"""Tests of `swapcore.misuse`, through the engine."""

import math

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Event,
    Exited,
    LoadRequested,
    Lost,
    MisuseError,
    Released,
    Tick,
    UnloadRequested,
)
from tests.core.driven import ready


@pytest.mark.parametrize(
    ("event", "now", "message"),
    [
        (Tick(), 1.0, "time went back"),
        (Tick(), math.nan, "time went back"),
        (Arrived(2, "a"), 5.0, "ticket 2 has arrived already"),
        (Released(9), 5.0, "ticket 9 has not arrived"),
        (Released(1), 5.0, "ticket 1 has not arrived, or is released already"),
        (BecameReady("a", 2), 5.0, "no such run"),
        (Lost("a", 0), 5.0, "no such run"),
        (Exited("b", 7), 5.0, "no such run"),
        (LoadRequested(("a", "x", "y")), 5.0, "the catalog has no x, y"),
        (UnloadRequested(("x",)), 5.0, "the catalog has no x"),
    ],
)
def test_misuse_raises_and_changes_nothing(event: Event, now: float, message: str) -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "a"), at=5.0)
    before = driven.engine.snapshot()
    with pytest.raises(MisuseError, match=message):
        driven.engine.handle(event, now)
    assert driven.engine.snapshot() == before
    assert driven.tell(Released(2), at=5.0) == ()
