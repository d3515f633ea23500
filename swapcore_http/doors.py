"""Who is let in while the server ends?

Requests that are being answered are finished, and their connections closed
after that. Connections on which nothing is asked are closed at once. A request
that comes on a connection all the same is refused, by `entrance`.
"""

from aiohttp import hdrs, web
from attrs import define, field

from swapcore_http.conversation import Conversation

__all__ = ["DOORS", "Doors", "close_after"]


@define(eq=False, repr=False)
class Doors:
    """What an application lets in."""

    closed: bool = False
    """Whether nothing new is let in."""

    busy: set[web.RequestHandler] = field(factory=set)
    """The connections on which a task has a request answered."""

    def is_busy(self, connection: web.RequestHandler) -> bool:
        """Tell whether a request is being answered on that connection."""
        return connection in self.busy or (isinstance(connection, Conversation) and connection.busy)

    def close(self, server: web.Server) -> None:
        """Let nothing new in, and close the connections on which nothing is asked."""
        self.closed = True
        for connection in server.connections:
            # One that is busy must not be told so now: the rest of its request would not be read.
            if not self.is_busy(connection):
                connection.close()
                # It ends the waiting for a request, and leaves the connection as it is.
                if connection.transport is not None:
                    connection.transport.close()


DOORS = web.AppKey("DOORS", Doors)
"""Where an application keeps its `Doors`."""


async def close_after(request: web.Request, response: web.StreamResponse) -> None:
    """Have the connection closed after this answer if the doors are; for `on_response_prepare`."""
    if request.app[DOORS].closed and not isinstance(response, web.WebSocketResponse):
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"
