"""Which process listens on a port of this machine?"""

import itertools
import re
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from swapcore_http.guard.table import HAS_PROC, mark_of

__all__ = ["Listener", "listener"]

PROC = Path("/proc")

LISTENING = "0A"
"""The state of a listening socket, as Linux writes it."""

SOCK_DIAG, BY_FAMILY, DUMP = 4, 20, 0x301
"""By which family of messages Linux tells about sockets, the question, and that all of them are wanted."""

ERROR, DONE = 2, 3
"""What is no socket in an answer."""

HEADER = struct.Struct("=IHHII")
"""Of a message: its length, its type, flags and two numbers."""

QUESTION = struct.Struct("=BBxxIH46x")
"""The family of addresses, the protocol, a bit for each state, and the port in the order of the network."""

PORT, INODE = HEADER.size + 4, HEADER.size + 68
"""Where a message about a socket has its port and its number."""

SAID_BYTES = 64 * 1024
SAID_TIMEOUT = 1.0
"""Seconds for an answer that is there at once."""

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

    It takes some milliseconds if all of one's processes have to be looked at.

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


def _inodes(port: int) -> Iterable[str]:
    """List the numbers of the sockets that listen on that port, at whichever address."""
    try:
        return [number for family in (socket.AF_INET, socket.AF_INET6) for number in _asked(family, port)]
    except OSError:
        # Not everywhere may it be asked; the tables, which take it milliseconds to write, are for everybody.
        return _looked_up(port)


def _asked(family: int, port: int) -> Iterator[str]:
    """Ask the kernel for these numbers.

    Raises:
        OSError: it does not answer that.
    """
    question = QUESTION.pack(family, socket.IPPROTO_TCP, 1 << int(LISTENING, 16), socket.htons(port))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, SOCK_DIAG) as kernel:
        kernel.settimeout(SAID_TIMEOUT)
        kernel.send(HEADER.pack(HEADER.size + len(question), BY_FAMILY, DUMP, 0, 0) + question)
        while True:
            said = kernel.recv(SAID_BYTES)
            start = 0
            while start < len(said):
                length, kind, *_ = HEADER.unpack_from(said, start)
                if kind == DONE:
                    return
                if kind == ERROR:
                    raise OSError(-struct.unpack_from("=i", said, start + HEADER.size)[0], "sock_diag")
                if struct.unpack_from("!H", said, start + PORT)[0] == port:
                    yield str(struct.unpack_from("=I", said, start + INODE)[0])
                # Each message begins where four bytes do.
                start += (length + 3) & ~3


def _looked_up(port: int) -> Iterator[str]:
    """Look these numbers up in the tables that the kernel writes."""
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
