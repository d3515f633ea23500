"""How is the log read from elsewhere?"""

from http import HTTPStatus

from aiohttp import web

from swapcore_http.config import PeerModel
from swapcore_http.logstreams import LogStream, TooManyReadersError
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, caller_of
from swapcore_http.routes.pages import leads_to_page
from swapcore_http.routes.passthrough import find_upstream
from swapcore_http.routes.targets import refuse_unless_for

__all__ = ["routes"]

HEADERS = {
    "Content-Type": "text/plain",
    # What upstreams write is anybody's: no browser is to take it for a page, and no proxy to collect it.
    "X-Content-Type-Options": "nosniff",
    "X-Accel-Buffering": "no",
}


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/logs", history),
        web.get("/logs/stream", stream_combined),
        web.get("/logs/stream/{name:(?s:.+)}", stream),
    ]


async def history(request: web.Request) -> web.Response:
    """Show what was logged lately; people are sent to the page that goes on with it."""
    if (page := leads_to_page(request)) is not None:
        return page
    return web.Response(body=request.app[CONTEXT].logs.combined.history, headers=HEADERS)


async def stream_combined(request: web.Request) -> web.StreamResponse:
    """Show what was logged lately, and go on."""
    return await _stream(request, request.app[CONTEXT].logs.combined)


async def stream(request: web.Request) -> web.StreamResponse:
    """Show what the server, all upstreams or one model wrote lately, and go on."""
    context, caller = request.app[CONTEXT], caller_of(request)
    name = request.match_info["name"]
    if name in ("proxy", "upstream") and not caller.is_for_all:
        raise ApiError(HTTPStatus.FORBIDDEN, "the logs of all models take a key that is for all models")
    match name:
        case "proxy":
            return await _stream(request, context.logs.proxy)
        case "upstream":
            return await _stream(request, context.logs.upstream)
    path = request.rel_url.raw_path.removeprefix("/logs/stream/")
    try:
        model, _ = find_upstream(path, context.names)
    except ApiError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, error.message) from None
    if isinstance(model, PeerModel):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{model.qualified} is a peer's model, which logs over there")
    refuse_unless_for(context, caller, model)
    return await _stream(request, context.logs.of(model))


async def _stream(request: web.Request, source: LogStream) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    try:
        # From before the history is sent, so that nothing is missing between the two.
        with request.app[CONTEXT].logs.reading(source) as reader:
            past = b"" if "no-history" in request.query else source.history
            await response.prepare(request)
            if past:
                await response.write(past)
            async for data in reader.read():
                await response.write(data)
            await response.write_eof()
    except TooManyReadersError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    except ConnectionError:
        # The client has hung up.
        pass
    return response
