"""Is what the engine does counted from its events and commands, each thing once?"""

from typing import Any

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Engine,
    Event,
    Exited,
    LoadRequested,
    Lost,
    Model,
    Released,
    Tick,
)
from swapcore.events import UnloadRequested, Urgency
from swapcore_http.activity.entries import Entry
from swapcore_http.activity.recording import Budget, Recording
from swapcore_http.activity.tokens import Tokens
from swapcore_http.driver import Observation
from swapcore_http.metrics import tallies as module
from swapcore_http.metrics.tallies import OTHER, WAITS, Spread, Tallies

CHAT = "/v1/chat/completions"


def played(*story: tuple[float, Event], **limits: Any) -> Tallies:
    """Tell an engine a story and count what it does."""
    tallies = Tallies({CHAT}, lambda _: 60.0)
    engine = Engine(Catalog([Model("a", start_timeout=30.0, **limits), Model("b", ttl=5.0)]))
    for now, event in story:
        tallies.observe(Observation(now, event, engine.handle(event, now)))
    return tallies


UP: list[tuple[float, Event]] = [(0.0, Arrived(1, "a")), (4.0, BecameReady("a", 1))]


def test_a_load_for_a_request() -> None:
    tallies = played(*UP)
    assert tallies.swaps == {("a", "request"): 1}
    assert tallies.loads["a"].total == 4.0
    assert not tallies.evictions
    assert not tallies.start_failures


def test_a_preload() -> None:
    assert played((0.0, LoadRequested(("a",)))).swaps == {("a", "preload"): 1}


def test_a_swap() -> None:
    tallies = played(*UP, (5.0, Released(1)), (6.0, Arrived(2, "b")), (7.0, Exited("a", 1)))
    assert tallies.evictions == {("a", "evict", "b"): 1}
    assert tallies.swaps == {("a", "request"): 1, ("b", "request"): 1}


def test_an_unload_is_a_stop_for_nobody() -> None:
    tallies = played(*UP, (5.0, Released(1)), (6.0, UnloadRequested(("a",), Urgency.NOW)))
    assert tallies.evictions == {("a", "unload", ""): 1}


@pytest.mark.parametrize("end", [Exited("a", 1), Lost("a", 1)])
def test_a_start_that_fails(end: Event) -> None:
    tallies = played((0.0, Arrived(1, "a")), (1.0, end))
    assert tallies.start_failures == {"a": 1}
    assert not tallies.loads


def test_a_run_that_is_lost_later_is_no_failed_start() -> None:
    assert not played(*UP, (5.0, Lost("a", 1)), (6.0, Exited("a", 1))).start_failures


def test_a_start_that_takes_too_long_is_counted_once() -> None:
    tallies = played((0.0, Arrived(1, "a")), (31.0, Tick()), (32.0, Exited("a", 1)))
    assert tallies.start_failures == {"a": 1}
    assert tallies.evictions == {("a", "start_timeout", ""): 1}


@pytest.mark.parametrize(
    ("wait", "patience", "count"),
    [(59.0, None, 0), (61.0, None, 1), (61.0, 100.0, 0), (61.0, float("inf"), 0), (2.0, 1.0, 1)],
)
@pytest.mark.parametrize("left", [True, False])
def test_who_waits_longer_than_their_patience(
    wait: float, patience: float | None, count: int, *, left: bool
) -> None:
    end: Event = Released(1) if left else BecameReady("a", 1)
    tallies = played((0.0, Arrived(1, "a", patience=patience)), (wait, end))
    assert tallies.overdue["a"] == count


def test_who_is_let_through_at_once_leaves_nothing_behind() -> None:
    tallies = played(*UP, (5.0, Arrived(2, "a")), (6.0, Released(2)), (6.0, Released(1)))
    assert not tallies._waiting
    assert not tallies._wanted


def recording(path: str = CHAT, model: str = "a") -> Recording:
    one = Recording(model, path, Budget(lambda _: False, lambda _: None, lambda *_: None))
    one.arrived = 10.0
    one.forwarded, one.headed, one.ended, one.status, one.whole = 10.2, 13.0, 20.0, 200, True
    return one


def test_requests() -> None:
    tallies = Tallies({CHAT}, lambda _: 60.0)
    tallies.closed(recording())
    tallies.closed(recording("/made/up/by/a/stranger"))
    assert tallies.requests == {("a", CHAT, 200): 1, ("a", OTHER, 200): 1}
    assert tallies.queue["a"].total == pytest.approx(0.4)
    assert tallies.first_byte["a"].total == pytest.approx(6.0)


def test_tokens() -> None:
    tallies = Tallies({CHAT}, lambda _: 60.0)
    for tokens in (Tokens(3, 5, -1), Tokens(1, 0, 2)):
        tallies.recorded(1, Entry(at=0.0, model="a", path=CHAT, status=200, tokens=tokens))
    assert tallies.tokens == {("a", "input"): 4, ("a", "output"): 5, ("a", "cached"): 2}


def test_there_is_an_end_to_the_models_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MODELS", 2)
    tallies = Tallies({CHAT}, lambda _: 60.0)
    for model in "abcda":
        tallies.closed(recording(model=model))
    assert tallies.requests == {("a", CHAT, 200): 2, ("b", CHAT, 200): 1, (OTHER, CHAT, 200): 2}


def test_a_value_on_an_edge_is_not_above_it() -> None:
    spread = Spread()
    for value in (0.0, WAITS[0], WAITS[0] + 1e-9, WAITS[-1], WAITS[-1] + 1):
        spread.add(value)
    assert spread.counts == [2, 1, *[0] * (len(WAITS) - 3), 1, 1]
