"""How does a leased request reach its upstream, and the answer its client?

Bytes pass untouched, as they come, and no faster than the other side takes
them. An answer that breaks off is never passed on as if it had ended: before
its first byte the client is told with a 502, after it the connection is reset.
"""

import base64
import logging
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp
import anyio
from aiohttp import HttpVersion11, web
from attrs import define, frozen
from multidict import CIMultiDict
from yarl import URL

from swapcore_http.bodies import Body
from swapcore_http.driver import Lease
from swapcore_http.headers import for_client, for_upstream
from swapcore_http.responses import ApiError

__all__ = ["MAX_FIELD", "Sessions", "forward", "keep_fields", "open_sessions"]

logger = logging.getLogger(__name__)

IDLE = 3.0
"""Seconds that an idle connection is kept: less than the 5 of llama-server and vLLM, who close it then."""

CONNECT_TIMEOUT = 30.0
"""Seconds that connecting to an upstream may take; it is ready, so this is a network gone away."""

LOSS_SHOWS_WITHIN = 0.05
"""Seconds to wait, after an upstream closed a connection, for the news that it has died."""

MAX_FIELD = 64 * 1024
"""Bytes that one header field, or the request line, may have."""

MAX_SHOWN = 200
"""Characters of what an upstream has said that are repeated to the client."""

LARGE = 256 * 1024
"""Bytes from which on a body is written piece by piece."""


@frozen
class Sessions:
    """The client's side of the server: connections to all upstreams."""

    kept: aiohttp.ClientSession
    """Uses its connections again."""

    fresh: aiohttp.ClientSession
    """Opens a new connection for each request."""


class UpstreamLostError(Exception):
    """The upstream does not answer, or not to the end."""


class DroppedError(aiohttp.ClientError):
    """The upstream ended a connection before its answer began."""

    def __init__(self, *, unanswered: bool) -> None:
        super().__init__("the connection was closed before the answer began")
        self.unanswered = unanswered
        """Whether not a single byte of an answer came."""


@define
class Attempt:
    """What is known about sending a request once."""

    reused: bool = False
    """Whether it went out on a connection that had served before."""


@frozen
class Outgoing:
    """A request as its upstream is to get it."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: Body


class ForwardedResponse(web.StreamResponse):
    """An upstream's answer, whose header fields are the upstream's own."""

    passed: CIMultiDict[str]
    """The fields as they are to reach the client."""


@asynccontextmanager
async def open_sessions() -> AsyncIterator[Sessions]:
    """Open the sessions that `forward` needs, and close them at the end."""
    async with _session(force_close=False) as kept, _session(force_close=True) as fresh:
        yield Sessions(kept, fresh)


async def keep_fields(_: web.Request, response: web.StreamResponse) -> None:
    """Take back the header fields that aiohttp adds; a handler for `on_response_prepare`."""
    kept = response.passed if isinstance(response, ForwardedResponse) else ("Content-Type",)
    for name in ("Content-Type", "Server"):
        if name not in kept:
            response.headers.popall(name, None)


async def forward(
    request: web.Request, lease: Lease, sessions: Sessions, *, target: str, body: Body
) -> web.StreamResponse:
    """Send a request to the run that is leased for it, and its answer to the client.

    Args:
        request: The client's request.
        lease: An entered lease. If it is cut, so is the answer.
        sessions: See `open_sessions`.
        target: Path and query to ask for, encoded, below the run's base URL.
        body: The request's body; what of it has not come yet is passed on as it comes.

    Raises:
        ApiError: the upstream did not answer.
    """
    headers = for_upstream(request.headers, request.remote)
    if body.length:
        # It came in chunks, or its model was renamed: either way this is its length now.
        headers["Content-Length"] = str(body.length)
    url = _without_user(URL(lease.url.rstrip("/") + target, encoded=True), headers)
    outgoing = Outgoing(request.method, url, headers, body)
    response: ForwardedResponse | None = None
    try:
        with _unless_cut(lease):
            upstream = await _ask(outgoing, lease, sessions)
            try:
                if upstream.status == HTTPStatus.SWITCHING_PROTOCOLS:
                    # Passed on, both sides would wait for bytes that nobody carries.
                    protocol = upstream.headers.get("Upgrade", "another protocol")[:MAX_SHOWN]
                    message = f"the upstream of {lease.model} switched to {protocol}: that cannot pass"
                    raise ApiError(HTTPStatus.BAD_GATEWAY, message)
                response = _response_to(request, upstream)
                await _pour(request, upstream, response)
            finally:
                # Does nothing if the answer was read to its end: then the connection is in its pool again.
                upstream.close()
    except UpstreamLostError as lost:
        if response is None:
            raise ApiError(HTTPStatus.BAD_GATEWAY, str(lost)) from lost
        logger.warning("%s: an answer broke off: %s", lease.model, lost)
        _abort(request)
    except ConnectionError:
        # Only writing to the client raises this: it has hung up, and nobody is left to be told.
        _abort(request)
    except BaseException:
        if response is not None:
            _abort(request)
        raise
    assert response is not None  # noqa: S101 - without a response there was an exception.
    return response


def _abort(request: web.BaseRequest) -> None:
    """Break off the client's connection so that it can see that the answer is not whole."""
    transport = request.transport
    if transport is None:
        return
    if request.version < HttpVersion11 and (sock := transport.get_extra_info("socket")) is not None:
        # The end of the connection may be the end of the body here, so only a reset tells them apart.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@contextmanager
def _unless_cut(lease: Lease) -> Iterator[None]:
    """Leave the block with `UpstreamLostError` as soon as the lease is cut."""
    with anyio.CancelScope() as scope:
        lease.on_cut(lambda _: scope.cancel())
        yield
    if scope.cancelled_caught:
        raise UpstreamLostError(f"{lease.model} went away: {lease.cut}")


# The request --------------------------------------------------------------------


def _without_user(url: URL, headers: CIMultiDict[str]) -> URL:
    """Take user and password out of the URL; they are sent unless the client has credentials of its own."""
    if url.raw_user is None and url.raw_password is None:
        return url
    credentials = base64.b64encode(f"{url.user or ''}:{url.password or ''}".encode()).decode()
    headers.setdefault("Authorization", f"Basic {credentials}")
    return url.with_user(None)


async def _ask(outgoing: Outgoing, lease: Lease, sessions: Sessions) -> aiohttp.ClientResponse:
    """Send the request, a second time if an old connection dropped it, and wait for the answer's head."""
    whole = outgoing.body.whole
    attempt = Attempt()
    try:
        try:
            return await _send(sessions.kept if whole else sessions.fresh, outgoing, attempt)
        except DroppedError as dropped:
            # An idle connection that the upstream closed just now: it has not seen the request.
            if not (whole and dropped.unanswered and attempt.reused and lease.cut is None):
                raise
            return await _send(sessions.fresh, outgoing, Attempt())
    except aiohttp.ClientError as error:
        # If the upstream has died, the cut that ends this wait says why.
        await anyio.sleep(LOSS_SHOWS_WITHIN)
        raise UpstreamLostError(f"the upstream of {lease.model} did not answer: {_why(error)}") from error


def _why(error: aiohttp.ClientError) -> str:
    """Say in one line what went wrong, without the garbage that the upstream has sent."""
    if not isinstance(error, aiohttp.ClientResponseError):
        return str(error)
    line, _, _ = error.message.partition("\n")
    return line.rstrip(":")[:MAX_SHOWN]


async def _send(
    session: aiohttp.ClientSession, outgoing: Outgoing, attempt: Attempt
) -> aiohttp.ClientResponse:
    data = outgoing.body.data
    return await session.request(
        outgoing.method,
        outgoing.url,
        data=outgoing.body.pieces() if data is None or len(data) > LARGE else data or None,
        headers=outgoing.headers,
        allow_redirects=False,
        trace_request_ctx=attempt,
    )


# The answer ---------------------------------------------------------------------


def _response_to(request: web.Request, upstream: aiohttp.ClientResponse) -> ForwardedResponse:
    passed = for_client(upstream.headers)
    response = ForwardedResponse(status=upstream.status, reason=upstream.reason, headers=passed)
    response.passed = passed
    if request.version < HttpVersion11 and "Content-Length" not in passed:
        # Only the end of the connection can end this body.
        response.force_close()
    return response


async def _pour(request: web.Request, upstream: aiohttp.ClientResponse, response: ForwardedResponse) -> None:
    """Pass on the answer, each piece when it comes."""
    await response.prepare(request)
    while piece := await _read(upstream):
        await response.write(piece)
    if _ends_with_connection(upstream):
        # Its end and its upstream's death look alike: if it has died, the cut ends this wait.
        await anyio.sleep(LOSS_SHOWS_WITHIN)
    await response.write_eof()


async def _read(upstream: aiohttp.ClientResponse) -> bytes:
    try:
        return await upstream.content.readany()
    except (aiohttp.ClientError, OSError) as error:
        raise UpstreamLostError(str(error)) from error


def _ends_with_connection(upstream: aiohttp.ClientResponse) -> bool:
    """Whether nothing but the end of the connection says that the answer is whole."""
    return not (
        upstream.method == "HEAD"
        or upstream.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
        or "Content-Length" in upstream.headers
        or "chunked" in upstream.headers.get("Transfer-Encoding", "").lower()
    )


# The sessions -------------------------------------------------------------------


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            limit_per_host=0,
            force_close=force_close,
            keepalive_timeout=None if force_close else IDLE,
        ),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        max_field_size=MAX_FIELD,
        max_line_size=MAX_FIELD,
        middlewares=[_send_once],
        # What the client did not say, we do not say in its name.
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
        trace_configs=[trace],
    )


async def _note_reuse(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionReuseconnParams
) -> None:
    attempt: Attempt = context.trace_request_ctx
    attempt.reused = True


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating a dropped request by itself: `_ask` does that, once, where it is safe."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except aiohttp.ServerDisconnectedError as error:
        # The message is aiohttp's own text unless a part of an answer has come.
        raise DroppedError(unanswered=isinstance(error.message, str)) from error
    except (aiohttp.ClientOSError, aiohttp.ClientConnectionResetError) as error:
        raise DroppedError(unanswered=True) from error
