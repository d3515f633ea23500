"""How is what a live server decides recorded in a file?

    with recording(path, engine) as record:
        async with Driver(engine, launch, observe=record) as driver:
            ...

The recording is a `swapcore.journal`, in which no text from upstreams or
callers is kept but the ids of models: no details, no bodies, no log lines. Of
callers it has what their keys are called, because they take turns, and never
the keys.

Serving comes first. Steps are gathered in memory and written by a thread of
their own. What cannot be written is dropped and counted, and its place is
marked; the recording goes on, and as soon as nobody waits or is served it
holds the engine's state anew, from where on it can be replayed again.

A file that has reached its size is moved to the same name with `.1` added, in
place of the one before. The next file begins likewise at a moment when nobody
waits or is served, or, if there is none until it is twice that size, anyhow.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from attrs import define, field

from swapcore import Engine, SwapcoreError
from swapcore.journal import Gap, Step, can_resume, header_of, without_detail, write_line
from swapcore_http.driver import Observation

__all__ = ["CannotRecordError", "Recorder", "recording"]

logger = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
"""The size from which on a file is followed by the next one."""

MAX_BUFFER = 8 * 1024 * 1024
"""Bytes that wait to be written at most."""

INTERVAL = 1.0
"""Seconds between two writes."""

LAST_WRITE = 5.0
"""Seconds that the last write may take, before what it would write is given up."""


Observe = Callable[[Observation], None]
"""What a driver calls after each event."""


class CannotRecordError(SwapcoreError):
    """The recording cannot be begun; the text says why."""


@contextmanager
def recording(
    path: Path | None, engine: Engine, *, also: Observe | None = None, max_bytes: int = MAX_BYTES
) -> Iterator[Observe]:
    """Record everything that is observed in this block; a file that was there is kept with `.1` added.

    Args:
        path: The file. `None` for no recording.
        engine: The engine that is observed, as yet told nothing.
        also: What else is to be called after each event.
        max_bytes: The size from which on a file is followed by the next one.

    Returns:
        What the driver is to call after each event. It never waits for the disk.

    Raises:
        CannotRecordError: the file cannot be made.
    """
    also = also or _ignore
    if path is None:
        yield also
        return
    recorder = Recorder(path, engine, max_bytes=max_bytes)
    recorder.start()

    def observe(observation: Observation) -> None:
        also(observation)
        recorder.record(observation)

    try:
        yield observe
    finally:
        recorder.stop()


def _ignore(_: Observation) -> None:
    """Do without."""


@define(eq=False, repr=False)
class _Piece:
    """Steps in a row that go into one file."""

    header: str = ""
    """The header of the file that they begin; empty for the present one."""

    resumes: bool = False
    """Whether that header holds the whole state, so that nothing before it matters."""

    gap: int = 0
    """How many steps were dropped before them."""

    lines: list[str] = field(factory=list)
    steps: int = 0
    size: int = 0


class Recorder:
    """Records what one engine is told and orders; see `recording`.

    Args:
        path: The file.
        engine: The engine, as yet told nothing.
        max_bytes: The size from which on a file is followed by the next one.
        max_buffer: Bytes that wait to be written at most.
    """

    def __init__(
        self, path: Path, engine: Engine, *, max_bytes: int = MAX_BYTES, max_buffer: int = MAX_BUFFER
    ) -> None:
        self._path = path
        self._engine = engine
        self._max_bytes = max_bytes
        self._max_buffer = max_buffer
        self._version = version("swapcore")
        self._part = 1
        self._thread = threading.Thread(target=self._keep_writing, name="journal", daemon=True)
        self._stopping = threading.Event()

        # What is gathered: belongs to whoever holds `_gathering`, and never for longer than a moment.
        self._gathering = threading.Lock()
        self._pieces = [_Piece()]
        self._waiting = 0
        self._planned = 0
        self._unknown = False
        self._told = False
        self._dropped = 0

        # The file: belongs to whoever holds `_writing`.
        self._writing = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._header = self._head()

    @property
    def dropped(self) -> int:
        """How many steps were not recorded."""
        return self._dropped

    def start(self) -> None:
        """Make the file, and begin to write from time to time.

        Raises:
            CannotRecordError: the file cannot be made.
        """
        try:
            # Moving a device out of the way, as it must be done with files, would be a disaster.
            if self._path.exists() and not self._path.is_file():
                raise CannotRecordError(f"cannot record in {self._path}: it is not a file")
            if self._path.exists():
                self._move()
            self._append("")
        except OSError as error:
            self._close()
            raise CannotRecordError(f"cannot record in {self._path}: {error.strerror}") from error
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, unless that takes too long."""
        self._stopping.set()
        self._thread.join(LAST_WRITE)
        if self._thread.is_alive():
            logger.warning("the end of the journal %s is lost: its disk does not answer", self._path)
        if self._dropped:
            logger.warning("the journal %s lacks %d steps", self._path, self._dropped)

    def record(self, observation: Observation) -> None:
        """Take in one step."""
        step = Step(observation.now, observation.event, observation.commands)
        line = write_line(without_detail(step)) + "\n"
        with self._gathering:
            piece = self._pieces[-1]
            if self._waiting + len(line) > self._max_buffer:
                self._drop(1, "its disk does not keep up")
                # What is dropped here comes after what this piece has: the mark goes before the next.
                if piece.lines or piece.header:
                    self._pieces.append(_Piece(gap=1))
                else:
                    piece.gap += 1
                return
            piece.steps += 1
            self._gather(line)
            self._begin_anew()

    def flush(self) -> None:
        """Write what was gathered, now; this waits for the disk."""
        with self._writing:
            with self._gathering:
                pieces, self._pieces = self._pieces, [_Piece()]
            lost = 0
            for piece in pieces:
                piece.gap = 0 if piece.resumes else piece.gap + lost
                lost = self._write(piece)
            with self._gathering:
                self._pieces[0].gap += lost

    def _keep_writing(self) -> None:
        while not self._stopping.wait(INTERVAL):
            self.flush()
        self.flush()
        with self._writing:
            self._close()

    def _head(self) -> str:
        return write_line(header_of(self._engine, swapcore=self._version, part=self._part)) + "\n"

    def _gather(self, line: str) -> None:
        piece = self._pieces[-1]
        piece.lines.append(line)
        piece.size += len(line)
        self._waiting += len(line)
        self._planned += len(line)

    def _begin_anew(self) -> None:
        """Put a header in, if it is time for one."""
        if self._planned < self._max_bytes and not self._unknown:
            return
        quiet = can_resume(self._engine)
        if not quiet and self._planned < 2 * self._max_bytes:
            return
        self._part += 1
        if self._planned >= self._max_bytes:
            self._pieces.append(_Piece(header=self._head(), resumes=quiet))
            self._planned = 0
        else:
            self._gather(self._head())
        self._unknown = self._unknown and not quiet

    def _drop(self, steps: int, why: str) -> None:
        if not self._told:
            self._told = True
            logger.warning("the journal %s cannot be written and loses steps: %s", self._path, why)
        self._dropped += steps
        self._unknown = True

    def _write(self, piece: _Piece) -> int:
        """Write a piece, and return how many steps are missing instead if that fails."""
        try:
            if piece.header:
                self._header = piece.header
                if self._size:
                    self._move()
            gap = write_line(Gap(piece.gap)) + "\n" if piece.gap else ""
            self._append(gap + "".join(piece.lines))
        except OSError as error:
            with self._gathering:
                self._drop(piece.steps, error.strerror or str(error))
                # What was not written makes no file longer, nor one that is full worth giving up.
                self._planned = max(0, self._planned - piece.size)
            return piece.gap + piece.steps
        else:
            return 0
        finally:
            with self._gathering:
                self._waiting -= piece.size

    def _move(self) -> None:
        """Put the present file out of the way."""
        self._close()
        self._path.replace(self._path.with_name(self._path.name + ".1"))

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, text: str) -> None:
        """Write all of a text at the end of the file, or nothing; a new file begins with the header."""
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = os.fstat(self._file).st_size
        data = memoryview((text if self._size else self._header + text).encode("ascii"))
        size = self._size
        try:
            while data:
                written = os.write(self._file, data)
                size += written
                data = data[written:]
        except OSError:
            # Half a line would make what follows unreadable.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size = size
