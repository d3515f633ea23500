"""Which process listens on a port of this machine?"""

import itertools
import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from swapcore_http.guard.table import HAS_PROC, mark_of

__all__ = ["Listener", "listener"]

PROC = Path("/proc")

LISTENING = "0A"
"""The state of a listening socket, as Linux writes it."""

LSOF_TIMEOUT = 2.0
"""Seconds that `lsof` may take where it is what there is to ask."""


class Listener(NamedTuple):
    """The process that has a listening socket."""

    pid: int
    name: str
    mark: str
    """To which life and run of a server it belongs, see `table.MARK`; empty for none."""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


def listener(port: int, first: int = 0) -> Listener | None:
    """Find who listens on that port; None if nobody does, or nobody who may be looked at.

    It takes some milliseconds: all of one's processes may have to be looked at.

    Args:
        port: The port.
        first: The process to look at first, as it is probably the one.
    """
    pid = _by_proc(port, first) if HAS_PROC else _by_lsof(port)
    return None if pid is None else Listener(pid, _name(pid), mark_of(pid))


def _by_proc(port: int, first: int) -> int | None:
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not sockets:
        return None
    others = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
    for pid in itertools.chain([first] if first else [], others):
        with suppress(OSError):
            for file in (PROC / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    if str(file.readlink()) in sockets:
                        return pid
    return None


def _inodes(port: int) -> Iterator[str]:
    """List the numbers of the sockets that listen on that port, at whichever address."""
    line = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} \S+ {LISTENING} (?:\S+ +){{5}}(\d+)", re.MULTILINE)
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            yield from line.findall((PROC / "net" / table).read_text())


def _by_lsof(port: int) -> int | None:
    said = _output("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-t").split()
    return int(said[0]) if said and said[0].isdecimal() else None


def _name(pid: int) -> str:
    if not HAS_PROC:
        return _output("ps", "-p", str(pid), "-o", "comm=").strip().rpartition("/")[2]
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return "?"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - nothing of it comes from outside.
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            timeout=LSOF_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
