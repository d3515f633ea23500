"""How does a request that has found its model get its answer?"""

import asyncio
import logging
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web
from attrs import evolve, frozen

from swapcore_http.activity.recording import GONE, Recording
from swapcore_http.activity.unpacking import acceptable
from swapcore_http.bodies import Body
from swapcore_http.browsers import is_listed
from swapcore_http.config import ModelConfig, PeerModel
from swapcore_http.driver import RefusedError
from swapcore_http.forward import Manner, forward
from swapcore_http.framing import Fields
from swapcore_http.inflight import Flight
from swapcore_http.lease import Lease, NotUpError
from swapcore_http.relay import Limits
from swapcore_http.responses import ApiError, refusal_error, unexpected_error
from swapcore_http.routes.context import CONTEXT, IDENTITY, Context, caller_of, is_ready
from swapcore_http.selectors import Target
from swapcore_http.waiting.marked import STREAMED
from swapcore_http.waiting.wait import Wait
from swapcore_http.websockets import Loose, is_websocket

if TYPE_CHECKING:
    from swapcore_http.otel import Trace

__all__ = ["serve"]

logger = logging.getLogger(__name__)

PRIORITY, PATIENCE = "X-Swap-Priority", "X-Swap-Patience"
"""The header fields in which callers may say how they want to be treated, if the configuration lets them."""

MODEL, WAITED = "X-Swap-Model", "X-Swap-Wait-Ms"
"""The fields of an answer that say which model gave it, and how long it was waited for."""

NAMED = MODEL.encode()
NOT_WAITED = (WAITED.encode(), b"0")

CANCELLED = "the request was cancelled by an operator"

QUERIED = frozenset({"/v1/audio/voices", "/sdapi/v1/loras", "/props"})
"""Where a GET asks a model for something."""

CHAT = "/v1/chat/completions"
"""Where clients understand what a model thinks, and so can be shown how it loads."""

MAX_PRIORITY = 1000
"""What callers may make of their priority, upwards and downwards."""

MAX_SHOWN = 50
"""Characters of a wrong value that are repeated to the client."""

WHOLE = re.compile(r"[-+]?[0-9]{1,9}")
PLAIN_NAME = re.compile(r"[!-~]+")
SAFE = "!#$&'()*+,/:;=?@[]^`{|}\"<>\\"
SECONDS = re.compile(r"inf|[0-9]{1,9}(?:\.[0-9]{1,9})?")


async def serve(
    request: web.Request, who: Target, *, target: str, body: Body, recorded: Mapping[str, Any] | None = None
) -> web.StreamResponse:
    """Have that model answer the request, with a lease if it is of this machine; see `forward`.

    Args:
        request: The client's request.
        who: The id of the model, or the model of a peer.
        target: Path and query to ask it for, encoded.
        body: The request's body.
        recorded: What is to be remembered of it besides; `None` if it is not to be recorded.

    Raises:
        ApiError: the caller was refused or asked for what nobody gets, or the
            upstream did not answer.
    """
    wait = _wait(request, who, target, body) if isinstance(who, str) else None
    flight = _flight(request, who, target) if recorded is None else _begin(request, who, target)
    asked = Asked(request, target, body, wait, flight)
    try:
        try:
            return await (_answered(asked, who) if recorded is None else _recorded(asked, who, recorded))
        except asyncio.CancelledError:
            if flight is None or not flight.cancelled or flight.task is None:
                raise
            # It is not the client who has ended it, and it is to be told.
            flight.task.uncancel()
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, CANCELLED, {"x-should-retry": "false"}) from None
        finally:
            if flight is not None:
                request.app[CONTEXT].inflight.end(flight)
    except ApiError as error:
        error.headers = {MODEL: _shown(who), **error.headers}
        if wait is None or wait.response is None:
            raise
        return await wait.fail(error)
    except Exception as error:
        if wait is None or wait.response is None:
            raise
        logger.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return await wait.fail(unexpected_error(error))


async def _recorded(asked: "Asked", who: Target, metadata: Mapping[str, Any]) -> web.StreamResponse:
    request, body = asked.request, asked.body
    context = request.app[CONTEXT]
    recorder = context.recorder
    # Larger bodies may lie on the disk, and would not be kept.
    data = body.data if body.whole and (body.length or 0) <= recorder.captures.limit else None
    model = who if isinstance(who, str) else who.qualified
    recording = recorder.begin(model, asked.target.partition("?")[0], request.headers, data)
    key = caller_of(request).name
    recording.metadata = metadata if key is None else {**metadata, "key": key}
    flight = asked.flight
    if flight is not None:
        flight.recording = recording
    tracing = context.tracing
    trace = None if tracing is None else tracing.begin(request.headers, request.method, recording)
    try:
        return await _answered(evolve(asked, recording=recording, trace=trace), who)
    except ApiError as error:
        recording.failed(error.status, error.message)
        raise
    except BaseException as error:
        gone = isinstance(error, asyncio.CancelledError)
        why = CANCELLED if flight is not None and flight.cancelled else "the client hung up"
        recording.failed(GONE if gone else HTTPStatus.INTERNAL_SERVER_ERROR, why if gone else "")
        raise
    finally:
        recorder.close(recording)
        if trace is not None:
            trace.end(recording)


@frozen
class Asked:
    """A request on its way to whoever answers it."""

    request: web.Request
    target: str
    body: Body
    wait: Wait | None = None
    """Tells the caller that it waits, if that is wanted."""

    flight: Flight | None = None
    """Its entry among all that are on their way, if it has one."""

    recording: Recording | None = None
    """Listens to the answer, if it is to be remembered."""

    trace: "Trace | None" = None

    def leased(self, run: int, manner: Manner) -> Manner:
        """Note that its turn has come, and say how the upstream is to go on with its trace."""
        if self.recording is None:
            return manner
        self.recording.leased(run)
        return manner if self.trace is None else _with_fields(manner, self.trace.leased(self.recording))


async def _answered(asked: Asked, who: Target) -> web.StreamResponse:
    if isinstance(who, PeerModel):
        return await _ask_peer(asked, who)
    return await _ask_model(asked, who)


async def _ask_model(asked: Asked, model: str) -> web.StreamResponse:
    """Have a model of this machine answer, once it is its turn."""
    request, target, recording, wait = asked.request, asked.target, asked.recording, asked.wait
    context = request.app[CONTEXT]
    caller = caller_of(request)
    priority, patience = _dials(request, context, model)

    def lend() -> Lease:
        lease = context.driver.lease(
            model,
            priority=priority,
            patience=patience,
            caller=caller.name,
            share=caller.share,
            brings_up=caller.may("swap"),
        )
        if wait is not None:
            lease.meanwhile = wait
            wait.ticket = lease.ticket
        if asked.flight is not None:
            asked.flight.ticket = lease.ticket
        return lease

    config = context.config.models.get(model)
    if config is None:
        raise _gone(model)
    manner = _manner(
        request,
        recording,
        _kept_back(request, forward_auth=config.forward_auth),
        limits=_limits(context, config),
        drain=config.on_client_abort == "drain",
        extra=((NAMED, _shown(model).encode()), NOT_WAITED, *_for_pages(request)),
    )
    asked_at = context.driver.now()
    if recording is not None and priority:
        recording.metadata = {**recording.metadata, "fifo_priority": priority}
    try:
        if not is_websocket(request):
            async with lend() as lease:
                manner = asked.leased(lease.run, _waited(manner, (lease.since or asked_at) - asked_at))
                if wait is not None and wait.response is not None:
                    return await wait.answer(
                        lease, context.upstreams, target=target, body=asked.body, manner=manner
                    )
                return await forward(
                    request, lease, context.upstreams, target=target, body=asked.body, manner=manner
                )
        if config.ignore_websockets:
            return await context.tunnels.join(request, _loose(context, model), target=target, manner=manner)
        idle = context.config.websocket_idle
        return await context.tunnels.lend(request, lend, target=target, manner=manner, idle=idle)
    except RefusedError as refused:
        waited = {WAITED: str(round((context.driver.now() - asked_at) * 1000))}
        # A name for it here would be held by it, and keep the request until the garbage is looked for.
        raise refusal_error(model, refused, waited) from None
    except NotUpError:
        message = f"{model} is not up, and to have it brought up takes a key with the scope swap"
        raise ApiError(HTTPStatus.FORBIDDEN, message) from None


async def _ask_peer(asked: Asked, model: PeerModel) -> web.StreamResponse:
    """Have a peer answer, unless it did not lately."""
    request, target = asked.request, asked.target
    context = request.app[CONTEXT]
    peers, peer = context.peers, context.config.peers.get(model.peer)
    if peer is None:
        raise _gone(model.qualified)
    down = peers.down(peer.id)
    if down is not None:
        wait = math.ceil(peers.wait(down))
        message = f"the peer {peer.id} did not answer lately: {down.why}; it is asked again in {wait} s"
        raise ApiError(HTTPStatus.BAD_GATEWAY, message, {"Retry-After": str(max(1, wait))})
    stopped = {name.lower().encode() for name in request.headers if name.lower().startswith("x-forwarded-")}
    stopped |= _kept_back(request, forward_auth=peer.forward_auth)
    # Its own name, and not that which this server is known by.
    without = frozenset({*stopped, b"host"})
    named = (NAMED, _shown(model).encode())
    limits = Limits(peer.timeouts, peer.timeouts.response_header)
    manner = _manner(
        request, asked.recording, without, limits=limits, extra=(named, *_for_pages(request)), forwarded=False
    )
    if peer.api_key:
        key = peer.api_key.encode(errors="surrogateescape")
        manner = evolve(
            manner,
            request_without=manner.request_without | {b"authorization", b"x-api-key"},
            request_extra=(
                *manner.request_extra,
                (b"Authorization", b"Bearer " + key),
                (b"x-api-key", key),
            ),
        )
    # It has no run, and waits for nothing here.
    manner = asked.leased(0, manner)
    to = Loose(f"the peer {peer.id}", peer.proxy, peers.number(peer))
    try:
        if is_websocket(request):
            answer = await context.tunnels.join(request, to, target=target, manner=manner)
        else:
            answer = await forward(
                request, to, context.upstreams, target=target, body=asked.body, manner=manner
            )
    except ApiError as error:
        if error.status == HTTPStatus.BAD_GATEWAY:
            peers.failed(peer.id, str(error.__cause__ or error.message))
        raise
    peers.answered(peer.id)
    return answer


def _wait(request: web.Request, model: str, target: str, body: Body) -> Wait | None:
    """Say how the caller is told that it waits; `None` for not at all."""
    if target.partition("?")[0] not in STREAMED or request.method != "POST":
        return None
    context = request.app[CONTEXT]
    config = context.config
    shows = request.path.startswith(CHAT) and model in config.models and config.shows_loading(model)
    if not (shows or config.keep_alive_after):
        return None

    def narrates() -> bool:
        return shows and not is_ready(context, model)

    fields = {MODEL: _shown(model)}
    return Wait(request, model, context.places, body, config.keep_alive_after, narrates, fields)


def _begin(request: web.Request, who: Target, target: str) -> Flight:
    """Note that a request is on its way."""
    model = who if isinstance(who, str) else who.qualified
    return request.app[CONTEXT].inflight.begin(request, model, target.partition("?")[0])


def _flight(request: web.Request, who: Target, target: str) -> Flight | None:
    """Do so if one that is not recorded asks a model for something all the same."""
    if is_websocket(request):
        model = request.app[CONTEXT].config.models.get(who) if isinstance(who, str) else None
        if model is not None and model.ignore_websockets:
            return None
    elif request.method not in {"GET", "HEAD"} or target.partition("?")[0] not in QUERIED:
        return None
    return _begin(request, who, target)


def _waited(manner: Manner, seconds: float) -> Manner:
    """Have the answer say how long it was waited for."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return manner
    return evolve(manner, extra=(manner.extra[0], (NOT_WAITED[0], b"%d" % milliseconds), *manner.extra[2:]))


def _shown(who: Target) -> str:
    """Write a model's name so that a header field can hold it."""
    name = who if isinstance(who, str) else who.qualified
    return name if PLAIN_NAME.fullmatch(name) else quote(name, safe=SAFE)


def _gone(model: str) -> ApiError:
    """Say that a new configuration, which came while the request was read, has no such model."""
    return ApiError(HTTPStatus.NOT_FOUND, f"no model is called {model!r} any more")


def _limits(context: Context, model: ModelConfig) -> Limits:
    """Say how long that model's upstream may take."""

    def nobody_is_due() -> bool:
        snapshot = context.driver.snapshot()
        return not any(
            ticket.model != model.id and ticket.due is not None and ticket.due <= snapshot.now
            for ticket in snapshot.tickets
        )

    timeouts = model.timeouts
    return Limits(timeouts, timeouts.response_header, model.stall_timeout, nobody_is_due)


def _manner(
    request: web.Request,
    recording: Recording | None,
    without: frozenset[bytes],
    *,
    limits: Limits,
    extra: Fields,
    drain: bool = False,
    forwarded: bool = True,
) -> Manner:
    """Have the answer listened to, if anybody does, and packed only in ways that can be unpacked."""
    accepted = request.headers.get("Accept-Encoding")
    request_extra: Fields = ()
    if recording is not None and accepted is not None and (readable := acceptable(accepted)) != accepted:
        request_extra = ((b"Accept-Encoding", readable.encode("latin-1")),)
        without |= {b"accept-encoding"}
    return Manner(recording, extra, request_extra, without, forwarded, limits, drain)


def _kept_back(request: web.Request, *, forward_auth: bool) -> frozenset[bytes]:
    """Name the fields that carry a key of this server, and are not to go further."""
    return frozenset() if forward_auth else request[IDENTITY].fields


def _for_pages(request: web.Request) -> Fields:
    """Let the page that asks read the answer, if the configuration lists its origin."""
    origin = request.headers.get("Origin")
    if origin is None or not is_listed(origin, request.app[CONTEXT].config.cors_origins):
        return ()
    return ((b"Access-Control-Allow-Origin", origin.encode(errors="surrogateescape")),)


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
    run = context.driver.snapshot(tickets=False).upstream(model).run
    url = None if run is None else context.driver.url(run)
    if run is None or url is None or not is_ready(context, model):
        message = f"{model} is not ready, and an ignored websocket cannot start it (compat.ignoreWebsockets)"
        raise ApiError(HTTPStatus.CONFLICT, message)
    return Loose(model, url, run)


def _dials(request: web.Request, context: Context, model: str) -> tuple[int, float | None]:
    """Say with which priority and patience a caller arrives.

    What its key says goes before what its model says. Header fields, where
    they are believed, make neither better than the key has it.
    """
    caller = caller_of(request)
    priority = context.config.priority(model) if caller.priority is None else caller.priority
    patience = caller.patience
    if context.config.caller_headers:
        asked, wait = _asked_priority(request, priority), _asked_patience(request)
        priority = asked if caller.priority is None else min(asked, caller.priority)
        if wait is not None:
            patience = wait if caller.patience is None else max(wait, caller.patience)
    return priority, patience


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
