"""Which requests are answered without a task?

Those for a model that is ready and takes the caller in at once, from a client
that may ask it and keeps its connection, with a small body that passes as it
is. They are most of all requests. Everything else is left to `inference`,
which answers these as well where a `Passage` comes to nothing.
"""

from typing import Final

from aiohttp import HttpVersion11, StreamReader
from aiohttp.http_parser import RawRequestMessage

from swapcore_http.conversation import Conversation, Handed
from swapcore_http.doors import Doors
from swapcore_http.extract import plain_name
from swapcore_http.routes.askers import Asker, but_for_length
from swapcore_http.routes.context import Context
from swapcore_http.routes.inference import LARGE, PATHS
from swapcore_http.routes.passage import Passage, again

__all__ = ["FastPath"]

EVERY: Final = frozenset(PATHS)


class FastPath:
    """Answers such requests of one server; see `conversation.Interceptor`.

    Args:
        context: The server.
        doors: Whether it is closed.
    """

    def __init__(self, context: Context, doors: Doors) -> None:
        self._context = context
        self._doors = doors

    def is_open(self) -> bool:
        """See `Interceptor`."""
        return not self._doors.closed

    def wants(self, conversation: Conversation, message: RawRequestMessage) -> bool:
        """See `Interceptor`."""
        if (
            message.path not in EVERY
            or message.method != "POST"
            or message.upgrade
            or message.should_close
            or message.chunked
            or message.compression
            or message.version != HttpVersion11
        ):
            return False
        context = self._context
        if not 0 < _length(message) <= min(LARGE, context.bodies.largest):
            return False
        if self._doors.closed or context.tracing is not None or conversation.logs_access:
            return False
        fields = but_for_length(message.raw_headers)
        known = conversation.known
        if known is None or known.fields != fields or known.config is not context.config:
            peer = conversation.peername
            remote = str(peer[0]) if isinstance(peer, tuple) else peer
            known = conversation.known = Asker.of(message, fields, remote, context)
        return known is not None

    def take(
        self, conversation: Conversation, message: RawRequestMessage, payload: StreamReader
    ) -> StreamReader | None:
        """See `Interceptor`."""
        context, asker = self._context, conversation.known
        body = payload.read_nowait()
        name = plain_name(body)
        way = None if name is None else context.plain_way(name)
        if way is None:
            return again(conversation, body)
        going = asker.to(way, message.path)
        if going is None or not context.driver.lets_in(way.model.id) or not context.bodies.take(len(body)):
            return again(conversation, body)
        caller = asker.identity.caller
        lease = context.driver.lease(
            way.model.id,
            priority=going.priority,
            patience=going.patience,
            caller=caller.name,
            share=caller.share,
            brings_up=caller.may("swap"),
        )
        lease.take()
        passage = Passage(context, conversation, message, body, going=going, lease=lease)
        if passage.begin():
            return None
        conversation.handed = Handed(lease, drop=lease.give_back)
        return again(conversation, body)


def _length(message: RawRequestMessage) -> int:
    # aiohttp has seen to it that this is a number.
    return int(message.headers.get("Content-Length", 0))
