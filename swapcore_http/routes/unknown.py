"""What becomes of a request whose path is none of ours?

A path that only needs tidying up is sent to the tidy one. A POST or a websocket
that names a model which there is goes to that model, so that an API that is
newer than this server needs no new release of it. All others find nothing.
"""

import posixpath
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from swapcore_http.gate import admit
from swapcore_http.routes import inference
from swapcore_http.routes.context import CONTEXT
from swapcore_http.routes.needs import FULL
from swapcore_http.routes.targets import UnknownModelError
from swapcore_http.websockets import is_websocket

__all__ = ["answer_unknown", "tidy"]


async def answer_unknown(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what no route is for, if it can be; else let the handler say so."""
    if not isinstance(request.match_info.http_exception, web.HTTPNotFound):
        return await handler(request)
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    clean = tidy(path)
    if clean != path:
        location = clean + (query and f"?{query}")
        return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location})
    context = request.app[CONTEXT]
    if (request.method == "POST" or is_websocket(request)) and context.config.route_unknown_paths:
        # Who knows what the path does?
        admit(request, context, FULL)
        try:
            return await inference.answer(request, request.rel_url.raw_path_qs)
        except UnknownModelError as error:
            raise web.HTTPNotFound from error
    return await handler(request)


def tidy(path: str) -> str:
    """Take the empty, `.` and `..` segments out of an encoded path."""
    clean = "/" + posixpath.normpath("/" + path).lstrip("/")
    if path.endswith(("/", "/.", "/..")) and clean != "/":
        clean += "/"
    # Browsers take a backslash for a slash, and two slashes for another host.
    return clean.replace("\\", "%5C") if clean != path else path
