"""What happens that followers are told, and when?

As long as nobody follows, nothing is put into words. What changes many times
in a moment is told once: models as they stand when the engine has done its
step, requests and the log ten times a second.
"""

import asyncio
import codecs
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from swapcore import BecameReady, Exited, Lost, Start, Stop
from swapcore_http.config import Config
from swapcore_http.driver import Observation
from swapcore_http.inflight import Flight
from swapcore_http.logstreams import LogStream
from swapcore_http.news.followers import Follower, Followers
from swapcore_http.news.messages import frame, model_status, snapshot
from swapcore_http.routes.context import Context

if TYPE_CHECKING:
    from swapcore_http.activity.entries import Entry

__all__ = ["News"]

GATHER: Final = 0.1
"""Seconds that news of requests, and the log, may wait for company."""

PROGRESS_EVERY: Final = 0.25
"""Seconds between two looks how far answers have come."""

MOST_CHANGES: Final = 128
"""News of requests in one go; if there are more, all requests are told instead."""

MOST_LOG: Final = 64 * 1024
"""Bytes of a log that are told in one go; what is more than that is left out."""


class News:
    """Tells the followers of one server."""

    def __init__(self, context: Context) -> None:
        self.followers = Followers()
        self._context = context
        self._changes: dict[int, Flight | None] = {}
        self._told: dict[int, tuple[bool, int]] = {}
        self._due = False
        self._watching = False
        self._models_due = False
        self._all_flights = b""
        self._tails = [
            Tail(source, stream, self._gather_soon)
            for source, stream in (("proxy", context.logs.proxy), ("upstream", context.logs.upstream))
        ]
        context.driver.watch(self._observe)
        context.present.on_replaced(self._replaced)
        context.recorder.subscribe(self._recorded)

    @contextmanager
    def following(self) -> Iterator[tuple[Follower, list[bytes]]]:
        """Follow what happens within the block; yield how everything stands at its start as well.

        Raises:
            TooManyFollowersError: too many follow already.
        """
        # What was said before it came is in the history.
        self._gather()
        with self.followers.following() as follower:
            opening = [*(tail.history() for tail in self._tails), self._models(), self._ui(), self._profile()]
            self._watch()
            # Requests come and go all the time: who hears of each costs all of them something.
            self._context.inflight.watcher = self
            yield follower, [*opening, self._flights()]
        if not self.followers:
            self._context.inflight.watcher = None
            self._told.clear()
            for tail in self._tails:
                tail.stop()

    def standing(self) -> list[bytes]:
        """Say how everything stands, to one who has missed something."""
        return [self._models(), self._profile(), self._flights()]

    def profile_changed(self) -> None:
        """Hear that another profile is active, or none."""
        if self.followers:
            self.followers.give(self._profile() + self._models())

    # What is heard

    def began(self, flight: Flight) -> None:
        """See `Watcher`."""
        self._change(flight.number, flight)

    def ended(self, flight: Flight) -> None:
        """See `Watcher`."""
        self._told.pop(flight.number, None)
        self._change(flight.number, None)

    def _observe(self, step: Observation) -> None:
        if not self.followers or self._models_due:
            return
        if isinstance(step.event, BecameReady | Exited | Lost) or any(
            isinstance(command, Start | Stop) for command in step.commands
        ):
            self._models_due = True
            asyncio.get_running_loop().call_soon(self._tell_models)

    def _tell_models(self) -> None:
        self._models_due = False
        self.followers.give(self._models())

    def _replaced(self, _: Config) -> None:
        if self.followers:
            # The catalog comes after the configuration.
            asyncio.get_running_loop().call_soon(
                lambda: self.followers.give(self._models() + self._ui() + self._profile())
            )

    def _recorded(self, number: int, _: "Entry") -> None:
        if self.followers:
            self.followers.give(frame("activity", {"id": number}))

    # What is told together

    def _change(self, number: int, flight: Flight | None) -> None:
        self._changes[number] = flight
        self._gather_soon()

    def _gather_soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(GATHER, self._gather)

    def _gather(self) -> None:
        """Tell what has come together."""
        self._due = False
        self._all_flights = b""
        changes, self._changes = self._changes, {}
        told = b"".join([tail.take() for tail in self._tails])
        if len(changes) > MOST_CHANGES:
            self.followers.lose()
            return
        for number, flight in changes.items():
            if flight is None:
                told += frame("inflight", {"operation": "remove", "id": str(number)})
            else:
                self._told[number] = flight.progress
                told += frame("inflight", {"operation": "upsert", "request": flight.as_json()})
        if told:
            self.followers.give(told)

    def _watch(self) -> None:
        for tail in self._tails:
            tail.start()
        if not self._watching:
            self._watching = True
            asyncio.get_running_loop().call_later(PROGRESS_EVERY, self._look)

    def _look(self) -> None:
        """Tell how far answers have come, as long as anybody follows."""
        self._watching = False
        if not self.followers:
            self._told.clear()
            return
        for flight in self._context.inflight:
            if self._told.get(flight.number, (False, 0)) != flight.progress:
                self._change(flight.number, flight)
        self._watch()

    # Words

    def _models(self) -> bytes:
        context = self._context
        phases = {view.model: view.phase for view in context.driver.snapshot(tickets=False).upstreams}
        return frame("modelStatus", model_status(context.config, context.names, phases))

    def _ui(self) -> bytes:
        return frame("uiConfig", {"activity": {"session_id": list(self._context.config.session_ids)}})

    def _profile(self) -> bytes:
        profile = self._context.profile
        return frame("profileChanged", {"active": profile and profile.name})

    def _flights(self) -> bytes:
        # Thousands of requests are put into words once for all who have missed something. It holds until
        # changes are told the next time: those that it does not have yet come then.
        if not self._all_flights:
            self._all_flights = frame("inflight", snapshot(self._context.inflight))
        return self._all_flights


class Tail:
    """The end of one log, in words.

    Args:
        source: What the log is called.
        stream: The log.
        soon: Called, in the event loop, when something has come.
    """

    def __init__(self, source: str, stream: LogStream, soon: Callable[[], None]) -> None:
        self._source = source
        self._stream = stream
        self._soon = soon
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._history: bytes | None = None

    def start(self) -> None:
        """Listen, unless that is so already."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._history = None
            self._stream.add(self)

    def stop(self) -> None:
        """Listen no more."""
        if self._loop is not None:
            self._loop = None
            self._stream.remove(self)

    def give(self, data: bytes) -> None:
        """Take what was logged; from any thread."""
        loop = self._loop
        if loop is None:
            return
        first = not self._pieces
        if self._size < MOST_LOG:
            self._pieces.append(data)
            self._size += len(data)
        self._history = None
        if first:
            loop.call_soon_threadsafe(self._soon)

    def history(self) -> bytes:
        """Say what was logged lately."""
        if self._history is None:
            text = self._stream.history.decode(errors="replace")
            words = frame("logData", {"source": self._source, "data": text})
            if self._loop is None:
                # Nobody would say that it is not so any more.
                return words
            self._history = words
        return self._history

    def take(self) -> bytes:
        """Say what was logged since."""
        data = b"".join([self._pieces.popleft() for _ in range(len(self._pieces))])
        self._size = 0
        text = self._decoder.decode(data)
        return frame("logData", {"source": self._source, "data": text}) if text else b""
