"""How does a request get its answer without a task, and what if that comes to nothing?

Everything happens in callbacks: of the upstream's connection, of the client's
through its `Conversation`, of the lease. An answer that comes in one piece is
written as it comes; any other is left to a `Relay`.
"""

import asyncio
import logging
from typing import Final

from multidict import CIMultiDictProxy

from swapcore_http.activity.recording import GONE
from swapcore_http.conversation import Conversation, Handed, Message
from swapcore_http.delivery import Alone
from swapcore_http.doors import Doors
from swapcore_http.forward import ClientGoneError, CutError
from swapcore_http.framing import taken_whole
from swapcore_http.headers import Client, whole_reply
from swapcore_http.lease import Lease
from swapcore_http.relay import LOSS_SHOWS_WITHIN, Relay, SilentError, UpstreamLostError
from swapcore_http.routes.askers import Going
from swapcore_http.routes.context import Context
from swapcore_http.routes.serving import HUNG_UP, cancelled
from swapcore_http.upstreams import Connection

__all__ = ["Passage"]

logger = logging.getLogger(__name__)

CLIENT: Final = Client(1, keep_alive=True)
"""Whoever asks in this way."""


class Passage:
    """One request on its way.

    It is the `Sender` and the `Answerer` of its flight, and the `Taker` of what
    its upstream says first.

    Args:
        context: The server.
        conversation: The client's.
        request: The request, and its body as it came.
        body: What the upstream gets of it, for which there is room.
        going: How it goes to its model.
        lease: It is entered.
        doors: Whether its connection lives on.
    """

    __slots__ = (
        "_body",
        "_client_gone",
        "_connection",
        "_context",
        "_conversation",
        "_delivery",
        "_doors",
        "_flight",
        "_going",
        "_lease",
        "_over",
        "_recording",
        "_relay",
        "_request",
        "_transport",
    )

    def __init__(
        self,
        context: Context,
        conversation: Conversation,
        request: Message,
        body: bytes,
        *,
        going: Going,
        lease: Lease,
        doors: Doors,
    ) -> None:
        self._context = context
        self._conversation = conversation
        self._request = request
        self._body = body
        self._going = going
        self._lease = lease
        self._doors = doors
        self._client_gone = False
        self._over = False
        recorder = context.recorder
        kept = body if len(body) <= recorder.captures.limit else None
        recording = self._recording = recorder.begin(going.model, going.path, going.captured, kept)
        recording.metadata = going.metadata
        self._transport = conversation.transport
        self._delivery: Alone | None = None
        self._relay: Relay | None = None

    def begin(self) -> bool:
        """Send the request on an idle connection, and say whether there is one."""
        context, lease, going = self._context, self._lease, self._going
        connection = context.upstreams.take(lease.run, self)
        if connection is None:
            return False
        flight = self._flight = context.inflight.begin(self, going.model, going.path, self)
        flight.ticket = lease.ticket
        flight.answer = self._recording
        self._recording.leased(lease.run)
        lease.on_cut(self._cut)
        self._conversation.passing = self
        connection.transport.write(going.head(connection.origin, len(self._body)) + self._body)
        if going.is_limited:
            self._relayed().asked(going.way.limits)
        return True

    # What the upstream's connection says

    def connected(self, connection: Connection) -> None:
        """See `Taker`."""
        self._connection = connection

    def received(self, data: bytes) -> None:
        """See `Taker`."""
        whole = taken_whole(data)
        transport = self._transport
        if whole is None or transport is None or transport.is_closing():
            self._relayed().received(data)
            return
        head, start = whole
        content = data[start:]
        transport.write(whole_reply(head, self._going.extra) + content)
        recording = self._recording
        try:
            recording.head(head.status, head.fields)
            recording.feed(content)
            recording.end(whole=True)
        except Exception:
            logger.exception("listening to an answer failed")
        self._connection.give_back()
        self._end()

    def lost(self, error: Exception | None) -> None:
        """See `Taker`."""
        self._relayed().lost(error)

    def _relayed(self) -> Relay:
        """Leave the answer to a relay from now on."""
        relay = self._relay
        if relay is None:
            self._delivery = Alone(self._transport, CLIENT, self._going.extra)
            relay = self._relay = Relay("POST", self._delivery, tap=self._recording, turned=self._turned)
            self._connection.taker = relay
            relay.connected(self._connection)
        return relay

    # What is shown of it

    @property
    def method(self) -> str:
        """See `Sender`."""
        return self._request[0].method

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """See `Sender`."""
        return self._request[0].headers

    @property
    def remote(self) -> str | None:
        """See `Sender`."""
        return self._going.remote

    # What others say

    def go_on(self) -> None:
        """Hear that the client takes more bytes."""
        if self._relay is not None:
            self._relay.go_on()

    def client_gone(self) -> None:
        """Hear that the client has hung up."""
        if self._over:
            return
        self._client_gone = True
        relay = self._relayed()
        if relay.over:
            # It is being looked into why the answer broke off.
            return
        if self._going.way.drain:
            relay.let_go()
        else:
            relay.fail(ClientGoneError())

    def cancel(self) -> None:
        """End it, because an operator wants that."""
        if self._over:
            return
        error = cancelled()
        if self._delivery is not None and self._delivery.begun:
            self._recording.failed(error.status, error.message)
            self._break_off()
        else:
            self._hand_over(error)

    def _cut(self, why: str) -> None:
        self._relayed().fail(CutError(self._lease.model, why))

    # The end

    def _turned(self) -> None:
        """Hear that the relay is over, or that the client takes no more for now."""
        relay, delivery = self._relay, self._delivery
        if self._over or relay is None or delivery is None:
            return
        if not relay.over:
            if not self._conversation.writing_paused:
                # It takes more already, or its transport has other limits.
                asyncio.get_running_loop().call_soon(relay.go_on)
            return
        error = relay.error
        if error is None or self._client_gone:
            self._end(keep_alive=delivery.keep_alive)
        elif not delivery.begun:
            self._hand_over(error)
        elif isinstance(error, UpstreamLostError) and not isinstance(error, CutError | SilentError):
            # If the upstream has died, the news of that says why. A lease that came back before it would
            # let the dead one be evicted, as if it had never failed.
            asyncio.get_running_loop().call_later(LOSS_SHOWS_WITHIN, self._broken_off, error)
        else:
            self._broken_off(error)

    def _broken_off(self, error: Exception) -> None:
        if self._over:
            # An operator has ended it meanwhile.
            return
        if self._lease.cut is not None:
            error = CutError(self._lease.model, self._lease.cut)
        logger.warning("%s: an answer broke off: %s", self._lease.model, error)
        self._break_off()

    def _break_off(self) -> None:
        """Break the client's connection off so that it can see that the answer is not whole."""
        if self._transport is not None:
            self._transport.abort()
        self._end(keep_alive=False)

    def _end(self, *, keep_alive: bool = True) -> None:
        """Note that it is over, and whether more may come on the client's connection."""
        self._over = True
        if self._relay is not None and not self._relay.over:
            self._relay.fail(ClientGoneError())
        if self._client_gone:
            self._recording.failed(GONE, HUNG_UP)
        self._lease.give_back()
        self._context.recorder.close(self._recording)
        self._context.inflight.end(self._flight)
        self._context.bodies.give_back(len(self._body))
        # Each holds the other: they would stay until the garbage is looked for.
        del self._flight
        self._conversation.ended(keep_alive=keep_alive and not self._doors.closed)

    def _hand_over(self, error: Exception) -> None:
        """Have aiohttp's task go on with it, which can wait, and can say what went wrong."""
        self._over = True
        self._relayed().fail(ClientGoneError())
        self._context.bodies.give_back(len(self._body))
        flight = self._flight
        flight.answerer, flight.cancelled = None, False
        handed = Handed(self._lease, self._drop, self._recording, flight, error)
        self._conversation.hand_over(handed, *self._request)

    def _drop(self) -> None:
        """Let go of what was handed over to nobody."""
        self._recording.failed(GONE, HUNG_UP)
        self._lease.give_back()
        self._context.recorder.close(self._recording)
        self._context.inflight.end(self._flight)
