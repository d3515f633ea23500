"""How is somebody told at once of what happens?"""

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web

from swapcore_http.delivery import abort
from swapcore_http.news.followers import TooManyFollowersError
from swapcore_http.news.news import News
from swapcore_http.responses import ApiError

__all__ = ["NEWS", "routes"]

NEWS = web.AppKey("NEWS", News)
"""Where an application keeps its `News`."""

PIECE: Final = 16 * 1024
"""Bytes that are written at a time, so that little waits for a client that does not read."""

PATIENCE: Final = 30.0
"""Seconds after which a client that takes nothing is let go."""

QUIET: Final = 30.0
"""Seconds of silence after which a comment shows that the connection lives."""

COMMENT: Final = b":\n\n"

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "Connection": "keep-alive",
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",
}


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [web.get("/api/events", events)]


async def events(request: web.Request) -> web.StreamResponse:
    """Tell how everything stands, and then what changes."""
    response = web.StreamResponse(headers=HEADERS)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    news = request.app[NEWS]
    try:
        with news.following() as (follower, opening):
            await response.prepare(request)
            opening.reverse()
            while opening:
                await _write(response, opening.pop())
            async for piece in follower.read(QUIET):
                for each in news.standing() if piece is None else [piece or COMMENT]:
                    await _write(response, each)
            await response.write_eof()
    except TooManyFollowersError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    except TimeoutError:
        abort(request)
    except ConnectionError:
        # The client has hung up.
        pass
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write this.

    Raises:
        TimeoutError: the client takes nothing.
    """
    for start in range(0, len(data), PIECE):
        async with asyncio.timeout(PATIENCE):
            await response.write(data[start : start + PIECE])
