"""How is any path of a model's own server reached through ours?

`/upstream/<model>/<path>` asks the model for `<path>`, whatever the method.
A model's id may itself have slashes: the longest name that exists counts.
"""

from http import HTTPStatus
from urllib.parse import unquote

from aiohttp import web

from swapcore_http.bodies import receiving
from swapcore_http.config import Config
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, serve

__all__ = ["add_slash", "find_upstream", "pass_on", "routes"]

PREFIX = "/upstream/"


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get(PREFIX.rstrip("/"), about),
        web.route("*", PREFIX.rstrip("/"), add_slash),
        web.route("*", PREFIX + "{rest:(?s:.*)}", pass_through),
    ]


async def about(_: web.Request) -> web.Response:
    """Send people to where the models are shown."""
    return web.Response(status=HTTPStatus.FOUND, headers={"Location": "/"})


async def add_slash(request: web.Request) -> web.Response:
    """Send the client to the same path with a slash at its end."""
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    safe = request.method in {"GET", "HEAD"}
    status = HTTPStatus.MOVED_PERMANENTLY if safe else HTTPStatus.PERMANENT_REDIRECT
    return web.Response(status=status, headers={"Location": f"{path}/" + (query and f"?{query}")})


async def pass_through(request: web.Request) -> web.StreamResponse:
    """Have the model that the path names answer the rest of the path."""
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    model, rest = find_upstream(path.removeprefix(PREFIX), request.app[CONTEXT].config)
    if not rest:
        # Without the slash, the relative links of the upstream's pages would lose the model.
        return await add_slash(request)
    return await pass_on(request, model, rest + (query and f"?{query}"))


async def pass_on(request: web.Request, model: str, target: str) -> web.StreamResponse:
    """Have that model answer the request, whatever it is.

    Args:
        request: The client's request.
        model: The id of the model.
        target: Path and query to ask it for, encoded.

    Raises:
        ApiError: it does not answer, for the reason given.
    """
    async with receiving(request, request.app[CONTEXT].bodies) as body:
        return await serve(request, model, target=target, body=body)


def find_upstream(path: str, config: Config) -> tuple[str, str]:
    """Split an encoded path into the id of a model and the rest, as it is encoded.

    The rest starts with a slash, or is empty if the path ends with the name.

    Raises:
        ApiError: no start of the path is a name of a model.
    """
    found: tuple[str, str] | None = None
    name = ""
    position = 0
    longest = max(
        (name.count("/") + 1 for one in config.models.values() for name in (one.id, *one.aliases)), default=0
    )
    for segment in path.split("/"):
        if segment and name.count("/") + 1 > longest:
            # No name goes on that far, and a path can have thousands of segments.
            break
        position += len(segment)
        if segment:
            name += ("/" if name else "") + unquote(segment)
            model = config.resolve(name)
            if model is not None:
                found = model, path[position:]
        position += 1
    if found is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"model not found: no model's name starts /{path[:200]}")
    return found
