"""Which processes are there, since when, and what do they carry in their environment?"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["DEAD_STATES", "MARK", "Entry", "mark_of", "place", "processes", "start_time"]

MARK = "SWAPCORE_RUN"
"""The variable that says to which life and run a process belongs, as LIFE.NUMBER."""

DEAD_STATES = "ZX"
"""A zombie holds nothing but its number: it waits for a parent that may never ask."""

PROC = "/proc"
"""Where Linux tells about processes; elsewhere `ps` is asked."""

ENVIRONMENT_BYTES = 4 * 1024 * 1024
"""Where reading an environment ends: more than Linux lets a program be started with."""


class Entry(NamedTuple):
    """One process, at the moment of looking."""

    pid: int
    group: int
    state: str
    """One letter, as `ps` shows it."""

    started: str
    """When it started: with `pid` it means this process and no later one of the same number."""

    mark: str = ""
    """The value of `MARK` in its environment; empty if there is none, or it may not be read."""

    @property
    def alive(self) -> bool:
        """Whether it is more than a zombie."""
        return self.state not in DEAD_STATES


def _processes_of_proc() -> Iterator[Entry]:
    for name in os.listdir(PROC):
        if name.isdecimal():
            try:
                # The name, in parentheses, may contain anything.
                fields = _read(f"{PROC}/{name}/stat", 4096).rpartition(b")")[2].split()
                mark = _mark_in(_environment(name))
                yield Entry(int(name), int(fields[2]), fields[0].decode(), fields[19].decode(), mark)
            except (OSError, IndexError):
                # It went while we looked.
                continue


def mark_of(pid: int) -> str:
    """Return the value of `MARK` in the environment of that process; empty if there is none."""
    if HAS_PROC:
        return _mark_in(_environment(str(pid)))
    return next((entry.mark for entry in _processes_of_ps() if entry.pid == pid), "")


def _environment(pid: str) -> bytes:
    try:
        return _read(f"{PROC}/{pid}/environ", ENVIRONMENT_BYTES)
    except OSError:
        # Another user's.
        return b""


def _mark_in(environment: bytes) -> str:
    _, found, rest = (b"\0" + environment).partition(f"\0{MARK}=".encode())
    return rest.partition(b"\0")[0].decode("ascii", "replace") if found else ""


def _read(path: str, size: int) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = []
        while size > 0 and (piece := os.read(file, min(size, 65536))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)
    finally:
        os.close(file)


LSTART_WORDS = 5
"""How many words the time of a start has: Tue Nov 24 06:19:41 2026."""


def _processes_of_ps() -> Iterator[Entry]:
    # What shows environments is an option of its own on macOS, and a letter without a dash elsewhere.
    options = ["-A", "-E", "-ww"] if sys.platform == "darwin" else ["axeww"]
    for line in _ps(*options, "-o", "pid=,pgid=,stat=,lstart=,command=").splitlines():
        words = line.split()
        if len(words) < 3 + LSTART_WORDS:
            continue
        pid, group, state = words[:3]
        started = " ".join(words[3 : 3 + LSTART_WORDS])
        # The command line stands in front of the environment: of two marks the last is the true one.
        marks = [word for word in words if word.startswith(f"{MARK}=")]
        mark = marks[-1].partition("=")[2] if marks else ""
        yield Entry(int(pid), int(group), state[:1], started, mark)


def _ps(*arguments: str) -> str:
    return subprocess.run(
        ["ps", *arguments],  # noqa: S607 - where POSIX puts it is the system's choice.
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        # The time of a start is compared as text.
        env={**os.environ, "LC_ALL": "C"},
    ).stdout.decode("utf-8", "replace")


HAS_PROC = os.path.exists(f"{PROC}/self/stat")


def processes() -> list[Entry]:
    """List all processes. It takes about 10 µs for each on Linux, and a run of `ps` elsewhere."""
    return list(_processes_of_proc() if HAS_PROC else _processes_of_ps())


def start_time(pid: int) -> str:
    """Say when that process started; empty if there is none."""
    if not HAS_PROC:
        return " ".join(_ps("-p", str(pid), "-o", "lstart=").split())
    try:
        return _read(f"{PROC}/{pid}/stat", 4096).rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""


def place() -> str:
    """Name the world in which numbers of processes mean something: this boot, and this container."""
    try:
        boot = _read(f"{PROC}/sys/kernel/random/boot_id", 64).decode().strip()
        return f"{boot} {os.readlink(f'{PROC}/self/ns/pid')}"
    except OSError:
        return os.uname().nodename
