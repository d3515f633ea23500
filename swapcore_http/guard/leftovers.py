"""What is left of a life whose server is gone, and how does it end?"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from swapcore_http.guard.registry import Life, Run
from swapcore_http.guard.table import Entry, processes, start_time

__all__ = ["end", "left_of"]

GRACE = 1.0
"""Seconds between asking and killing, and what a process may still take after its `cmdStop` has ended."""

LOOK_EVERY = 0.02
"""Seconds between two looks at what is left."""

SETTLED = 0.1
"""Seconds in which nothing must be found until nothing is left: what is about to become
another program has no environment for a moment."""

SPAWNING = 5.0
"""The same while a run was being spawned when its server died: until it has become the program that
it is to be, nothing tells whose it is, and on a busy machine that takes a while."""

LAST_WAIT = 30.0
"""Seconds after which what cannot be killed is left alone."""

PID = "${PID}"


class _Leftover(NamedTuple):
    entry: Entry
    run: Run | None
    """The run that it belongs to, if that is known."""


def left_of(life: Life, entries: Iterable[Entry], *, fresh: bool) -> list[Entry]:
    """Find the living processes of a life.

    Those are the ones that carry its id, and those in the group of a leader
    that is the recorded one by its number and the time of its start.

    Args:
        life: The life.
        entries: All processes.
        fresh: Whether what is recorded was true a moment ago. Then a group whose
            leader is gone, and whose number is nobody else's, is still the same.
    """
    return [each.entry for each in _leftovers(life, entries, fresh=fresh)]


def _leftovers(life: Life, entries: Iterable[Entry], *, fresh: bool) -> list[_Leftover]:
    by_pid = {entry.pid: entry for entry in entries}
    by_mark = {run.mark: run for run in life.runs}
    by_group: dict[int, Run] = {}
    for run in life.runs:
        leader = by_pid.get(run.pid)
        if run.pid and (fresh if leader is None else leader.started == run.started != ""):
            by_group[run.pid] = run
    found = []
    for entry in by_pid.values():
        run_or_none = by_mark.get(entry.mark) or by_group.get(entry.group)
        if entry.alive and (run_or_none or entry.mark.startswith(f"{life.id}.")):
            found.append(_Leftover(entry, run_or_none))
    return found


def end(life: Life, environment: Mapping[str, str], *, fresh: bool) -> tuple[int, bool]:
    """End everything that is left of a life, by force if need be; it blocks until then.

    Runs with a command that stops them are asked by it, within their grace;
    all others are sent SIGTERM and, a second later, SIGKILL.

    Args:
        life: The life; its server is gone.
        environment: What commands run with, besides what the run adds.
        fresh: See `left_of`.

    Returns:
        How many processes there were, and whether all of them are gone.
    """
    begun = last_seen = time.monotonic()
    seen: set[tuple[int, str]] = set()
    askers: dict[str, _Asker] = {}
    spawning = {run.mark for run in life.runs if run.pid == 0} if fresh else set[str]()
    try:
        while True:
            leftovers = _leftovers(life, processes(), fresh=fresh)
            now = time.monotonic()
            if leftovers:
                last_seen = now
                spawning -= {entry.mark for entry, _ in leftovers}
            elif now - last_seen >= (SPAWNING if spawning else SETTLED if life.runs else 0):
                return len(seen), True
            if now > begun + LAST_WAIT + max((run.grace for run in life.runs), default=0.0):
                return len(seen), False
            for entry, run in leftovers:
                key = (entry.pid, entry.started)
                asker = askers.get(run.mark) if run is not None else None
                if run is not None and asker is None and run.stop and _leads(entry, run):
                    asker = askers[run.mark] = _Asker(run, entry.pid, environment)
                if asker is not None and asker.is_waiting(now):
                    pass
                elif now >= begun + GRACE or asker is not None:
                    _send(entry, signal.SIGKILL)
                elif key not in seen and not (run is not None and run.stop and run.pid == 0):
                    _send(entry, signal.SIGTERM)
                seen.add(key)
            time.sleep(LOOK_EVERY)
    finally:
        for asker in askers.values():
            asker.end()


def _leads(entry: Entry, run: Run) -> bool:
    return entry.pid == run.pid or (run.pid == 0 and entry.pid == entry.group)


class _Asker:
    """The command that stops one run, while it is at it."""

    def __init__(self, run: Run, pid: int, environment: Mapping[str, str]) -> None:
        self._until = time.monotonic() + run.grace
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [word.replace(PID, str(pid)) for word in run.stop],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**environment, **dict(run.env)},
                start_new_session=True,
            )
        except (OSError, ValueError):
            self._until = 0.0

    def is_waiting(self, now: float) -> bool:
        """Tell whether the run may still go by itself."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self._until = min(self._until, now + GRACE)
        return now < self._until

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return
            self._process.wait()


def _send(entry: Entry, number: signal.Signals) -> None:
    """Signal that process and, where the system can tell, no later one of the same number."""
    try:
        if not hasattr(os, "pidfd_open"):
            os.kill(entry.pid, number)
            return
        process = os.pidfd_open(entry.pid)
        try:
            if start_time(entry.pid) == entry.started:
                signal.pidfd_send_signal(process, number)
        finally:
            os.close(process)
    except OSError:
        # It went by itself, or is another user's.
        return
