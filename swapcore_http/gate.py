"""May this request be answered?

In this order: is the server asked by a name of its own, is a key shown where
one is needed, does no page of another origin use somebody's browser for it,
and is the key good for it. Which models it may ask is a question for later.
"""

import logging
from http import HTTPStatus

from aiohttp import web

from swapcore_http.accesslog import Sender
from swapcore_http.auth import NOBODY, Identity
from swapcore_http.browsers import foreign_origin, is_known_host, is_listed
from swapcore_http.cors import vary_by_origin
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, IDENTITY, Context
from swapcore_http.routes.needs import Effect, Need

__all__ = ["GATE", "admit", "check", "check_host", "let_pages_read", "pass_gate"]

logger = logging.getLogger(__name__)

GATE = web.AppKey("GATE", dict[web.AbstractRoute, Need])
"""Where an application keeps what its routes need."""

SHOWN = 200
"""Characters of what a client wrote that are repeated to it."""

SAFE = frozenset({"GET", "HEAD"})

NO_KEY = {"WWW-Authenticate": 'Basic realm="swapcore"'}
HOW = "Authorization: Bearer KEY, x-api-key: KEY, or Basic with the key as the password"


def pass_gate(request: web.Request, app: web.Application) -> None:
    """Find out whether the request may be answered; what no route is for passes.

    Raises:
        ApiError: it may not.
    """
    context = app[CONTEXT]
    check_host(request, context)
    need = app[GATE].get(request.match_info.route)
    if need is not None:
        admit(request, context, need)


def admit(request: web.Request, context: Context, need: Need) -> None:
    """Find out who sends a request, and note that in it, if they may do what takes that.

    Raises:
        ApiError: they may not.
    """
    identity = context.keyring.identify(request.headers)
    if identity is None:
        if need.key:
            raise _unknown(request)
        identity = NOBODY
    request[IDENTITY] = identity
    check(request, context, need, identity)


def check(request: Sender, context: Context, need: Need, identity: Identity) -> None:
    """Find out whether who sends a request may do what takes that.

    Raises:
        ApiError: they may not.
    """
    _check_page(request, context, need, identity)
    if need.key:
        _check_scope(need, identity)


def check_host(request: Sender, context: Context) -> None:
    """Find out whether a server that listens on loopback is asked by a name of its own.

    Raises:
        ApiError: it is not.
    """
    if not context.on_loopback:
        return
    for host in request.headers.getall("Host", ()):
        if not is_known_host(host, context.config.allowed_hosts):
            shown = host[:SHOWN]
            message = (
                f"{shown!r} is no name of this server, which listens on loopback; ask for localhost,"
                " or add the name to allowedHosts in the configuration"
            )
            raise ApiError(HTTPStatus.FORBIDDEN, message)


def _unknown(request: web.Request) -> ApiError:
    shown = "Authorization" in request.headers or "x-api-key" in request.headers
    what = "a key that is not known here" if shown else "no key"
    logger.info("%s shows %s: %s %r", request.remote, what, request.method, request.path[:SHOWN])
    message = f"{what} was shown, and this server wants one of its own: {HOW}"
    return ApiError(HTTPStatus.UNAUTHORIZED, message, NO_KEY)


def _check_page(request: Sender, context: Context, need: Need, identity: Identity) -> None:
    """Refuse what a page of another origin has a browser do here.

    A page that knows a key may do what that is good for. The password that a
    browser remembers is none: it is sent for whatever page asks.
    """
    if identity.spoken:
        return
    headers = request.headers
    by_referer = False
    if request.method in SAFE:
        if need.get is Effect.READS:
            return
        going = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
        if need.get is Effect.STARTS and going:
            # Somebody follows a link, and sees where it leads.
            return
        by_referer = need.get is Effect.CHANGES
    origin = foreign_origin(headers, by_referer=by_referer)
    if origin is None or is_listed(origin, context.config.cors_origins):
        return
    message = (
        f"a page of {origin[:SHOWN]} may do nothing here that starts, stops or changes something, unless the"
        " configuration has that origin in corsOrigins, or the page shows a key (apiKeys) itself"
    )
    raise ApiError(HTTPStatus.FORBIDDEN, message)


def _check_scope(need: Need, identity: Identity) -> None:
    caller = identity.caller
    if need.everything and not caller.is_full:
        raise ApiError(HTTPStatus.FORBIDDEN, "this takes a key that may do everything")
    if need.scope is not None and not caller.may(need.scope):
        raise ApiError(HTTPStatus.FORBIDDEN, f"this takes a key with the scope {need.scope}")
    if need.all_models and not caller.is_for_all:
        raise ApiError(HTTPStatus.FORBIDDEN, "this takes a key that is for all models")


async def let_pages_read(request: web.Request, response: web.StreamResponse) -> None:
    """Let pages of the origins in `corsOrigins` read this answer; for `on_response_prepare`."""
    listed = request.app[CONTEXT].config.cors_origins
    if not listed:
        return
    vary_by_origin(response)
    origin = request.headers.get("Origin")
    if origin is not None and is_listed(origin, listed):
        response.headers["Access-Control-Allow-Origin"] = origin
