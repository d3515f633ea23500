"""Tests of `swapcore.snapshot`, through the engine."""

import pytest
from attrs import evolve

from swapcore import Arrived, LoadRequested, Model, Phase, ShutdownRequested
from tests.core.driven import Driven, ready


def test_the_snapshot_tells_what_can_be_seen() -> None:
    driven = ready(Model("a", concurrency_limit=1), "b")
    driven.tell(Arrived(2, "a"), at=3.0)
    driven.tell(Arrived(3, "a"), at=3.0)
    driven.tell(Arrived(4, "b"), at=3.0)
    snapshot = driven.engine.snapshot()
    a, b = snapshot.upstreams
    assert (a.model, a.phase, a.run, a.leases, a.waiting, a.closed) == ("a", Phase.READY, 1, 1, 1, False)
    assert (b.model, b.phase, b.run, b.leases, b.waiting, b.idle_since) == (
        "b",
        Phase.STOPPED,
        None,
        0,
        1,
        None,
    )
    assert not snapshot.shutting_down
    assert [view.ticket for view in snapshot.tickets] == [3, 4]
    assert driven.engine.snapshot(tickets=False) == evolve(snapshot, tickets=())
    with pytest.raises(KeyError):
        snapshot.upstream("x")


def test_wishes_and_a_shutdown_show() -> None:
    driven = Driven("a", "b")
    driven.tell(LoadRequested(("b", "a")))
    assert driven.engine.snapshot().wishes == ("b", "a")
    driven.tell(ShutdownRequested())
    assert driven.engine.snapshot().wishes == ()
    assert driven.engine.snapshot().shutting_down
