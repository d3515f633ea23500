"""How does a caller learn that it is not served, and why?

Every error that is ours has one envelope, in the form that the caller's
`Accept` asks for, and on the paths of Anthropic's API the one of that API.
What upstreams answer never comes through here.
"""

import html
import json
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import assert_never

from aiohttp import web

from swapcore import Refusal
from swapcore_http.driver import EngineFailedError, RefusedError

__all__ = ["ApiError", "error_event", "error_response", "raw_error", "refusal_error", "unexpected_error"]

SOURCE = "swapcore"

_KINDS = {
    HTTPStatus.BAD_REQUEST: ("invalid_request_error", "bad_request"),
    HTTPStatus.UNAUTHORIZED: ("authentication_error", "unauthorized"),
    HTTPStatus.FORBIDDEN: ("authentication_error", "forbidden"),
    HTTPStatus.NOT_FOUND: ("invalid_request_error", "not_found"),
    HTTPStatus.CONFLICT: ("invalid_request_error", "conflict"),
    HTTPStatus.TOO_MANY_REQUESTS: ("rate_limit_error", "rate_limit_exceeded"),
    HTTPStatus.BAD_GATEWAY: ("server_error", "bad_gateway"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("server_error", "service_unavailable"),
    HTTPStatus.GATEWAY_TIMEOUT: ("server_error", "gateway_timeout"),
    HTTPStatus.LOOP_DETECTED: ("server_error", "loop_detected"),
}
"""The `type` and `code` of the envelope, by status."""

_ANTHROPIC = re.compile(r"(?:/v1|^/v)/messages(?:/count_tokens)?$")
"""Where clients expect the errors of Anthropic's API, also behind `/upstream/<model>`."""

_RESPONSES = re.compile(r"(?:/v1|^/v)/responses$")
"""Where events have their type in them, as those of OpenAI's Responses API do."""

_ANTHROPIC_KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
}
"""The `type` of such an error, by status."""


class ApiError(Exception):
    """A request cannot be answered as asked, and this is what its caller is told."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


def refusal_error(model: str, refused: RefusedError, headers: Mapping[str, str] | None = None) -> ApiError:
    """Say in HTTP that the engine refused a caller of that model, and why; `headers` are added."""
    error = _refusal_error(model, refused)
    error.headers = {**(headers or {}), **error.headers}
    return error


def _refusal_error(model: str, refused: RefusedError) -> ApiError:
    match refused.refusal:
        case Refusal.UNKNOWN_MODEL:
            return ApiError(HTTPStatus.NOT_FOUND, refused.detail or f"no model is called {model!r}")
        case Refusal.START_FAILED:
            # Clients that repeat a 502 by themselves would start it again and again.
            headers = {"x-should-retry": "false"}
            return ApiError(HTTPStatus.BAD_GATEWAY, f"starting {model} failed: {refused.detail}", headers)
        case Refusal.UNLOADED:
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, refused.detail or f"{model} was unloaded")
        case Refusal.SHUTTING_DOWN:
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, refused.detail or "the server is shutting down")
        case Refusal.STUCK:
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, refused.detail or f"there is no room for {model}")
        case Refusal.CANNOT_FIT:
            return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, refused.detail or f"{model} can never fit")
        case Refusal.QUEUE_FULL:
            detail = refused.detail or "too many requests wait"
            return ApiError(HTTPStatus.TOO_MANY_REQUESTS, detail, _retry_after(refused))
        case Refusal.COOLING_DOWN:
            detail = refused.detail or f"{model} failed lately"
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, _retry_after(refused))
        case _:
            assert_never(refused.refusal)


def unexpected_error(error: Exception) -> ApiError:
    """Say in HTTP that we have failed, which only the log says more about."""
    if isinstance(error, EngineFailedError):
        message = "the server has failed and is ending; its log says why"
    else:
        message = "internal error; the server's log says more"
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message)


def _retry_after(refused: RefusedError) -> dict[str, str]:
    """Say when to ask again, in whole seconds and never at once."""
    return {"Retry-After": str(max(1, math.ceil(refused.retry_after or 0)))}


def error_response(
    request: web.BaseRequest, status: int, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Make the error envelope in the form that the request accepts: text, HTML, otherwise JSON.

    A 429 is always JSON: it is for programs, which are to come again.
    """
    accepted = ",".join(request.headers.getall("Accept", ())).lower()
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        accepted = ""
    if "text/plain" in accepted:
        kind, text = "text/plain", f"{SOURCE}: {message}\n"
    elif "text/html" in accepted:
        kind, text = "text/html", _page(status, message)
    else:
        anthropic = _ANTHROPIC.search(request.path)
        kind, text = "application/json", (_anthropic if anthropic else _envelope)(status, message)
    # Names that clients send can hold lone surrogates, which no encoding but JSON's escapes can write.
    body = text.encode(errors="backslashreplace")
    charset = None if kind == "application/json" else "utf-8"
    return web.Response(status=status, body=body, headers=headers, content_type=kind, charset=charset)


def raw_error(status: int, message: str, *fields: str) -> bytes:
    """Write the error envelope as an answer for who is not read from any more, with these fields besides."""
    content = _envelope(status, message).encode()
    lines = (
        f"HTTP/1.1 {status:d} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        *fields,
        "Connection: close\r\n\r\n",
    )
    return "\r\n".join(lines).encode() + content


def error_event(path: str, status: int, message: str) -> bytes:
    """Make the event that tells a stream's client of an error, in the shape of the API of that path.

    Args:
        path: What the client has asked for, without the query.
        status: The status that it would have been told.
        message: What went wrong.
    """
    if _ANTHROPIC.search(path):
        return b"event: error\ndata: %b\n\n" % _anthropic(status, message).encode()
    if _RESPONSES.search(path):
        error = _error(status, message)
        event = {**error, "type": "error", "sequence_number": 0, "error": error}
        return b"event: error\ndata: %b\n\n" % json.dumps(event).encode()
    return b"data: %b\n\n" % _envelope(status, message).encode()


def _envelope(status: int, message: str) -> str:
    return json.dumps({"src": SOURCE, "error": _error(status, message)})


def _error(status: int, message: str) -> dict[str, str | None]:
    if status in _KINDS:
        kind, code = _KINDS[HTTPStatus(status)]
    elif HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        kind, code = "invalid_request_error", "invalid_request"
    else:
        kind, code = "server_error", "internal_error"
    return {"message": message, "type": kind, "param": None, "code": code}


def _anthropic(status: int, message: str) -> str:
    server = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = _ANTHROPIC_KINDS.get(HTTPStatus(status), "api_error" if server else "invalid_request_error")
    return json.dumps({"type": "error", "src": SOURCE, "error": {"type": kind, "message": message}})


def _page(status: int, message: str) -> str:
    title = f"{status} {HTTPStatus(status).phrase}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body><h1>{title}</h1><pre>{SOURCE}: {html.escape(message)}</pre></body></html>\n"
    )
