"""Tests of `swapcore_http.logs`."""

import logging

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Command,
    Event,
    Exited,
    Forward,
    Lost,
    Refusal,
    Reject,
    Released,
    Start,
    Stop,
    StopReason,
    Tick,
)
from swapcore_http.driver import Observation
from swapcore_http.logs import log_step, logs_callers


@pytest.mark.parametrize(
    ("event", "commands", "lines"),
    [
        (Arrived(1, "a"), (Start("a", 3),), ["INFO starting a (run 3)"]),
        (
            Tick(),
            (Stop("a", 3, StopReason.EVICT, making_room_for="b"),),
            ["INFO stopping a (run 3): it makes room for b"],
        ),
        (
            Tick(),
            (Stop("a", 3, StopReason.TTL, force=True),),
            ["INFO killing a (run 3): it has been idle for its ttl"],
        ),
        (BecameReady("a", 3), (), ["INFO a (run 3) is ready"]),
        (Lost("a", 3, "exit status 1"), (), ["WARNING a (run 3) has died: exit status 1"]),
        (
            Exited("a", 3, "exited with status 1\nits last output:\n2026 [INFO] forged"),
            (),
            ["INFO a (run 3) is over: exited with status 1\n    its last output:\n    2026 [INFO] forged"],
        ),
        (Exited("a", 3, "stopped"), (), ["INFO a (run 3) is over: stopped"]),
        (
            Arrived(4, "x\ny"),
            (Reject(4, Refusal.UNKNOWN_MODEL, "no model is called 'x\ny'"),),
            ["INFO refusing request 4: unknown_model: \"no model is called 'x\\ny'\""],
        ),
        (Arrived(5, "a"), (Forward(5, "a", 3),), []),
    ],
)
def test_each_step_is_logged_with_its_reason(
    event: Event, commands: tuple[Command, ...], lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "swapcore_http"):
        log_step(Observation(0.0, event, commands))
    assert [f"{record.levelname} {record.getMessage()}" for record in caplog.records] == lines


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_it_says_whether_it_logs_callers_who_pass(level: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(level, "swapcore_http"):
        log_step(Observation(0.0, Arrived(1, "a"), (Forward(1, "a", 3),)))
        log_step(Observation(0.0, Released(1), ()))
        assert logs_callers() == bool(caplog.records) == (level == logging.DEBUG)


def test_every_reason_to_stop_has_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "swapcore_http"):
        for reason in StopReason:
            room = "b" if reason is StopReason.EVICT else None
            log_step(Observation(0.0, Tick(), (Stop("a", 1, reason, making_room_for=room),)))
    for record in caplog.records:
        words = record.getMessage().partition(": ")[2]
        assert len(words.split()) > 2, words


def test_who_asks_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "swapcore_http"):
        log_step(Observation(0.0, Arrived(1, "a", caller="a key"), ()))
    assert "model='a'" in caplog.text
    assert "a key" not in caplog.text
