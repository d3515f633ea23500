"""Where is it written down what a server's life has running?

One file per life, `LIFE.json`, in a folder that is the user's own. As long as
server or watchdog live, one of them holds the lock; whoever gets it may sweep.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Life", "Run", "create", "decode", "encode", "lives", "lock", "path_of", "read", "write"]

SUFFIX = ".json"
LIFE_DIGITS = 32
"""The length of a life's id, which is a random number in hexadecimal digits."""

MOST_BYTES = 16 * 1024 * 1024
"""Where reading a file ends."""


class Run(NamedTuple):
    """One process that leads a group, as the registry knows it."""

    mark: str
    pid: int = 0
    """0 while it is being spawned."""

    started: str = ""
    stop: tuple[str, ...] = ()
    """The words of the command that stops it, with `${PID}` as it stands; empty for a signal."""

    grace: float = 0.0
    """Seconds that command and process may take."""

    env: tuple[tuple[str, str], ...] = ()
    """What the command finds in its environment besides ours; it may be secret, and is not for the file."""


class Life(NamedTuple):
    """One server, from its start to its end, and what it has running."""

    id: str
    place: str = ""
    server: int = 0
    """The number of the server's process."""

    started: str = ""
    runs: tuple[Run, ...] = ()


def encode(life: Life, *, secrets: bool) -> bytes:
    """Make one line of it, without its end and without tabs, with or without what is not for the file."""
    runs = [run._asdict() if secrets else {**run._asdict(), "env": ()} for run in life.runs]
    return json.dumps({**life._asdict(), "runs": runs}).encode()


def decode(line: bytes, id_: str) -> Life:
    """Read such a line; what makes no sense is a life of which nothing but its id is known."""
    try:
        value: dict[str, Any] = json.loads(line)
        runs = tuple(_run(run) for run in value["runs"])
        return Life(id_, str(value["place"]), int(value["server"]), str(value["started"]), runs)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return Life(id_)


def _run(value: dict[str, Any]) -> Run:
    stop = tuple(str(word) for word in value["stop"])
    env = tuple((str(name), str(text)) for name, text in value["env"])
    return Run(str(value["mark"]), int(value["pid"]), str(value["started"]), stop, float(value["grace"]), env)


def path_of(where: str, id_: str) -> str:
    """Say where the file of a life is."""
    return os.path.join(where, id_ + SUFFIX)


def create(where: str, id_: str) -> int:
    """Make the file of a new life and lock it; the lock is the file's, as long as any process has it open.

    Raises:
        OSError: it cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    file = os.open(path_of(where, id_), flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def lock(where: str, id_: str) -> tuple[int, bool] | None:
    """Open the file of somebody's life; return it and whether we have got its lock, None if it is gone."""
    try:
        file = os.open(path_of(where, id_), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    if os.fstat(file).st_uid != os.geteuid():
        os.close(file)
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return file, False
    if os.fstat(file).st_nlink == 0:
        # Whoever had the lock has cleared up.
        os.close(file)
        return None
    return file, True


def read(file: int, id_: str) -> Life:
    """Read what the file says; only its first line counts."""
    return decode(os.pread(file, MOST_BYTES, 0).partition(b"\n")[0], id_)


def write(file: int, line: bytes) -> None:
    """Write a line in the place of what was there, in one piece: a reader sees the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    if os.pwrite(file, line, 0) != len(line):
        raise OSError(f"the disk takes only a part of {len(line)} bytes")
    os.ftruncate(file, len(line))


def lives(where: str) -> Iterable[str]:
    """List the ids of the lives that have a file there."""
    for name in sorted(os.listdir(where)):
        id_, suffix = name[:-5], name[-5:]
        if suffix == SUFFIX and len(id_) == LIFE_DIGITS and not id_.strip("0123456789abcdef"):
            yield id_
