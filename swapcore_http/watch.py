"""Has what the configuration was read from changed?

It is looked at again and again, because nothing else sees everything: the
systems that tell of changes know nothing of bind mounts, of network disks and
of where a link leads. What counts is what it says, so a file that was touched
or replaced by its like is no change, and however it was replaced is all the same.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ["EVERY", "Watch", "at_rest", "fingerprint"]

logger = logging.getLogger(__name__)

Read = TypeVar("Read")

EVERY = 0.5
"""Seconds between two looks. A change counts once it is seen twice: many writers begin with an empty file."""

REST, MOST_LOOKS = 0.05, 40
"""Seconds in which nothing may change before it is read, and how often that is tried."""

LARGEST = 1_000_000
"""Bytes of a file that are looked at; a larger one is no configuration."""

PATTERNS = ("*.yaml", "*.yml")
"""The files of a directory that count."""


class Watch:
    """Watches files and directories from the moment it is made.

    Make it before they are read for the first time: what is changed in between
    is then seen as well.

    Args:
        paths: The files, and the directories whose YAML files count.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._known = fingerprint(self._paths)
        self._missed = False

    async def run(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever they say something else and have come to rest, until cancelled."""
        limiter = anyio.CapacityLimiter(1)
        last = self._known
        while True:
            await anyio.sleep(EVERY)
            # In a thread, and one that may be left behind: a disk can take its time.
            seen = await anyio.to_thread.run_sync(
                fingerprint, self._paths, abandon_on_cancel=True, limiter=limiter
            )
            if seen == last and seen not in {None, self._known}:
                self._known = seen
                changed()
            self._say(gone=seen is None, still=seen == last)
            last = seen

    def _say(self, *, gone: bool, still: bool) -> None:
        """Say once that what is watched is not there, or is again."""
        if gone and still and not self._missed:
            names = ", ".join(str(path) for path in self._paths if fingerprint([path]) is None)
            logger.warning(
                "%s cannot be read; the configuration stays as it is", names or "the configuration"
            )
            self._missed = True
        elif self._missed and not gone:
            logger.info("what is watched for changes can be read again")
            self._missed = False


def at_rest(paths: Iterable[Path], read: Callable[[], Read]) -> Read:
    """Read what these paths say once nobody writes it any more; whatever `read` raises passes. It blocks.

    Half a configuration can be a faultless one that lacks models, and even an
    empty file is one. So an empty file counts as one whose writer has not come
    to write yet, and what changed while it was read is read again.
    """
    watched = tuple(paths)
    for _ in range(MOST_LOOKS):
        before = fingerprint(watched)
        time.sleep(REST)
        if fingerprint(watched) != before or _any_empty(watched):
            continue
        try:
            found = read()
        except Exception:
            if fingerprint(watched) == before:
                raise
            continue
        if fingerprint(watched) == before:
            return found
    return read()


def _any_empty(paths: Iterable[Path]) -> bool:
    with suppress(OSError):
        return any(file.stat().st_size == 0 for path in paths for file in _files(path))
    return False


def fingerprint(paths: Iterable[Path]) -> bytes | None:
    """Return what stands for all that these say; `None` if any is missing, as it can be for a moment."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            files = _files(path)
            if not files:
                return None
            for file in files:
                name = str(file).encode(errors="surrogateescape")
                with file.open("rb") as stream:
                    data = stream.read(LARGEST + 1)
                # Their lengths too, so that no name or end of a file passes for the start of the next.
                digest.update(b"%d %d\0%b%b" % (len(name), len(data), name, data))
        except OSError:
            return None
    return digest.digest()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for pattern in PATTERNS for file in path.glob(pattern) if file.is_file())
    # What is no file, as a pipe, can be read only once.
    return [path] if path.is_file() else []
