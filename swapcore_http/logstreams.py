"""What has been logged lately, and who reads along?

There is one stream for the server, one for each model, one for all models
together, and one that combines what `logToStdout` says. Each keeps its newest
bytes. Writing never waits: a reader who is too slow misses some, and is told so.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from swapcore_http.loglines import Lines
from swapcore_http.output import Written, upstream_logger

__all__ = [
    "BOTH",
    "KEPT",
    "PROXY",
    "UPSTREAM",
    "LogStream",
    "LogStreams",
    "TooManyReadersError",
    "hear_upstreams",
]

KEPT = 100 * 1024
"""Bytes that each stream keeps."""

AHEAD = 256 * 1024
"""Bytes that may wait for a reader; if there are more it misses some."""

MOST_READERS = 100
"""Who may read at once, of all streams together."""

PROXY, UPSTREAM, BOTH, NONE = "proxy", "upstream", "both", "none"
"""The values of `logToStdout`."""


class TooManyReadersError(Exception):
    """Nobody more can read along."""


class Listener(Protocol):
    """Whoever is given what is written."""

    def give(self, data: bytes) -> None:
        """Take it without waiting; from any thread."""


class Reader:
    """One who reads a stream along."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._missed = 0
        self._ended = False

    def give(self, data: bytes) -> None:
        """Have this read next, if there is room for it; from any thread."""
        # Once something is missing the rest waits for the notice, which stands where that was.
        if self._missed or self._size + len(data) > AHEAD:
            self._missed += len(data)
        else:
            self._waiting.append(data)
            self._size += len(data)
        self._wake()

    def end(self) -> None:
        """Let there be nothing after what waits now."""
        self._ended = True
        self._wake()

    async def read(self) -> AsyncIterator[bytes]:
        """Yield what comes, until the end."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                data = self._waiting.popleft()
                self._size -= len(data)
                yield data
            if self._missed:
                missed, self._missed = self._missed, 0
                yield f"\n[swapcore: {missed} bytes are missing here: you read too slowly]\n".encode()
            if self._ended:
                return

    def _wake(self) -> None:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._news.set()
        else:
            self._loop.call_soon_threadsafe(self._news.set)


class LogStream:
    """What was written lately, and whoever reads on.

    Args:
        on_to: Where all that is written here goes as well.
    """

    def __init__(self, *on_to: "LogStream") -> None:
        self._on_to = on_to
        self._kept = bytearray()
        self._listeners: list[Listener] = []

    @property
    def history(self) -> bytes:
        """The newest bytes; they can start in the middle of a line."""
        return bytes(self._kept[-KEPT:])

    def write(self, data: bytes) -> None:
        """Keep these bytes and hand them on."""
        self._kept += data
        # Cut at twice the size, so that the copying costs one byte per byte.
        if len(self._kept) > 2 * KEPT:
            del self._kept[:-KEPT]
        for listener in self._listeners:
            listener.give(data)
        for stream in self._on_to:
            stream.write(data)

    def add(self, listener: "Listener") -> None:
        """Give that listener what is written from now on."""
        self._listeners.append(listener)

    def remove(self, listener: "Listener") -> None:
        """Give it nothing more."""
        self._listeners.remove(listener)

    @contextmanager
    def read_along(self, reader: Reader) -> Iterator[None]:
        """Give that reader what is written within the block."""
        self.add(reader)
        try:
            yield
        finally:
            self.remove(reader)


class LogStreams:
    """All streams of one server.

    Args:
        combined: What the combined stream has, as `logToStdout` says it.
        time_format: How lines of the server's own say when; see `TIME_FORMATS`.
    """

    def __init__(self, combined: str = PROXY, time_format: str = "") -> None:
        self.combined = LogStream()
        self.proxy = LogStream(*[self.combined] * (combined in {PROXY, BOTH}))
        self.upstream = LogStream(*[self.combined] * (combined in {UPSTREAM, BOTH}))
        self._models: dict[str, LogStream] = {}
        self._readers: set[Reader] = set()
        self._lines = Lines(self.proxy.write, time_format)

    def of(self, model: str) -> LogStream:
        """Find the stream of a model."""
        stream = self._models.get(model)
        if stream is None:
            stream = self._models[model] = LogStream(self.upstream)
        return stream

    def keep_only(self, models: Callable[[str], bool]) -> None:
        """Forget the streams of models that are no more."""
        self._models = {name: stream for name, stream in self._models.items() if models(name)}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Write down what is logged within the block, by whomever, and what upstreams write."""
        root = logging.getLogger()
        root.addHandler(self._lines)
        end = hear_upstreams(lambda model, data: self.of(model).write(data))
        try:
            yield
        finally:
            end()
            root.removeHandler(self._lines)

    @contextmanager
    def reading(self, stream: LogStream) -> Iterator[Reader]:
        """Read a stream along within the block.

        Raises:
            TooManyReadersError: there are too many already.
        """
        if len(self._readers) >= MOST_READERS:
            raise TooManyReadersError(f"{MOST_READERS} read the log already")
        reader = Reader()
        self._readers.add(reader)
        try:
            with stream.read_along(reader):
                yield reader
        finally:
            self._readers.discard(reader)

    def end(self) -> None:
        """Let all readers come to their end."""
        for reader in self._readers:
            reader.end()


class Chunks(logging.Handler):
    """Hands on what upstreams write."""

    def __init__(self, write: Callable[[str, bytes], None]) -> None:
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one piece."""
        match record.args:
            case (str(name), Written(data)):
                self._write(name, data)


def hear_upstreams(write: Callable[[str, bytes], None]) -> Callable[[], None]:
    """Call `write` from now on with what each upstream writes, by its model; return what ends that."""
    handler = Chunks(write)
    upstream_logger.addHandler(handler)
    before = upstream_logger.level, upstream_logger.propagate
    upstream_logger.setLevel(logging.DEBUG)
    # It is no line of the server's own.
    upstream_logger.propagate = False

    def end() -> None:
        upstream_logger.removeHandler(handler)
        if not any(isinstance(each, Chunks) for each in upstream_logger.handlers):
            upstream_logger.level, upstream_logger.propagate = before

    return end
