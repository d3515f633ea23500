"""What is known of a request on its way to whoever answers it?"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import define, evolve, field

from swapcore_http.activity.recording import Recording
from swapcore_http.activity.unpacking import acceptable
from swapcore_http.auth import Headers, Identity
from swapcore_http.bodies import Body
from swapcore_http.browsers import is_listed
from swapcore_http.config import Config
from swapcore_http.forward import Manner
from swapcore_http.framing import Fields
from swapcore_http.inflight import Flight, Heard
from swapcore_http.relay import Limits, Tap
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import Context
from swapcore_http.waiting.wait import Wait

if TYPE_CHECKING:
    from swapcore_http.otel import Trace

__all__ = ["Asked", "for_pages", "readable"]


@define(eq=False, repr=False)
class Asked:
    """A request that has found its model."""

    request: web.Request
    context: Context
    identity: Identity
    """Who sends it."""

    target: str
    """Path and query to ask for, encoded."""

    path: str
    """The path of these."""

    body: Body
    flight: Flight | None = field(default=None, init=False)
    """Its entry among all that are on their way, if it has one."""

    recording: Recording | None = field(default=None, init=False)
    """Listens to the answer, if it is to be remembered."""

    wait: Wait | None = field(default=None, init=False)
    """Tells the caller that it waits, if it has to and wants to know."""

    trace: "Trace | None" = field(default=None, init=False)

    def show(self, model: str) -> None:
        """Have it listed among those that are on their way to that model."""
        self.flight = self.context.inflight.begin(self.request, model, self.path, asyncio.current_task())

    def record(self, model: str, metadata: Mapping[str, Any]) -> None:
        """Have it remembered, with this."""
        context, request, body = self.context, self.request, self.body
        recorder = context.recorder
        # Larger bodies may lie on the disk, and would not be kept.
        data = body.data if body.whole and (body.length or 0) <= recorder.captures.limit else None
        recording = self.recording = recorder.begin(model, self.path, request.raw_headers, data)
        key = self.identity.caller.name
        recording.metadata = metadata if key is None else {**metadata, "key": key}
        if self.flight is not None:
            self.flight.answer = recording
        if context.tracing is not None:
            self.trace = context.tracing.begin(request.headers, request.method, recording)

    def failed(self, status: int, why: str) -> None:
        """Note what the caller is told instead of an answer, or would be."""
        if self.recording is not None:
            self.recording.failed(status, why)

    def close(self) -> None:
        """Note that it is over."""
        recording = self.recording
        if recording is not None:
            self.context.recorder.close(recording)
            if self.trace is not None:
                self.trace.end(recording)
        if self.flight is not None:
            self.context.inflight.end(self.flight)

    @property
    def begun(self) -> bool:
        """Whether an answer has begun while the caller waited."""
        return self.wait is not None and self.wait.response is not None

    async def tell(self, error: ApiError) -> web.StreamResponse:
        """End with an error the answer that has begun while the caller waited."""
        assert self.wait is not None  # noqa: S101 - an answer has begun.
        return await self.wait.fail(error)

    def cancelled_by_operator(self) -> bool:
        """Tell whether an operator has ended it, and not its client; then its task may go on."""
        task = asyncio.current_task()
        if self.flight is None or not self.flight.cancelled or task is None:
            return False
        task.uncancel()
        return True

    # How it is to be forwarded

    def manner(
        self,
        run: int,
        extra: Fields,
        limits: Limits,
        *,
        without: frozenset[bytes] = frozenset(),
        added: Fields = (),
        drain: bool = False,
        forwarded: bool = True,
    ) -> Manner:
        """Note that its turn has come, and say how it goes on.

        The answer is packed only in ways that can be unpacked, if anybody listens to it.

        Args:
            run: The number of the run that answers.
            extra: See `Manner`.
            limits: See `Manner`.
            without: Fields that are not passed on.
            added: Fields that are added.
            drain: See `Manner`.
            forwarded: See `Manner`.
        """
        recording, headers = self.recording, self.request.headers
        if recording is not None:
            if recording.forwarded is None:
                # Else it has been on its way before.
                recording.leased(run)
            accepted = readable(headers)
            if accepted:
                added = (*accepted, *added)
                without |= {b"accept-encoding"}
        extra = (*extra, *for_pages(self.context.config, headers))
        tap: Tap | None = recording
        if recording is None and self.flight is not None:
            # Who looks at it sees how far it is all the same.
            tap = self.flight.answer = Heard()
        manner = Manner(tap, extra, added, without, forwarded, limits, drain)
        if recording is not None and self.trace is not None:
            return _with_fields(manner, self.trace.leased(recording))
        return manner


def readable(headers: Headers) -> Fields:
    """Return the `Accept-Encoding` that an upstream gets in place of the client's, if that must not pass.

    An answer is packed only in ways that can be unpacked, if anybody listens to it.
    """
    accepted = headers.get("Accept-Encoding")
    if accepted is None or (kept := acceptable(accepted)) == accepted:
        return ()
    return ((b"Accept-Encoding", kept.encode("latin-1")),)


def for_pages(config: Config, headers: Headers) -> Fields:
    """Return what an answer says so that pages may read it, if there are such that may."""
    listed = config.cors_origins
    if not listed:
        return ()
    origin = headers.get("Origin")
    vary = (b"Vary", b"Origin")
    if origin is None or not is_listed(origin, listed):
        return (vary,)
    return (vary, (b"Access-Control-Allow-Origin", origin.encode(errors="surrogateescape")))


def _with_fields(manner: Manner, fields: Mapping[str, str]) -> Manner:
    """Have the upstream get these fields, in place of the client's of the same names."""
    raw = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items())
    return evolve(
        manner,
        request_extra=(*manner.request_extra, *raw),
        request_without=manner.request_without | {name.lower() for name, _ in raw},
    )
