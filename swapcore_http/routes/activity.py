"""How is it asked what was asked, of which model, and what came of it?"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT

if TYPE_CHECKING:
    from swapcore_http.activity.store import Store

__all__ = ["routes"]

Result = TypeVar("Result")


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/api/metrics/activity", activity),
        web.get("/api/metrics/stats", statistics),
        web.get("/api/captures/{id}", capture),
    ]


async def activity(request: web.Request) -> web.Response:
    """List recorded requests."""
    from swapcore_http.activity.queries import BadQueryError, parse_query  # noqa: PLC0415 - few ask.

    given = {name: request.query.getall(name) for name in request.query}
    try:
        query = parse_query(given)
    except BadQueryError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None
    rows, total = await _ask(request, lambda store: store.find(query))
    captures = request.app[CONTEXT].recorder.captures
    return web.json_response(
        {
            "data": [entry.as_json(number, has_capture=number in captures) for number, entry in rows],
            "page": query.page,
            "limit": query.limit,
            "total": total,
            "total_pages": -(-total // query.limit),
        }
    )


async def statistics(request: web.Request) -> web.Response:
    """Sum recorded requests up."""
    model = request.query.get("model", "")
    return web.json_response(await _ask(request, lambda store: store.statistics(model)))


async def capture(request: web.Request) -> web.Response:
    """Show one request and its answer."""
    text = request.match_info["id"]
    try:
        number = int(text) if len(text) < 20 else -1  # noqa: PLR2004 - more digits than a number has here.
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{text[:50]!r} is no number of a request") from None
    found = request.app[CONTEXT].recorder.captures.get(number)
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"request {number} was not captured, or its capture is gone")
    return web.json_response(found.as_json(number))


async def _ask(request: web.Request, question: Callable[["Store"], Result]) -> Result:
    from swapcore_http.activity.queries import UnreadableError  # noqa: PLC0415 - likewise.

    try:
        return await request.app[CONTEXT].recorder.ask(question)
    except UnreadableError as error:
        message = f"the record of requests cannot be read: {error}"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message) from error
