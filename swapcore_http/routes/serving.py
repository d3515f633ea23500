"""How does a request that has found its model get its answer?"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from swapcore_http.activity.recording import GONE
from swapcore_http.bodies import Body
from swapcore_http.config import PeerModel
from swapcore_http.conversation import Handed, handed_to
from swapcore_http.driver import RefusedError
from swapcore_http.forward import forward
from swapcore_http.lease import Lease, NotUpError
from swapcore_http.responses import ApiError, refusal_error, unexpected_error
from swapcore_http.routes.asked import Asked
from swapcore_http.routes.asking_peers import ask_peer
from swapcore_http.routes.context import IDENTITY, Context, is_ready
from swapcore_http.routes.dials import Dials, dials_of
from swapcore_http.routes.targets import gone_model
from swapcore_http.routes.ways import MODEL, NOT_WAITED, WAITED, Way, shown
from swapcore_http.selectors import Target
from swapcore_http.waiting.marked import STREAMED
from swapcore_http.waiting.wait import Wait
from swapcore_http.websockets import Loose, is_websocket

__all__ = ["HUNG_UP", "QUERIED", "cancelled", "serve"]

logger = logging.getLogger(__name__)

CANCELLED: Final = "the request was cancelled by an operator"
HUNG_UP: Final = "the client hung up"

QUERIED: Final = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")
"""Where a GET asks a model for something, and names it in its query."""

CHAT: Final = "/v1/chat/completions"
"""Where clients understand what a model thinks, and so can be shown how it loads."""


async def serve(
    request: web.Request,
    context: Context,
    who: Target,
    *,
    target: str,
    body: Body,
    recorded: Mapping[str, Any] | None = None,
) -> web.StreamResponse:
    """Have that model answer the request, with a lease if it is of this machine; see `forward`.

    Args:
        request: The client's request.
        context: The server.
        who: The id of the model, or the model of a peer.
        target: Path and query to ask it for, encoded.
        body: The request's body.
        recorded: What is to be remembered of it besides; `None` if it is not to be recorded.

    Raises:
        ApiError: the caller was refused or asked for what nobody gets, or the
            upstream did not answer.
    """
    asked = Asked(request, context, request[IDENTITY], target, target.partition("?")[0], body)
    model = who.qualified if isinstance(who, PeerModel) else who
    handed = handed_to(request)
    if handed is not None and handed.lease.model != model:
        # Another configuration has come in between.
        handed.drop()
        handed = None
    if handed is not None and handed.recording is not None:
        asked.flight, asked.recording = handed.flight, handed.recording
        if asked.flight is not None:
            asked.flight.answerer = asyncio.current_task()
    elif recorded is not None:
        asked.show(model)
        asked.record(model, recorded)
    elif _is_shown(asked, who):
        asked.show(model)
    try:
        if isinstance(who, PeerModel):
            return await ask_peer(asked, who)
        return await _ask_model(asked, who, handed)
    except ApiError as error:
        asked.failed(error.status, error.message)
        error.headers = {MODEL: shown(model), **error.headers}
        if not asked.begun:
            raise
        return await asked.tell(error)
    except asyncio.CancelledError:
        if not asked.cancelled_by_operator():
            asked.failed(GONE, HUNG_UP)
            raise
        # It is not the client who has ended it, and it is to be told.
        told = cancelled()
        asked.failed(told.status, told.message)
        told.headers = {MODEL: shown(model), **told.headers}
        if not asked.begun:
            raise told from None
        return await asked.tell(told)
    except Exception as error:
        asked.failed(HTTPStatus.INTERNAL_SERVER_ERROR, "")
        if not asked.begun:
            raise
        logger.exception("%s %s failed", request.method, request.rel_url.raw_path)
        return await asked.tell(unexpected_error(error))
    finally:
        if handed is not None:
            handed.lease.give_back()
        asked.close()


async def _ask_model(asked: Asked, model: str, handed: Handed | None) -> web.StreamResponse:
    """Have a model of this machine answer, once it is its turn, or with the lease that it has already."""
    request, context = asked.request, asked.context
    way = context.way(model)
    if way is None:
        raise gone_model(model)
    dials = dials_of(
        request.headers, asked.identity.caller, way.priority, believed=context.config.caller_headers
    )
    if dials.priority and asked.recording is not None:
        asked.recording.metadata = {**asked.recording.metadata, "fifo_priority": dials.priority}

    asked_at = context.driver.now()
    try:
        if is_websocket(request):
            return await _tunnel(asked, way, partial(_lend, asked, model, dials))
        lease = _lend(asked, model, dials) if handed is None else handed.lease
        # Holding itself, it would stay until the garbage is looked for.
        lease.meanwhile = partial(_wait, asked, way, lease.ticket)
        async with lease:
            extra = way.extra
            milliseconds = round(((lease.since or asked_at) - asked_at) * 1000)
            if milliseconds > 0:
                extra = (extra[0], (NOT_WAITED[0], b"%d" % milliseconds))
            without = asked.identity.kept_back(forward_auth=way.model.forward_auth)
            manner = asked.manner(lease.run, extra, way.limits, without=without, drain=way.drain)
            to = context.upstreams
            if asked.wait is not None and asked.begun:
                return await asked.wait.answer(lease, to, target=asked.target, body=asked.body, manner=manner)
            after = None if handed is None else handed.error
            return await forward(
                request, lease, to, target=asked.target, body=asked.body, manner=manner, after=after
            )
    except RefusedError as refused:
        waited = {WAITED: str(round((context.driver.now() - asked_at) * 1000))}
        # A name for it here would be held by it, and keep the request until the garbage is looked for.
        raise refusal_error(model, refused, waited) from None
    except NotUpError:
        message = f"{model} is not up, and to have it brought up takes a key with the scope swap"
        raise ApiError(HTTPStatus.FORBIDDEN, message) from None


def _lend(asked: Asked, model: str, dials: Dials) -> Lease:
    """Make a lease for a request, which is to be seen to wait for it."""
    lease = dials.lease(asked.context.driver, model)
    if asked.flight is not None:
        asked.flight.ticket = lease.ticket
    return lease


async def _tunnel(asked: Asked, way: Way, lend: Callable[[], Lease]) -> web.StreamResponse:
    """Have a websocket answered."""
    request, context, target = asked.request, asked.context, asked.target
    # It says that it has not waited, because its head is written before it could.
    without = asked.identity.kept_back(forward_auth=way.model.forward_auth)
    manner = asked.manner(0, way.extra, way.limits, without=without, drain=way.drain)
    if way.model.ignore_websockets:
        return await context.tunnels.join(
            request, _loose(context, way.model.id), target=target, manner=manner
        )
    idle = context.config.websocket_idle
    return await context.tunnels.lend(request, lend, target=target, manner=manner, idle=idle)


def _wait(asked: Asked, way: Way, ticket: int) -> AbstractAsyncContextManager[object]:
    """Have a caller told that it waits, if that is wanted."""
    request, context = asked.request, asked.context
    keep_alive = context.config.keep_alive_after
    shows = way.shows_loading and request.path.startswith(CHAT)
    if asked.path not in STREAMED or request.method != "POST" or not (shows or keep_alive):
        return nullcontext()
    narrates = shows and not is_ready(context, way.model.id)
    wait = asked.wait = Wait(
        request, way.model.id, ticket, context.places, asked.body, keep_alive, narrates, {MODEL: way.name}
    )
    return wait


def cancelled() -> ApiError:
    """Say that an operator has ended a request."""
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, CANCELLED, {"x-should-retry": "false"})


def _is_shown(asked: Asked, who: Target) -> bool:
    """Tell whether a request that is not recorded asks a model for something all the same."""
    if is_websocket(asked.request):
        model = asked.context.config.models.get(who) if isinstance(who, str) else None
        return model is None or not model.ignore_websockets
    return asked.request.method in {"GET", "HEAD"} and asked.path in QUERIED


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
