"""How does a request that has found its model get its answer?"""

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import evolve

from swapcore_http.activity.recording import GONE, Recording
from swapcore_http.activity.unpacking import acceptable
from swapcore_http.bodies import Body
from swapcore_http.config import ModelConfig
from swapcore_http.driver import RefusedError
from swapcore_http.forward import Manner, forward
from swapcore_http.lease import Lease
from swapcore_http.relay import Limits
from swapcore_http.responses import ApiError, refusal_error
from swapcore_http.routes.context import CONTEXT, Context, is_ready
from swapcore_http.websockets import Loose, is_websocket

if TYPE_CHECKING:
    from swapcore_http.otel import Trace

__all__ = ["serve"]

PRIORITY, PATIENCE = "X-Swap-Priority", "X-Swap-Patience"
"""The header fields in which callers may say how they want to be treated, if the configuration lets them."""

MAX_PRIORITY = 1000
"""What callers may make of their priority, upwards and downwards."""

MAX_SHOWN = 50
"""Characters of a wrong value that are repeated to the client."""

WHOLE = re.compile(r"[-+]?[0-9]{1,9}")
SECONDS = re.compile(r"inf|[0-9]{1,9}(?:\.[0-9]{1,9})?")


async def serve(
    request: web.Request, model: str, *, target: str, body: Body, recorded: Mapping[str, Any] | None = None
) -> web.StreamResponse:
    """Lease that model and have it answer the request; see `forward`.

    Args:
        request: The client's request.
        model: The id of the model.
        target: Path and query to ask it for, encoded.
        body: The request's body.
        recorded: What is to be remembered of it besides; `None` if it is not to be recorded.

    Raises:
        ApiError: the caller was refused or asked for what nobody gets, or the
            upstream did not answer.
    """
    context = request.app[CONTEXT]
    if recorded is None:
        return await _serve(request, model, target, body)
    recorder = context.recorder
    # Larger bodies may lie on the disk, and would not be kept.
    asked = body.data if body.whole and (body.length or 0) <= recorder.captures.limit else None
    recording = recorder.begin(model, target.partition("?")[0], request.headers, asked)
    recording.metadata = recorded
    tracing = context.tracing
    trace = None if tracing is None else tracing.begin(request.headers, request.method, recording)
    try:
        return await _serve(request, model, target, body, recording=recording, trace=trace)
    except ApiError as error:
        recording.failed(error.status, error.message)
        raise
    except BaseException as error:
        gone = isinstance(error, asyncio.CancelledError)
        recording.failed(
            GONE if gone else HTTPStatus.INTERNAL_SERVER_ERROR, "the client hung up" if gone else ""
        )
        raise
    finally:
        recorder.close(recording)
        if trace is not None:
            trace.end(recording)


async def _serve(
    request: web.Request,
    model: str,
    target: str,
    body: Body,
    *,
    recording: Recording | None = None,
    trace: "Trace | None" = None,
) -> web.StreamResponse:
    """Have it answered, and have the answer listened to."""
    context = request.app[CONTEXT]
    priority, patience = context.config.priority(model), None
    if context.config.caller_headers:
        priority, patience = _asked_priority(request, priority), _asked_patience(request)

    def lend() -> Lease:
        return context.driver.lease(model, priority=priority, patience=patience)

    config = context.config.models[model]
    manner = _manner(request, recording, config.on_client_abort == "drain", _limits(context, config))
    if recording is not None and priority:
        recording.metadata = {**recording.metadata, "fifo_priority": priority}
    try:
        if not is_websocket(request):
            async with lend() as lease:
                if recording is not None:
                    recording.leased(lease.run)
                    if trace is not None:
                        manner = _with_fields(manner, trace.leased(recording))
                return await forward(
                    request, lease, context.upstreams, target=target, body=body, manner=manner
                )
        if config.ignore_websockets:
            return await context.tunnels.join(request, _loose(context, model), target=target, manner=manner)
        idle = context.config.websocket_idle
        return await context.tunnels.lend(request, lend, target=target, manner=manner, idle=idle)
    except RefusedError as refused:
        raise refusal_error(model, refused) from None


def _limits(context: Context, model: ModelConfig) -> Limits:
    """Say how long that model's upstream may take."""

    def nobody_is_due() -> bool:
        snapshot = context.driver.snapshot()
        return not any(
            ticket.model != model.id and ticket.due is not None and ticket.due <= snapshot.now
            for ticket in snapshot.tickets
        )

    timeouts = model.timeouts
    return Limits(timeouts.connect, timeouts.response_header, model.stall_timeout, nobody_is_due)


def _manner(request: web.Request, recording: Recording | None, drain: bool, limits: Limits) -> Manner:  # noqa: FBT001
    """Have the answer listened to, if anybody does, and packed only in ways that can be unpacked."""
    accepted = request.headers.get("Accept-Encoding")
    if recording is None or accepted is None or (readable := acceptable(accepted)) == accepted:
        return Manner(tap=recording, limits=limits, drain=drain)
    return Manner(
        tap=recording,
        request_extra=((b"Accept-Encoding", readable.encode("latin-1")),),
        request_without=frozenset({b"accept-encoding"}),
        limits=limits,
        drain=drain,
    )


def _with_fields(manner: Manner, fields: Mapping[str, str]) -> Manner:
    """Have the upstream get these fields, in place of the client's of the same names."""
    raw = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items())
    return evolve(
        manner,
        request_extra=(*manner.request_extra, *raw),
        request_without=manner.request_without | {name.lower() for name, _ in raw},
    )


def _loose(context: Context, model: str) -> Loose:
    """Find that model's run, for a websocket that may not start it.

    Raises:
        ApiError: it is not ready.
    """
    run = context.driver.snapshot().upstream(model).run
    url = None if run is None else context.driver.url(run)
    if run is None or url is None or not is_ready(context, model):
        message = f"{model} is not ready, and an ignored websocket cannot start it (compat.ignoreWebsockets)"
        raise ApiError(HTTPStatus.CONFLICT, message)
    return Loose(model, url, run)


def _asked_priority(request: web.Request, default: int) -> int:
    text = request.headers.get(PRIORITY)
    if text is None:
        return default
    if not WHOLE.fullmatch(text) or abs(int(text)) > MAX_PRIORITY:
        raise _bad(PRIORITY, text, f"a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    return int(text)


def _asked_patience(request: web.Request) -> float | None:
    text = request.headers.get(PATIENCE)
    if text is None:
        return None
    if not SECONDS.fullmatch(text):
        raise _bad(PATIENCE, text, "seconds, 0 or more, or inf")
    return float(text)


def _bad(field: str, text: str, expected: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, f"{field} is {text[:MAX_SHOWN]!r}; expected {expected}")
