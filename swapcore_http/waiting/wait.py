"""How does a caller who waits learn that it has not been forgotten?

A stream that has waited for a while gets comments, or from the start on what
`loading` has to say. Either begins the answer: whatever comes next, the
model's events or an error, is written after it. Who is refused at once, or
asked for no stream, gets the plain answer.
"""

import asyncio
import logging
import math
from contextlib import aclosing, suppress
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from aiohttp import web
from attrs import define, evolve, field

from swapcore_http.activity.telling import told
from swapcore_http.bodies import Body
from swapcore_http.forward import Leased, Manner, Unfit, forward_into
from swapcore_http.responses import ApiError, error_event
from swapcore_http.upstreams import Upstreams
from swapcore_http.waiting.loading import done, narrated
from swapcore_http.waiting.marked import asks_for_stream
from swapcore_http.waiting.places import Place, Places

__all__ = ["Wait"]

logger = logging.getLogger(__name__)

LEAST: Final = 0.05
"""Seconds between two comments at least, whatever the configuration says."""


@define(eq=False, repr=False)
class Wait:
    """One caller's wait, as a context manager that is entered while it waits: see `Lease.meanwhile`."""

    request: web.Request
    model: str
    """The id of the model that it waits for."""

    ticket: int
    """The number of its ticket."""

    places: Places
    """Says where it stands."""

    body: Body
    """The request's body, which says whether events are wanted."""

    keep_alive: float
    """Seconds between two comments, and before the first; 0 for none."""

    narrates: bool
    """Whether it is to be told at once what goes on."""

    fields: dict[str, str]
    """Fields of an answer that begins while it waits."""

    response: web.StreamResponse | None = field(default=None, init=False)
    """The answer, if it has begun."""

    _narrating: bool = field(default=False, init=False)
    _since: float = field(default=0.0, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    """Until then there is nothing to say; most waits are over before, and need no task."""

    _task: "asyncio.Task[None] | None" = field(default=None, init=False)

    async def __aenter__(self) -> Self:
        """Begin to wait."""
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        if self.narrates:
            self._begin()
        elif self.keep_alive:
            self._timer = loop.call_later(max(LEAST, self.keep_alive), self._begin)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say nothing more."""
        # Kept, the task and this would hold each other, and the request with its body, until the
        # garbage is looked for.
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def answer(
        self, lease: Leased, upstreams: Upstreams, *, target: str, body: Body, manner: Manner
    ) -> web.StreamResponse:
        """Go on with the model's own events; see `forward_into`.

        Raises:
            ApiError: there are none.
        """
        response = self._begun()
        if self._narrating:
            await self._write(done(asyncio.get_running_loop().time() - self._since))
        # What has begun is not packed.
        manner = evolve(
            manner,
            request_without=manner.request_without | {b"accept-encoding"},
            request_extra=tuple(
                each for each in manner.request_extra if each[0].lower() != b"accept-encoding"
            ),
        )
        unfit = await forward_into(
            response, self.request, lease, upstreams, target=target, body=body, manner=manner
        )
        if unfit is not None:
            raise _unfit_error(self.model, unfit)
        return await self._end()

    async def fail(self, error: ApiError) -> web.StreamResponse:
        """End an answer that has begun with an error."""
        await self._write(error_event(self.request.path, error.status, error.message))
        return await self._end()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._speak())

    def _begun(self) -> web.StreamResponse:
        assert self.response is not None  # noqa: S101 - the caller's duty.
        return self.response

    async def _end(self) -> web.StreamResponse:
        response = self._begun()
        with suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _speak(self) -> None:
        """Say something from time to time, without end."""
        try:
            if self.narrates and await self._is_stream():
                self._narrating = True
                async with aclosing(narrated(self.model, self._place)) as events:
                    async for event in events:
                        await self._write(event)
            elif self.keep_alive:
                await self._comment()
            while self.keep_alive:
                await asyncio.sleep(max(LEAST, self.keep_alive))
                await self._comment()
        except Exception:
            # What is said meanwhile is not worth losing the answer.
            logger.exception("telling a caller that it waits failed")

    async def _comment(self) -> None:
        if self.response is not None or await self._is_stream():
            await self._write(_comment(self._place()))

    def _place(self) -> Place | None:
        return self.places.of(self.ticket)

    async def _is_stream(self) -> bool:
        return await asks_for_stream(self.request.headers.get("Content-Type", ""), self.body)

    async def _write(self, data: bytes) -> None:
        # Who has hung up is noticed by whoever handles the request.
        with suppress(ConnectionError):
            if self.response is None:
                self.response = web.StreamResponse(headers=self._head())
                await self.response.prepare(self.request)
            await self.response.write(data)

    def _head(self) -> dict[str, str]:
        head = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        if self.request.keep_alive:
            head["Connection"] = "keep-alive"
        return head | self.fields


def _comment(place: Place | None) -> bytes:
    if place is None:
        return b": swapcore queued\n\n"
    position, seconds = place
    return b": swapcore queued %d eta %ds\n\n" % (position, math.ceil(seconds))


def _unfit_error(model: str, unfit: Unfit) -> ApiError:
    """Say what an answer says that cannot be written where events have begun."""
    head = unfit.head
    if head.status >= HTTPStatus.BAD_REQUEST:
        return ApiError(head.status, told(head.status, unfit.content))
    if head.status != HTTPStatus.OK:
        what = f"status {head.status}"
    else:
        kind = (head.get(b"content-type") or b"content of no type").decode("latin-1")[:100]
        packed = head.get(b"content-encoding")
        what = kind if packed is None else f"{kind}, packed"
    return ApiError(
        HTTPStatus.BAD_GATEWAY, f"{model} answered with {what} where a stream of events had begun"
    )
