"""How does a leased request reach its upstream, and the answer its client?

Bytes pass untouched, as they come, and no faster than the other side takes
them. An answer that breaks off is never passed on as if it had ended: before
its first byte the client is told with a 502, after it the connection is reset.
"""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from http import HTTPStatus
from typing import Final, Protocol

import anyio
from aiohttp import web
from attrs import frozen

from swapcore_http.bodies import Body
from swapcore_http.delivery import Delivery, IntoStarted, ToClient, abort
from swapcore_http.framing import Fields, Head
from swapcore_http.headers import Outgoing, request_head
from swapcore_http.relay import (
    LOSS_SHOWS_WITHIN,
    NO_LIMITS,
    DroppedError,
    Limits,
    Relay,
    SilentError,
    Switched,
    SwitchedError,
    Tap,
    UpstreamLostError,
)
from swapcore_http.responses import ApiError
from swapcore_http.upstreams import CannotConnectError, Connection, Origin, Upstreams

__all__ = [
    "MAX_FIELD",
    "PLAIN",
    "ClientGoneError",
    "CutError",
    "Leased",
    "Manner",
    "Unfit",
    "forward",
    "forward_into",
    "forward_upgrade",
]

logger = logging.getLogger(__name__)

MAX_FIELD: Final = 64 * 1024
"""Bytes that one header field, or the request line, may have."""

LARGE: Final = 256 * 1024
"""Bytes from which on a body is written piece by piece."""


class Leased(Protocol):
    """What a request needs of a lease."""

    @property
    def model(self) -> str:
        """What the upstream is called in messages."""

    @property
    def url(self) -> str:
        """The base URL at which it answers."""

    @property
    def run(self) -> int:
        """The number under which its connections are kept."""

    @property
    def cut(self) -> str | None:
        """Why it is not to be used any more, if that is so."""

    def on_cut(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with the reason when that is so."""


@frozen(eq=False, repr=False)
class Manner:
    """How a request is to be forwarded, where that differs from one to the next."""

    tap: Tap | None = None
    """Listens to the answer."""

    extra: Fields = ()
    """Fields that are added to the answer, in place of the upstream's of the same names."""

    request_extra: Fields = ()
    """Fields that are added to the request."""

    request_without: AbstractSet[bytes] = frozenset()
    """Fields of the request that are not passed on, in lower case."""

    forwarded: bool = True
    """Whether the upstream is told who the client is, in `X-Forwarded-For`."""

    limits: Limits = NO_LIMITS
    """How long the upstream may take."""

    drain: bool = False
    """Whether the upstream may finish its answer when the client has gone; the lease lasts until then."""


PLAIN: Final = Manner()


@frozen(eq=False, repr=False)
class Unfit:
    """An answer that could not be written where another had begun."""

    head: Head
    content: bytes
    """The start of its content, up to 64 KiB."""


async def forward(
    request: web.Request,
    lease: Leased,
    upstreams: Upstreams,
    *,
    target: str,
    body: Body,
    manner: Manner = PLAIN,
    after: Exception | None = None,
) -> web.StreamResponse:
    """Send a request to the run that is leased for it, and its answer to the client.

    Args:
        request: The client's request.
        lease: An entered lease. If it is cut, so is the answer.
        upstreams: The connections.
        target: Path and query to ask for, encoded, below the run's base URL.
        body: The request's body; what of it has not come yet is passed on as it comes.
        manner: What is particular about this request.
        after: What became of an attempt on an idle connection, if there was one.

    Raises:
        ApiError: the upstream did not answer.
    """
    delivery = ToClient(request, manner.extra)
    exchange = _Exchange(request, lease, upstreams, delivery, target=target, body=body, manner=manner)
    await exchange.perform(after)
    assert delivery.response is not None  # noqa: S101 - without a response there was an exception.
    return delivery.response


async def forward_into(
    started: web.StreamResponse,
    request: web.Request,
    lease: Leased,
    upstreams: Upstreams,
    *,
    target: str,
    body: Body,
    manner: Manner = PLAIN,
) -> Unfit | None:
    """Do as `forward` does, but write the answer's events after what has been written to `started`.

    The caller ends that response, and has sent nothing since that is not written out.

    Returns:
        The answer, if it is no stream of events with status 200: then nothing
        of it has been written.

    Raises:
        ApiError: the upstream did not answer.
    """
    delivery = IntoStarted(request, started)
    exchange = _Exchange(request, lease, upstreams, delivery, target=target, body=body, manner=manner)
    relay = await exchange.perform()
    if delivery.unfit is None:
        return None
    assert relay.framing.head is not None  # noqa: S101 - it was found unfit.
    return Unfit(relay.framing.head, bytes(delivery.unfit))


async def forward_upgrade(
    request: web.Request, lease: Leased, upstreams: Upstreams, *, target: str, manner: Manner = PLAIN
) -> web.StreamResponse | Switched:
    """Do as `forward` does, and pass the client's wish for another protocol on.

    Returns:
        The upstream's connection, if it switched: then nothing has been
        written to the client, and the caller carries the bytes from here on,
        as long as the lease is not cut. Otherwise the response that was relayed.

    Raises:
        ApiError: the upstream did not answer.
    """
    delivery = ToClient(request, manner.extra)
    exchange = _Exchange(
        request, lease, upstreams, delivery, target=target, body=Body.of(b""), manner=manner, upgrade=True
    )
    relay = await exchange.perform()
    if relay.switched is not None:
        return relay.switched
    assert delivery.response is not None  # noqa: S101 - without a response there was an exception.
    return delivery.response


class ClientGoneError(Exception):
    """The client is no longer interested."""


class CutError(UpstreamLostError):
    """The lease was cut; the text says why, and of which model."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(f"{model} went away: {why}")


class _Exchange:
    """One request and its answer, on one connection or, if that was stale, on a second."""

    def __init__(
        self,
        request: web.Request,
        lease: Leased,
        upstreams: Upstreams,
        delivery: Delivery,
        *,
        target: str,
        body: Body,
        manner: Manner,
        upgrade: bool = False,
    ) -> None:
        self._request = request
        self._lease = lease
        self._upstreams = upstreams
        self._target = target
        self._body = body
        self._manner = manner
        self._delivery = delivery
        self._upgrade = upgrade
        self._relay = self._make_relay()
        self._reused = False
        self._sender: asyncio.Task[None] | None = None

    async def perform(self, after: Exception | None = None) -> Relay:
        """Have the request answered.

        Args:
            after: What became of an attempt on an idle connection, if there was one.

        Raises:
            ApiError: the upstream did not answer, and nothing has been written.
        """
        try:
            self._lease.on_cut(self._cut)
            try:
                if after is not None:
                    self._reused = True
                    raise after
                if not (self._relay.over or self._send_at_once()):
                    await self._connect_and_send()
                await self._relay.finish(self._request.writer.drain)
            except (CannotConnectError, UpstreamLostError) as error:
                await self._after(error)
        except UpstreamLostError as lost:
            if not self._delivery.begun:
                raise self._not_answered(lost) from lost
            logger.warning("%s: an answer broke off: %s", self._lease.model, lost)
            abort(self._request)
        except ConnectionError:
            # Only writing to the client raises this: it has hung up, and nobody is left to be told.
            abort(self._request)
        except asyncio.CancelledError:
            # Whoever else cancels it wants an end of it.
            if self._manner.drain and self._client_gone and not self._relay.sending:
                await self._drain()
            self._break_off()
            raise
        except BaseException:
            self._break_off()
            raise
        finally:
            # Does nothing if the answer is over.
            self._relay.fail(ClientGoneError())
            if self._sender is not None:
                await self._stop_sending()
        return self._relay

    def _send_at_once(self) -> bool:
        """Send the request on an idle connection, and say whether there is one."""
        # What is not whole cannot be sent again if the upstream closes it just now.
        self._reused = self._body.whole and self._upstreams.take(self._lease.run, self._relay) is not None
        if self._reused:
            self._send()
        return self._reused

    async def _connect_and_send(self) -> None:
        lease, upstreams, relay = self._lease, self._upstreams, self._relay
        timeouts = self._manner.limits.connection
        self._reused = False
        await relay.unless_over(upstreams.connect(lease.run, lease.url, relay, timeouts))
        self._send()

    def _send(self) -> None:
        relay, lease = self._relay, self._lease
        connection = relay.connection
        if connection is None:
            # It is over already.
            return
        head = self._head(self._upstreams.origin(lease.run, lease.url))
        data = self._body.data
        if data is not None and len(data) <= LARGE:
            connection.transport.write(head + data if data else head)
            relay.asked(self._manner.limits)
        else:
            relay.sending = True
            connection.transport.write(head)
            self._sender = asyncio.ensure_future(self._send_body(connection, relay))

    async def _after(self, error: CannotConnectError | UpstreamLostError) -> None:
        """Ask again if an old connection dropped the request, and else find out what has happened.

        Raises:
            UpstreamLostError: the upstream did not answer, or not to the end.
        """
        lease = self._lease
        if isinstance(error, DroppedError) and self._reused and lease.cut is None:
            # An idle connection that the upstream closed just now: it has not seen the request.
            self._relay = self._make_relay()
            await self._stop_sending()
            try:
                await self._connect_and_send()
                await self._relay.finish(self._request.writer.drain)
            except (CannotConnectError, UpstreamLostError) as again:
                error = again
            else:
                return
        if isinstance(error, CutError | SilentError):
            raise error
        # If the upstream has died, the news of that says why. A lease that came back before it would
        # let the dead one be evicted, as if it had never failed.
        await asyncio.sleep(LOSS_SHOWS_WITHIN)
        if lease.cut is not None:
            raise CutError(lease.model, lease.cut) from error
        if isinstance(error, UpstreamLostError):
            raise error
        raise UpstreamLostError(str(error)) from error

    def _head(self, origin: Origin) -> bytes:
        request, body, manner = self._request, self._body, self._manner
        length = body.length
        self._chunked = length is None
        if length == 0 and not request.body_exists:
            length = None
        outgoing = Outgoing(
            request.method,
            self._target,
            request.raw_headers,
            client=request.remote if manner.forwarded else None,
            length=length,
            chunked=self._chunked,
            upgrade=self._upgrade,
            without=manner.request_without,
            extra=manner.request_extra,
        )
        return request_head(outgoing, host=origin.name, base=origin.base, authorization=origin.authorization)

    async def _send_body(self, connection: Connection, relay: Relay) -> None:
        try:
            async for piece in self._body.pieces():
                if piece:
                    connection.transport.write(
                        b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece
                    )
                    await connection.drain()
            if self._chunked:
                connection.transport.write(b"0\r\n\r\n")
        except ConnectionError:
            # The relay hears of it by itself, or the client has hung up, which ends it too.
            pass
        except Exception as error:  # noqa: BLE001 - it is raised again where the request is handled.
            relay.fail(error)
        else:
            relay.asked(self._manner.limits)

    async def _stop_sending(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()
            # Nobody may still be reading the client's body then.
            with anyio.CancelScope(shield=True):
                await asyncio.wait([sender])

    async def _drain(self) -> None:
        """Let the upstream finish for a client who has gone."""
        self._relay.let_go()
        with suppress(UpstreamLostError):
            await self._relay.finish(self._request.writer.drain)

    def _make_relay(self) -> Relay:
        return Relay(self._request.method, self._delivery, tap=self._manner.tap, upgrade=self._upgrade)

    def _cut(self, why: str) -> None:
        self._relay.fail(CutError(self._lease.model, why))

    @property
    def _client_gone(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _break_off(self) -> None:
        if self._delivery.begun:
            abort(self._request)

    def _not_answered(self, lost: UpstreamLostError) -> ApiError:
        model = self._lease.model
        match lost:
            case CutError():
                return ApiError(HTTPStatus.BAD_GATEWAY, str(lost))
            case SilentError():
                return ApiError(HTTPStatus.GATEWAY_TIMEOUT, f"the upstream of {model} did not answer: {lost}")
            case SwitchedError():
                message = f"the upstream of {model} switched to {lost}: that cannot pass"
                return ApiError(HTTPStatus.BAD_GATEWAY, message)
        return ApiError(HTTPStatus.BAD_GATEWAY, f"the upstream of {model} did not answer: {lost}")
