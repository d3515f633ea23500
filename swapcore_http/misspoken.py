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

__all__ = ["answer_misspoken"]

logger = logging.getLogger(__name__)

SHOWN: Final = 200
"""Characters of what is wrong that are told."""


def answer_misspoken(
    request: web.BaseRequest, status: int, error: BaseException | None, message: str | None
) -> web.StreamResponse:
    """Answer what cannot be handled, and have the connection end.

    Args:
        request: What there is of it.
        status: What aiohttp would answer with.
        error: What it has found, or what a handler has raised.
        message: Its words for that.
    """
    transport = request.transport
    if request.writer.output_size > 0 or transport is None:
        raise ConnectionError("an answer has begun, or nobody is there")
    if isinstance(error, HttpProcessingError):
        if isinstance(error, LineTooLong):
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
        logger.error("a request failed", exc_info=error)
        message = unexpected_error(RuntimeError()).message
    answer = raw_error(status, message)
    transport.write(answer)
    request.writer.output_size += len(answer)
    return Relayed(Head(status, HTTPStatus(status).phrase.encode(), 1, ()), keep_alive=False)
