"""What belongs to a dead life is found and ended; what does not is left alone."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from swapcore_http.guard import leftovers
from swapcore_http.guard.leftovers import end, left_of
from swapcore_http.guard.registry import Life, Run
from swapcore_http.guard.table import MARK, Entry, processes, start_time

LIFE = "0123456789abcdef" * 2


def entry(pid: int, group: int = 0, started: str = "1", mark: str = "", state: str = "S") -> Entry:
    return Entry(pid, group or pid, state, started, mark)


LEADER = Run(f"{LIFE}.1", pid=7, started="1")


@pytest.mark.parametrize(
    ("entries", "fresh", "found"),
    [
        pytest.param([entry(7, mark=f"{LIFE}.1")], False, [7], id="the leader"),
        pytest.param([entry(7)], False, [7], id="a leader that hides its environment"),
        pytest.param([entry(7, started="2")], True, [], id="somebody else with its number"),
        pytest.param([entry(7, started="2"), entry(8, 7)], True, [], id="somebody else's group"),
        pytest.param([entry(7), entry(8, 7)], False, [7, 8], id="its group"),
        pytest.param([entry(8, 7)], True, [8], id="a group that has just lost its leader"),
        pytest.param([entry(8, 7)], False, [], id="a group that may be anybody's by now"),
        pytest.param([entry(7, state="Z"), entry(8, 7)], False, [8], id="a leader nobody has buried"),
        pytest.param([entry(9, mark=f"{LIFE}.1")], False, [9], id="one in a session of its own"),
        pytest.param([entry(9, mark=f"{LIFE}.99")], False, [9], id="of a run that is not recorded"),
        pytest.param([entry(9, mark=f"{LIFE}0.1"), entry(10, mark="x.1")], True, [], id="other lives"),
        pytest.param([entry(1), entry(2, 1)], True, [], id="nothing to do with it"),
    ],
)
def test_whose_is_it(entries: list[Entry], fresh: bool, found: list[int]) -> None:  # noqa: FBT001 - a table.
    assert [each.pid for each in left_of(Life(LIFE, runs=(LEADER,)), entries, fresh=fresh)] == found


@pytest.fixture
def marked() -> Iterator["subprocess.Popen[bytes]"]:
    """Run something that belongs to the life and is deaf to SIGTERM."""
    script = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\nsignal.pause()"
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", script],
        env={**os.environ, MARK: f"{LIFE}.1"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_a_deaf_one_is_killed(marked: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GRACE", 0.1)
    assert end(Life(LIFE), os.environ, fresh=True) == (1, True)
    assert marked.wait() == -signal.SIGKILL


def test_one_that_is_only_just_becoming_a_program_is_waited_for(
    marked: "subprocess.Popen[bytes]", monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between fork and exec it has its parent's environment, and then for a moment none.
    monkeypatch.setattr(leftovers, "GRACE", 0.1)
    looks = iter(range(20))
    monkeypatch.setattr(leftovers, "processes", lambda: processes() if next(looks, None) is None else [])
    assert end(Life(LIFE, runs=(Run(f"{LIFE}.1"),)), os.environ, fresh=True) == (1, True)
    assert marked.wait() == -signal.SIGKILL


def test_a_command_that_stops_it_goes_first(marked: "subprocess.Popen[bytes]") -> None:
    stop = ("sh", "-c", "kill -$NUMBER ${PID}")
    run = Run(f"{LIFE}.1", marked.pid, start_time(marked.pid), stop, 20.0, (("NUMBER", "INT"),))
    assert end(Life(LIFE, runs=(run,)), os.environ, fresh=False) == (1, True)
    assert marked.wait() == -signal.SIGINT


@pytest.mark.parametrize("stop", [("no-such-program",), ("sleep", "1000")])
def test_a_command_that_does_not_help_is_bounded(
    marked: "subprocess.Popen[bytes]", stop: tuple[str, ...]
) -> None:
    run = Run(f"{LIFE}.1", marked.pid, start_time(marked.pid), stop, 0.2)
    assert end(Life(LIFE, runs=(run,)), os.environ, fresh=False) == (1, True)
    assert marked.wait() == -signal.SIGKILL


def test_what_cannot_be_killed_is_left_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "LAST_WAIT", 0.1)
    monkeypatch.setattr(leftovers, "processes", lambda: [entry(2**30, mark=f"{LIFE}.1")])
    assert end(Life(LIFE), os.environ, fresh=False) == (1, False)
