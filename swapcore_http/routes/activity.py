"""How is it asked what was asked, of which model, and what came of it?"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web
from attrs import evolve

from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, caller_of
from swapcore_http.routes.targets import may_see

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
    query = evolve(query, visible=await _visible(request))
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
    from swapcore_http.activity.queries import Query  # noqa: PLC0415 - few ask.

    model = request.query.get("model", "")
    query = Query(models=(model,) if model else (), visible=await _visible(request))
    return web.json_response(await _ask(request, lambda store: store.statistics(query)))


async def capture(request: web.Request) -> web.Response:
    """Show one request and its answer."""
    text = request.match_info["id"]
    try:
        number = int(text) if len(text) < 20 else -1  # noqa: PLR2004 - more digits than a number has here.
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{text[:50]!r} is no number of a request") from None
    found = request.app[CONTEXT].recorder.captures.get(number)
    if found is None or not await _is_visible(request, number):
        raise ApiError(HTTPStatus.NOT_FOUND, f"request {number} was not captured, or its capture is gone")
    return web.json_response(found.as_json(number))


async def _visible(request: web.Request) -> tuple[str, ...] | None:
    """Name the models with recorded requests that the caller may see; `None` for all."""
    context, caller = request.app[CONTEXT], caller_of(request)
    if caller.is_for_all:
        return None
    names = await _ask(request, lambda store: store.models())
    return tuple(name for name in names if may_see(context, caller, name))


async def _is_visible(request: web.Request, number: int) -> bool:
    """Tell whether the caller may see the recorded request of that number."""
    visible = await _visible(request)
    if visible is None:
        return True
    from swapcore_http.activity.queries import Query  # noqa: PLC0415 - few ask.

    query = Query(visible=visible, min_id=number, max_id=number, limit=1)
    return bool((await _ask(request, lambda store: store.find(query)))[1])


async def _ask(request: web.Request, question: Callable[["Store"], Result]) -> Result:
    from swapcore_http.activity.queries import UnreadableError  # noqa: PLC0415 - likewise.

    try:
        return await request.app[CONTEXT].recorder.ask(question)
    except UnreadableError as error:
        message = f"the record of requests cannot be read: {error}"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message) from error
