"""What does every request pass before its route's handler, and what becomes of what that raises?

In this order: the doors, the question that a browser asks beforehand, the gate.
It is one middleware, because each costs every request a coroutine more.
"""

import logging
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from swapcore_http.conversation import Conversation
from swapcore_http.cors import answer_preflight
from swapcore_http.doors import DOORS
from swapcore_http.driver import EngineFailedError
from swapcore_http.gate import pass_gate
from swapcore_http.responses import ApiError, error_response, unexpected_error
from swapcore_http.routes.context import CONTEXT
from swapcore_http.routes.unknown import answer_unknown

__all__ = ["enter", "go_on"]

logger = logging.getLogger(__name__)

CLOSED: Final = "the server is shutting down"

SHOWN: Final = 200
"""Characters of what a client wrote that are repeated to it."""


@web.middleware
async def enter(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have the request answered, if it may be, and turn every exception into the answer to show."""
    app = request.app
    doors = app[DOORS]
    connection = request.protocol
    if doors.closed and not (isinstance(connection, Conversation) and connection.handed is not None):
        return error_response(request, HTTPStatus.SERVICE_UNAVAILABLE, CLOSED)
    if request.method == "OPTIONS":
        return answer_preflight(request)
    doors.busy.add(connection)
    try:
        pass_gate(request, app)
        if request.match_info.http_exception is not None:
            return await answer_unknown(request, handler)
        return await handler(request)
    except ApiError as error:
        return error_response(request, error.status, error.message, error.headers)
    except web.HTTPException as error:
        return _answer_http(request, error)
    except Exception as error:
        if not isinstance(error, EngineFailedError):
            logger.exception("%s %s failed", request.method, request.rel_url.raw_path)
        told = unexpected_error(error)
        return error_response(request, told.status, told.message)
    finally:
        doors.busy.discard(connection)
        if isinstance(connection, Conversation):
            connection.drop_handed()


async def go_on(request: web.Request) -> web.StreamResponse | None:
    """Tell a client to send the body that it has announced, or refuse it what it would send that for.

    It is asked before `enter`, by aiohttp, if the request has an `Expect`.
    """
    if request.version < HttpVersion11:
        return None
    try:
        _check_announced(request, request.app)
    except ApiError as error:
        answer = error_response(request, error.status, error.message, error.headers)
        # Nobody knows whether the body comes all the same.
        answer.force_close()
        return answer
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # The answer has not begun.
    request.writer.output_size = 0
    return None


def _check_announced(request: web.Request, app: web.Application) -> None:
    """Find out whether a body that is announced should be sent.

    Raises:
        ApiError: it should not.
    """
    if app[DOORS].closed:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, CLOSED)
    pass_gate(request, app)
    expected = request.headers["Expect"]
    if expected.lower() != "100-continue":
        message = f"what is expected is {expected[:SHOWN]!r}; this server knows 100-continue"
        raise ApiError(HTTPStatus.EXPECTATION_FAILED, message)
    bodies = app[CONTEXT].bodies
    if (request.content_length or 0) > bodies.largest:
        raise bodies.too_large()


def _answer_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Give aiohttp's own exceptions our shape: plain text where no route is, the envelope elsewhere."""
    if error.status == HTTPStatus.NOT_FOUND:
        return web.Response(status=error.status, text="404 page not found\n")
    if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": error.headers.get("Allow", "")}
        return web.Response(status=error.status, headers=headers, text="Method Not Allowed\n")
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error
    return error_response(request, error.status, error.reason)
