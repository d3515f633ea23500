"""All ways of looking at processes agree."""

import os
import subprocess
import sys

import pytest

from swapcore_http.guard import table
from swapcore_http.guard.table import MARK, Entry, mark_of, processes, start_time

SLEEPER = [sys.executable, "-I", "-S", "-c", "print('up', flush=True); import time; time.sleep(100)"]


@pytest.mark.parametrize("has_proc", [True, False])
def test_a_process_is_seen_with_its_mark(has_proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a table.
    if has_proc and not table.HAS_PROC:
        pytest.skip("there is no /proc")
    monkeypatch.setattr(table, "HAS_PROC", has_proc)
    env = {**os.environ, MARK: "life.1", "LATER": f"x{MARK}=no"}
    with subprocess.Popen(SLEEPER, env=env, stdout=subprocess.PIPE, start_new_session=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (found,) = [each for each in processes() if each.pid == child.pid]
        assert found == Entry(child.pid, child.pid, found.state, start_time(child.pid), "life.1")
        assert found.started
        assert found.alive
        assert mark_of(child.pid) == "life.1"
        (me,) = [each for each in processes() if each.pid == os.getpid()]
        assert (me.group, me.mark) == (os.getpgrp(), os.environ.get(MARK, ""))
        child.kill()
    assert start_time(child.pid) == ""
    assert mark_of(child.pid) == ""


def test_a_process_is_no_other_one_at_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start_time(os.getpid()) == start_time(os.getpid())
    assert start_time(1) != start_time(os.getpid())
