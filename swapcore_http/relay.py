"""How does one answer get from its upstream to whoever asked?

A relay is what a `Connection` tells of what has come. It has the client's
bytes written in that same call: no task runs and nothing is queued on the way.
Only when the answer is over, or the client takes no more for now, does it wake
the task that handles the request.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from attrs import frozen

from swapcore_http.config import TimeoutsConfig
from swapcore_http.delivery import Delivery, Nowhere
from swapcore_http.framing import Fields, Framing, FramingError, Head
from swapcore_http.upstreams import USUAL, Connection

__all__ = [
    "LOSS_SHOWS_WITHIN",
    "DroppedError",
    "Limits",
    "Relay",
    "SilentError",
    "Switched",
    "SwitchedError",
    "Tap",
    "UpstreamLostError",
]

logger = logging.getLogger(__name__)

LOSS_SHOWS_WITHIN: Final = 0.05
"""Seconds to wait, after an upstream closed a connection, for the news that it has died."""

MAX_SHOWN: Final = 200
"""Characters of what an upstream has said that are repeated to the client."""


class UpstreamLostError(Exception):
    """The upstream does not answer, or not to the end; the text says why."""


class SilentError(UpstreamLostError):
    """The upstream said nothing for longer than it may."""


class DroppedError(UpstreamLostError):
    """The upstream ended a connection before the first byte of an answer."""


class SwitchedError(UpstreamLostError):
    """The upstream switched to another protocol, which nobody has asked for; the text names it."""


class Tap(Protocol):
    """Listens to one answer.

    It is called while the answer is on its way: it should keep little and do
    less. If it raises, that is logged, and it hears no more.
    """

    def head(self, status: int, fields: Fields) -> None:
        """Hear the upstream's head, as it came."""

    def feed(self, content: bytes) -> None:
        """Hear a piece of the body, without its framing."""

    def end(self, whole: bool) -> None:  # noqa: FBT001 - it is all there is to say.
        """Hear that nothing follows, and whether the upstream has said all; called once, if `head` was."""


@frozen(eq=False, repr=False)
class Limits:
    """How long an upstream may take, in seconds."""

    connection: TimeoutsConfig = USUAL
    """To accept a connection, and how that is kept."""

    head: float = 0.0
    """From the end of the request to the head of the answer; 0 for no limit."""

    silence: float = 0.0
    """To say anything at all, once the request is out; 0 for no limit."""

    excuse: Callable[[], bool] | None = None
    """Asked each time that `silence` has passed: if it returns True, the upstream gets as long again."""


NO_LIMITS: Final = Limits()


@frozen(eq=False, repr=False)
class Switched:
    """The upstream speaks another protocol from here on."""

    head: Head
    connection: Connection
    """It is not read from: set its `taker`, then resume its transport's reading; `close` it at the end."""

    early: bytes
    """What the upstream has said in that protocol already."""


class Relay:
    """One answer, on its way.

    Args:
        method: What was asked with.
        delivery: Where the answer goes.
        tap: Listens to it, if anybody does.
        upgrade: Whether the upstream may switch protocols.
        turned: Called when it is over or held back, by who does not wait for that with `finish`.
    """

    # Defaults of the class cost nothing until they change.
    heard = False
    """Whether a byte of the answer has come."""

    over = False
    """Whether nothing more comes of it."""

    sending = False
    """Whether the request is still on its way."""

    connection: Connection | None = None
    """The one that the answer comes on, while it does."""

    switched: Switched | None = None

    error: Exception | None = None
    """Why it ended before its time, if it did."""

    _limits: Limits | None = None
    _timer: asyncio.TimerHandle | None = None
    _asked_at = _heard_at = 0.0
    _held_back = False
    _turn: asyncio.Future[None] | None = None

    def __init__(
        self,
        method: str,
        delivery: Delivery,
        *,
        tap: Tap | None = None,
        upgrade: bool = False,
        turned: Callable[[], None] | None = None,
    ) -> None:
        self.framing = Framing(method)
        self._delivery = delivery
        self._tap = tap
        self._upgrade = upgrade
        self._turned = turned

    # What the task says that handles the request

    def asked(self, limits: Limits) -> None:
        """Take it that the request is out: from now on the upstream's time counts."""
        self.sending = False
        if limits is not NO_LIMITS and (limits.head or limits.silence) and not self.over:
            self._limits = limits
            self._asked_at = self._heard_at = asyncio.get_running_loop().time()
            self._watch()

    async def finish(self, drain: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait until the answer is over.

        Args:
            drain: Waits until the client takes more.

        Raises:
            UpstreamLostError: it is not whole.
            ConnectionError: the client is gone.
        """
        while not self.over:
            if self._held_back:
                await self.unless_over(drain())
                self.go_on()
            else:
                self._turn = asyncio.get_running_loop().create_future()
                await self._turn
        if self.error is not None:
            raise self.error

    async def unless_over(self, other: Coroutine[Any, Any, None]) -> None:
        """Wait for something else, but not longer than the answer lasts."""
        turn = self._turn = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(other)
        try:
            await asyncio.wait((task, turn), return_when=asyncio.FIRST_COMPLETED)
        finally:
            task.cancel()
        if task.done():
            task.result()

    def let_go(self) -> None:
        """Take it that the client is gone; the upstream may finish for nobody."""
        self._delivery = Nowhere()
        self.go_on()

    def go_on(self) -> None:
        """Read from the upstream again, because the client takes more."""
        if self._held_back:
            self._held_back = False
            self._heard_at = asyncio.get_running_loop().time()
            if self.connection is not None and not self.connection.transport.is_closing():
                self.connection.transport.resume_reading()

    def fail(self, error: Exception) -> None:
        """End the answer here; does nothing once it is over."""
        if not self.over:
            if self.connection is not None:
                self.connection.close()
            self._end(error)

    # What the connection says

    def connected(self, connection: Connection) -> None:
        """See `Taker`."""
        self.connection = connection
        if self.over:
            connection.close()

    def received(self, data: bytes) -> None:
        """See `Taker`."""
        self.heard = True
        if self._limits is not None:
            self._heard_at = asyncio.get_running_loop().time()
        try:
            self._pass_on(data)
        except FramingError as error:
            self.fail(UpstreamLostError(str(error)))
        except Exception as error:
            if self.over:
                # Nobody is left to whom it could be raised.
                logger.exception("ending an answer failed")
            self.fail(error)

    def lost(self, error: Exception | None) -> None:
        """See `Taker`."""
        self.connection = None
        if self.over:
            return
        try:
            self.framing.finish(in_order=error is None)
        except FramingError as broken:
            kind = UpstreamLostError if self.heard else DroppedError
            self._end(kind(str(broken)))
        else:
            # The end of an answer and its upstream's death look alike: if it has died, the cut comes first.
            asyncio.get_running_loop().call_later(LOSS_SHOWS_WITHIN, self._complete)

    # Passing on

    def _pass_on(self, data: bytes) -> None:
        framing, delivery = self.framing, self._delivery
        begun = framing.head is not None
        spans = framing.feed(data)
        head = framing.head
        if head is None:
            return
        if not begun:
            if head.status == 101:  # noqa: PLR2004 - Switching Protocols.
                self._switch(head, data[framing.end :])
                return
            delivery.begin(framing)
        full = delivery.write(data, framing, spans)
        tap = self._tap
        if tap is not None:
            try:
                if not begun:
                    tap.head(head.status, head.fields)
                for start, end in spans:
                    tap.feed(data if end - start == len(data) else data[start:end])
            except Exception as error:  # noqa: BLE001 - see `_untap`.
                self._untap(error)
        if framing.ended:
            self._give_back(surplus=framing.end < len(data))
            self._complete()
        elif full:
            self._held_back = True
            if self.connection is not None:
                self.connection.transport.pause_reading()
            self._wake()

    def _give_back(self, *, surplus: bool) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if self.framing.kept and not surplus and not self.sending:
            if self._held_back:
                connection.transport.resume_reading()
            connection.give_back()
        else:
            connection.close()

    def _switch(self, head: Head, early: bytes) -> None:
        connection = self.connection
        if not self._upgrade or connection is None:
            # Passed on, both sides would wait for bytes that nobody carries.
            protocol = (head.get(b"upgrade") or b"another protocol").decode("latin-1")[:MAX_SHOWN]
            self.fail(SwitchedError(protocol))
            return
        connection.transport.pause_reading()
        connection.taker = None
        self.connection = None
        self.switched = Switched(head, connection, early)
        self._end(None)

    # The end

    def _complete(self) -> None:
        if not self.over:
            self._delivery.end()
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        self.over = True
        self.error = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._tap is not None and self.framing.head is not None:
            try:
                self._tap.end(error is None)
            except Exception as raised:  # noqa: BLE001 - see `_untap`.
                self._untap(raised)
        self._wake()

    def _wake(self) -> None:
        turned = self._turned
        if turned is not None:
            if self.over:
                # It holds this relay, and they would stay until the garbage is looked for.
                self._turned = None
            turned()
        turn = self._turn
        if turn is not None and not turn.done():
            turn.set_result(None)

    # Time

    def _watch(self) -> None:
        """Look again when the next limit could have passed."""
        limits = self._limits
        assert limits is not None  # noqa: S101 - there is nothing to watch without.
        due = []
        if limits.head and self.framing.head is None:
            due.append(self._asked_at + limits.head)
        if limits.silence:
            due.append(self._heard_at + limits.silence)
        if due:
            self._timer = asyncio.get_running_loop().call_at(min(due), self._look, limits)

    def _look(self, limits: Limits) -> None:
        now = asyncio.get_running_loop().time()
        if limits.head and self.framing.head is None and now >= self._asked_at + limits.head:
            self.fail(SilentError(f"no answer within {limits.head:g} s"))
            return
        if limits.silence and now >= self._heard_at + limits.silence:
            # Who is not read from has no chance to speak.
            if not self._held_back and not (limits.excuse is not None and limits.excuse()):
                self.fail(SilentError(f"it was silent for {limits.silence:g} s"))
                return
            self._heard_at = now
        self._watch()

    # The tap

    def _untap(self, error: Exception) -> None:
        """Tell the tap no more: no answer depends on who listens."""
        logger.error("listening to an answer failed", exc_info=error)
        self._tap = None
