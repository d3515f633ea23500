"""Who reads what was recorded, and where does it go?

What has been closed in the last moments is gathered. Short answers are
digested in the event loop, some at a time: that takes less than to have
another thread do it, which would fight with the loop for Python's lock, and
less than one at a time, each of which would find the processor busy with other
things. What is long or packed is left to one thread, which digests it a little
at a time, so that those who are being served hardly notice. That thread alone
touches the store, and is given all of it a few times a second. Captures and
subscribers belong to the event loop's thread, and hear of it there.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from swapcore_http.activity.captures import AskedFields, Captures
from swapcore_http.activity.loads import Loads
from swapcore_http.activity.recording import Budget, Recording

if TYPE_CHECKING:
    # They are imported when there is something to record: the server starts without them.
    from swapcore_http.activity.digest import Digest
    from swapcore_http.activity.entries import Entry
    from swapcore_http.activity.store import Store

__all__ = ["Recorder", "Told"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

GATHER = 0.05
"""Seconds that what has been closed may wait for company."""

SHORT = 8 * 1024
"""Bytes of an answer that the event loop digests, if they are not packed."""

TOGETHER = 16
"""Requests that it digests at a time."""

SLICE = 0.0003
"""Seconds of work after which everybody else goes first."""

PAUSE = 0.0005
"""Seconds for which they do."""

BATCH = 500
"""Requests that are written at a time."""

MOST_WAITING = 20_000
"""Requests that may wait to be digested or written; those beyond are not recorded."""

MOST_HELD = 64 * 1024 * 1024
"""Bytes that these may hold together."""

LAST_WRITE = 5.0
"""Seconds that the last write may take, before what it would write is given up."""

Told = Callable[[int, "Entry"], None]
"""Hears of a request that was recorded, and its number."""


_Closed = tuple[Recording, float, int]
"""A recording, the seconds of its wait that its model was loading, and the bytes that it holds."""


@frozen(eq=False, repr=False)
class _Part:
    recording: Recording
    chunks: list[bytes] | None
    """What comes next; `None` if that is lost."""

    size: int


@frozen(eq=False, repr=False)
class _Question:
    ask: Callable[["Store"], Any]
    answer: asyncio.Future[Any]


class Recorder:
    """Records the requests of one server. All but the thread's own part belongs to the event loop.

    Args:
        open_store: Makes where entries go; called in the thread, once there are any.
        captures: Where bodies go.
        loads: When runs were loading.
    """

    def __init__(self, open_store: Callable[[], "Store"], captures: Captures, loads: Loads) -> None:
        self.captures = captures
        self.loads = loads
        self.dropped = 0
        """How many requests were not recorded, because too much was waiting."""

        self._open_store = open_store
        self._closed: list[Callable[[Recording], None]] = []
        self._subscribers: list[Told] = []
        self._fresh: list[_Closed] = []
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Digest | _Closed | _Part | _Question] = deque()
        self._held = 0
        self._freed = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._digest: Callable[[Recording, float], Digest] | None = None
        self._budget = Budget(captures.reserve, captures.give_back, self._unpack)

    def begin(self, model: str, path: str, fields: AskedFields, body: bytes | None) -> Recording:
        """Begin to follow a request.

        Args:
            model: The id of the model that it is for.
            path: What that is asked for, without the query.
            fields: The request's header fields. Where many requests have the same, `captures.joined` can be
                given them once for all, and what that makes of them here.
            body: Its body, if that is in memory.
        """
        captured = self.captures.limit > 0
        return Recording(model, path, self._budget, (fields, body) if captured else None)

    def close(self, recording: Recording) -> None:
        """Take a recording that is over."""
        recording.close()
        if recording.reserved:
            self.captures.give_back(recording.reserved)
        for tell in self._closed:
            tell(recording)
        fresh = self._fresh
        if len(fresh) + len(self._queue) >= MOST_WAITING or self._held - self._freed > MOST_HELD:
            if not self.dropped:
                logger.warning("requests come faster than they can be recorded; some are left out")
            self.dropped += 1
            return
        since = recording.arrived
        loading = self.loads.within(recording.run, since, recording.forwarded or since)
        size = recording.size
        self._held += size
        fresh.append((recording, loading, size))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER, self._hand_over)
        elif len(fresh) >= TOGETHER:
            self._digest_short()

    def subscribe(self, tell: Told) -> Callable[[], None]:
        """Call `tell` once for each request recorded from now on; call what is returned to end that."""
        self._subscribers.append(tell)
        return lambda: self._subscribers.remove(tell)

    def on_closed(self, tell: Callable[[Recording], None]) -> None:
        """Call `tell`, which has to be quick, with each recording as soon as its request is over."""
        self._closed.append(tell)

    async def ask(self, question: Callable[["Store"], Result]) -> Result:
        """Ask the store something, once all that was recorded before is in it."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._digest_short()
        self._put(_Question(question, answer))
        return await answer

    async def stop(self) -> None:
        """Write what is left, unless that takes too long."""
        if self._timer is not None:
            self._timer.cancel()
            self._hand_over()
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, LAST_WRITE)
            if self._thread.is_alive():
                logger.warning("the last requests are not recorded: the disk does not answer")

    def _unpack(self, recording: Recording, chunks: list[bytes]) -> None:
        size = sum(map(len, chunks))
        if self._held - self._freed + size > MOST_HELD:
            # What has a hole cannot be unpacked any further.
            recording.error = recording.error or "the answer came too fast to be read"
            self._put(_Part(recording, None, 0))
            return
        self._held += size
        self._put(_Part(recording, chunks, size))

    def _digest_short(self) -> None:
        """Digest what is short, for a while, and let all that is fresh wait for the thread."""
        fresh, self._fresh = self._fresh, []
        queue, digest = self._queue, self._digest
        until = time.perf_counter() + SLICE
        for item in fresh:
            recording, loading, size = item
            # The thread imports what it takes to digest, and does so with the first ones.
            if (
                digest is None
                or recording.received > SHORT
                or recording.encoding
                or time.perf_counter() > until
            ):
                queue.append(item)
                continue
            digested = digest(recording, loading)
            self._held += digested.size - size
            queue.append(digested)

    def _hand_over(self) -> None:
        """Have the thread work on all there is."""
        self._timer = None
        self._digest_short()
        self._call_thread()

    def _put(self, item: "_Part | _Question") -> None:
        self._queue.append(item)
        self._call_thread()

    def _call_thread(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
            self._thread.start()
        self._wake.set()

    # In the thread

    def _run(self) -> None:
        from swapcore_http.activity.digest import digest  # noqa: PLC0415 - see above.

        self._store = self._open_store()
        self._digest = digest
        while True:
            self._wake.wait()
            self._wake.clear()
            self._work()
            if self._stopping and not self._queue:
                self._store.close()
                return

    def _work(self) -> None:
        """Do all there is to do."""
        digest = self._digest
        assert digest is not None  # noqa: S101 - it was imported first.
        digested: list[Digest] = []
        until = time.perf_counter() + SLICE
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, _Question):
                self._write(digested)
                digested = []
                self._answer(item)
            elif isinstance(item, _Part):
                self._freed += item.size
                item.recording.unpack(item.chunks)
            elif isinstance(item, tuple):
                self._freed += item[2]
                digested.append(digest(*item[:2]))
            else:
                self._freed += item.size
                digested.append(item)
                if len(digested) < BATCH:
                    # That took no time.
                    continue
            if len(digested) >= BATCH:
                self._write(digested)
                digested = []
            if time.perf_counter() > until:
                time.sleep(PAUSE)
                until = time.perf_counter() + SLICE
        self._write(digested)

    def _write(self, digested: "list[Digest]") -> None:
        if digested:
            first = self._store.add([each.entry for each in digested])
            self._call(self._tell, first, digested)

    def _answer(self, question: _Question) -> None:
        try:
            result = question.ask(self._store)
        except Exception as error:  # noqa: BLE001 - it is raised where the question was asked.
            self._call(_fail, question.answer, error)
        else:
            self._call(_resolve, question.answer, result)

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None  # noqa: S101 - it started the thread.
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            return

    # In the loop again

    def _tell(self, first: int, digested: "list[Digest]") -> None:
        for number, each in enumerate(digested, first):
            if each.capture is not None:
                self.captures.keep(number, each.capture)
            for tell in tuple(self._subscribers):
                try:
                    tell(number, each.entry)
                except Exception:
                    logger.exception("a subscriber to recorded requests failed")


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
