"""How does the server talk with one client, where that is not left to aiohttp?

aiohttp reads all requests, and has a task for each connection that handles
them. A request that can be answered without waiting needs none: it is kept
back as soon as it is read, and to aiohttp its connection looks like one on
which a request is being handled. Whatever comes in between, it gives back,
and aiohttp's task goes on with it.

What is touched of aiohttp for that, and is not documented, is named in
`Conversation`; `tests/http/test_conversation.py` fails where it has changed.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from attrs import frozen

from swapcore_http.activity.recording import Recording
from swapcore_http.inflight import Flight
from swapcore_http.lease import Lease
from swapcore_http.misspoken import answer_misspoken

__all__ = [
    "INTERCEPTOR",
    "Conversation",
    "Handed",
    "Interceptor",
    "Message",
    "Passing",
    "Runner",
    "content_of",
    "handed_to",
]

Message = tuple[RawRequestMessage, StreamReader]
"""A request as it is read, and its body."""


class Passing(Protocol):
    """A request on its way that no task handles."""

    def client_gone(self) -> None:
        """Hear that the client has hung up."""

    def go_on(self) -> None:
        """Hear that the client takes more bytes."""


@frozen(eq=False)
class Handed:
    """What a request has already that could not be answered without a task after all."""

    lease: Lease
    """It is entered; whoever takes it leaves it."""

    drop: Callable[[], None]
    """Lets go of all that it has, if nobody takes it."""

    recording: Recording | None = None
    flight: Flight | None = None
    error: Exception | None = None
    """What became of its first attempt, if there was one; nothing has been written to the client."""


class Interceptor(Protocol):
    """Answers requests without a task."""

    def wants(self, conversation: "Conversation", message: RawRequestMessage, payload: StreamReader) -> bool:
        """Tell whether such a request should be kept back until its body is here."""

    def take(self, conversation: "Conversation", message: RawRequestMessage, payload: StreamReader) -> bool:
        """Answer it, or say that this has to be done by somebody else.

        Args:
            conversation: Has what is on its way as `passing`; told by `ended`, or `hand_over`.
            message: The request.
            payload: Its body, which is whole; it is to be left as it is: see `content_of`.
        """


INTERCEPTOR = web.AppKey("INTERCEPTOR", Interceptor)
"""Where an application keeps what answers requests without a task."""


class Runner(web.AppRunner):
    """Runs an application as `web.AppRunner` does, with conversations of this kind."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)
        server.interceptor = self.app.get(INTERCEPTOR)
        return server


class Server(web.Server):
    """Makes what talks to each client."""

    interceptor: Interceptor | None = None
    """Answers requests without a task, if anything does."""

    def __call__(self) -> web.RequestHandler:
        """Talk to one more."""
        return Conversation(self, loop=self._loop, **self._kwargs)


class Conversation(web.RequestHandler):
    """Talks to one client.

    It uses what `web.RequestHandler` does not document: `_parser`, which it
    reads from; `_messages`, what was read and waits; `_waiter`, the future
    that its task waits with, and None while a request is handled;
    `_request_in_progress` and `_handler_waiter`, by which `shutdown` knows of
    such a request; `_keepalive_handle`, `_keepalive_timeout` and
    `_next_keepalive_close_time`; `_close` and `_force_close`;
    `_logging_enabled`; and of a `StreamReader` the `_buffer`.
    """

    __slots__ = ("_interceptor", "_resting", "handed", "known", "passing")

    def __init__(self, manager: Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self.passing: Passing | None = None
        """What is answered without a task at present."""

        self.known: Any = None
        """What the fast path remembers of this client from one request to the next."""

        self.handed: Handed | None = None
        """What the request has that aiohttp's task goes on with."""

        self._resting: asyncio.Future[None] | None = None
        """aiohttp's own `_waiter`, while a request is kept back or answered without its task."""

        if manager.interceptor is not None:
            self._interceptor = manager.interceptor
            self._parser = _Reading(self._parser, self, manager.interceptor)  # type: ignore[assignment]

    @property
    def busy(self) -> bool:
        """Whether a request is kept back, or answered without a task."""
        return self._resting is not None

    @property
    def logs_access(self) -> bool:
        """Whether every request is to be logged by aiohttp."""
        return self._logging_enabled

    # What is read

    def keeps_back(self, message: RawRequestMessage, payload: StreamReader) -> bool:
        """Keep a request back if it is wanted and nothing is being handled."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            return False
        if not self._interceptor.wants(self, message, payload):
            return False
        self._resting, self._waiter = waiter, None
        self._request_in_progress = True
        return True

    def give_up(self, message: RawRequestMessage, payload: StreamReader) -> None:
        """Leave to the task what was kept back."""
        self._messages.append((message, payload))
        self.rest()

    # What the fast path says

    def hand_over(self, handed: Handed, message: RawRequestMessage, payload: StreamReader) -> None:
        """Have the task go on with a request for which nothing has been written."""
        self.passing = None
        self.handed = handed
        if self.transport is None:
            self.drop_handed()
            return
        self._messages.appendleft((message, payload))
        # It is still in progress: `shutdown` is told of its end once, by the task.
        self._waiter, self._resting = self._resting, None
        self._wake_task()

    def ended(self, *, keep_alive: bool) -> None:
        """Hear that a request is answered, and whether more may come."""
        self.passing = None
        parser, transport = self._parser, self.transport
        if parser is None or transport is None:
            # The client has gone, and the task with it.
            self.rest()
            return
        parser.message_consumed()
        self.rest()
        if not keep_alive or self._close or self._force_close:
            self.close()
            transport.close()
            return
        closes_at = self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None and self._keepalive_timeout > 0:
            self._keepalive_handle = self._loop.call_at(closes_at, self._process_keepalive)
        if self._messages:
            # As reading its body would have had it done: the parser stops at so many requests, and counts
            # this one as well, so that aiohttp finds too few queued to notice, and to go on with it later.
            self.data_received(b"")
            self._wake_task()

    def drop_handed(self) -> None:
        """Let go of what nobody went on with."""
        handed, self.handed = self.handed, None
        if handed is not None:
            handed.drop()

    def rest(self) -> None:
        """Let aiohttp's task wait for requests again, if it still does."""
        self._waiter, self._resting = self._resting, None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)

    def _wake_task(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the loop and aiohttp say

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - it is aiohttp's.
        """See `web.RequestHandler`."""
        await super().shutdown(timeout)
        if self.passing is not None:
            # The connection ends only when the client has taken what waits for it, which may be never.
            self.passing.client_gone()

    def connection_lost(self, exc: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self.known = None
        if self.passing is not None:
            self.passing.client_gone()
        self.drop_handed()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if self.passing is not None:
            self.passing.go_on()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be handled, and end the connection."""
        return answer_misspoken(request, status, exc, message)


class _Reading:
    """aiohttp's parser of one connection's requests, some of which are kept back."""

    __slots__ = ("_conversation", "_feed", "_held", "_parser", "_take", "message_consumed")

    def __init__(self, parser: Any, conversation: Conversation, interceptor: Interceptor) -> None:
        self._parser = parser
        self._feed = parser.feed_data
        self.message_consumed = parser.message_consumed
        self._take = interceptor.take
        self._conversation = conversation
        self._held: Message | None = None
        """The request that is kept back until its body is here."""

    def __getattr__(self, name: str) -> Any:
        """Do everything else as the parser does."""
        return getattr(self._parser, name)

    def feed_data(self, data: bytes) -> tuple[Sequence[Message], bool, bytes]:
        """Read what has come, and return the requests that the task is to handle."""
        held = self._held
        try:
            messages, upgraded, tail = self._feed(data)
        except HttpProcessingError:
            if held is not None:
                self._held = None
                self._conversation.give_up(*held)
            raise
        if held is None:
            if len(messages) != 1 or not self._conversation.keeps_back(*messages[0]):
                return messages, upgraded, tail
            held, messages = messages[0], ()
        if not held[1].is_eof():
            self._held = held
            return messages, upgraded, tail
        self._held = None
        if not self._take(self._conversation, *held):
            self._conversation.rest()
            messages = (held, *messages)
        return messages, upgraded, tail


def content_of(payload: StreamReader) -> bytes:
    """Return all of a body that nobody has read from, and leave it to be read."""
    pieces = payload._buffer  # noqa: SLF001 - reading would have it go on as if more were wanted.
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def handed_to(request: web.Request) -> Handed | None:
    """Take what a request has already."""
    conversation = request.protocol
    if not isinstance(conversation, Conversation):
        return None
    handed, conversation.handed = conversation.handed, None
    return handed
