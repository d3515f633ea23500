"""What is a client told whose request is no HTTP, or cannot be read in one way only?

aiohttp finds that out, and would answer in words and a shape of its own.
"""

import logging
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from swapcore_http.delivery import Relayed
from swapcore_http.forward import MAX_FIELD
from swapcore_http.framing import Head
from swapcore_http.responses import raw_error, unexpected_error

__all__ = ["Runner"]

logger = logging.getLogger(__name__)

SHOWN: Final = 200
"""Characters of what is wrong that are told."""


class Runner(web.AppRunner):
    """Runs an application as `web.AppRunner` does, and answers such requests in the shape of all errors."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Server(made.request_handler, request_factory=made.request_factory, **self._kwargs)


class Server(web.Server):
    """Makes what talks to each client."""

    def __call__(self) -> web.RequestHandler:
        """Talk to one more."""
        return Conversation(self, loop=self._loop, **self._kwargs)


class Conversation(web.RequestHandler):
    """Talks to one client."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be handled, and end the connection."""
        transport = request.transport
        if request.writer.output_size > 0 or transport is None:
            raise ConnectionError("an answer has begun, or nobody is there")
        if isinstance(exc, HttpProcessingError):
            if isinstance(exc, LineTooLong):
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                why = f"its first line, or a field, has more than {MAX_FIELD} bytes"
            else:
                # The lines after the first show the bytes.
                why = (message or "").strip().partition("\n")[0].rstrip(":")[:SHOWN]
                if "PRI" in why:
                    why = "it is in HTTP/2, and this server speaks HTTP/1.1"
            logger.info("%s sent what cannot be read as HTTP: %s", request.remote, why)
            message = f"the request cannot be read as HTTP: {why}"
        else:
            logger.error("a request failed", exc_info=exc)
            message = unexpected_error(RuntimeError()).message
        answer = raw_error(status, message)
        transport.write(answer)
        request.writer.output_size += len(answer)
        return Relayed(Head(status, HTTPStatus(status).phrase.encode(), 1, ()), keep_alive=False)
