"""Which requests are answered without a task?

Those for a model that is ready and takes the caller in at once, from a client
that may ask it and keeps its connection, with a small body. They are most of
all requests. Everything else is left to `inference`, which answers these as
well where a `Passage` comes to nothing.
"""

from typing import Final

from aiohttp import HttpVersion11, StreamReader
from aiohttp.http_parser import RawRequestMessage

from swapcore_http.config import Config
from swapcore_http.conversation import Conversation, Handed, content_of
from swapcore_http.doors import Doors
from swapcore_http.extract import plain_name
from swapcore_http.filters import changed
from swapcore_http.routes.askers import Asker
from swapcore_http.routes.context import Context
from swapcore_http.routes.inference import LARGE, PATHS
from swapcore_http.routes.passage import Passage

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
        self._config = context.config
        context.present.on_replaced(self._follow)

    def wants(self, conversation: Conversation, message: RawRequestMessage, payload: StreamReader) -> bool:
        """See `Interceptor`."""
        path = message.path
        if path not in EVERY and path.partition("?")[0] not in EVERY:
            return False
        if message.method != "POST" or message.version != HttpVersion11:
            return False
        if self._doors.closed or self._context.tracing is not None or conversation.logs_access:
            return False
        known: Asker | None = conversation.known
        if known is None or known.config is not self._config or not known.sends(message.raw_headers):
            known = conversation.known = self._asker(conversation, message)
        if not known.is_usual:
            return False
        size = payload.total_bytes if payload.is_eof() else int(message.headers.get("Content-Length", 0))
        return 0 < size <= LARGE and size <= self._context.bodies.largest

    def take(self, conversation: Conversation, message: RawRequestMessage, payload: StreamReader) -> bool:
        """See `Interceptor`."""
        context, asker = self._context, conversation.known
        body = content_of(payload)
        name = plain_name(body)
        meant = None if name is None else context.settled(name)
        going = None if meant is None else asker.to(meant.way, message)
        if meant is None or going is None:
            return False
        sent = body if meant.changes is None else changed(body, meant.changes)
        if sent is None or not context.bodies.take(len(sent)):
            return False
        lease = going.lend(context.driver)
        if lease is None:
            context.bodies.give_back(len(sent))
            return False
        try:
            passage = Passage(
                context, conversation, (message, payload), sent, going=going, lease=lease, doors=self._doors
            )
            begun = passage.begin()
        except BaseException:
            lease.give_back()
            raise
        if not begun:
            # It takes a new connection.
            context.bodies.give_back(len(sent))
            conversation.handed = Handed(lease, lease.give_back)
        return begun

    def _follow(self, config: Config) -> None:
        self._config = config

    def _asker(self, conversation: Conversation, message: RawRequestMessage) -> Asker:
        """Find out who sends a request."""
        peer = conversation.peername
        return Asker.of(message, str(peer[0]) if isinstance(peer, tuple) else peer, self._context)
