"""How is any path of a model's own server reached through ours?

`/upstream/<model>/<path>` asks the model for `<path>`, whatever the method.
A model's id may itself have slashes: the longest name that exists counts.
"""

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from aiohttp import web

from swapcore_http.bodies import receiving
from swapcore_http.config import Names, PeerModel, ProfileConfig
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, caller_of, is_ready
from swapcore_http.routes.inference import PATHS, QUERIED
from swapcore_http.routes.serving import serve
from swapcore_http.routes.targets import refuse_unless_for
from swapcore_http.selectors import Target

__all__ = ["add_slash", "find_upstream", "pass_on", "routes"]

PREFIX = "/upstream/"

ASKED = frozenset({*PATHS, *QUERIED})
"""What may be asked of a model's own server with the same key as here."""

Found = TypeVar("Found")


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get(PREFIX.rstrip("/"), about),
        web.route("*", PREFIX.rstrip("/"), send_on),
        web.route("*", PREFIX + "{rest:(?s:.*)}", pass_through),
    ]


async def about(_: web.Request) -> web.Response:
    """Send people to where the models are shown."""
    return web.Response(status=HTTPStatus.FOUND, headers={"Location": "/ui/models"})


async def send_on(request: web.Request) -> web.Response:
    """Send programs to where a model's name is missing, and say that it may be elsewhere next time."""
    query = request.rel_url.raw_query_string
    location = PREFIX + (query and f"?{query}")
    return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location})


async def add_slash(request: web.Request) -> web.Response:
    """Send the client to the same path with a slash at its end."""
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    safe = request.method in {"GET", "HEAD"}
    status = HTTPStatus.MOVED_PERMANENTLY if safe else HTTPStatus.PERMANENT_REDIRECT
    return web.Response(status=status, headers={"Location": f"{path}/" + (query and f"?{query}")})


async def pass_through(request: web.Request) -> web.StreamResponse:
    """Have the model that the path names answer the rest of the path."""
    context = request.app[CONTEXT]
    path, query = request.rel_url.raw_path, request.rel_url.raw_query_string
    target, rest = find_upstream(path.removeprefix(PREFIX), context.names, context.profile)
    if not rest:
        # Without the slash, the relative links of the upstream's pages would lose the model.
        return await add_slash(request)
    caller = caller_of(request)
    refuse_unless_for(context, caller, target)
    if rest not in ASKED and not caller.may("admin"):
        message = (
            f"a path of a model's own server that this one has no route for, such as {rest[:200]}, takes"
        )
        raise ApiError(HTTPStatus.FORBIDDEN, f"{message} a key with the scope admin")
    plain = unquote(rest)
    ignored = any(re.search(one, plain) for one in context.config.ignored_paths)
    if ignored and isinstance(target, str) and not is_ready(context, target):
        message = (
            f"{target} is not ready, and a path like {plain[:200]} does not start it (upstream.ignorePaths)"
        )
        raise ApiError(HTTPStatus.CONFLICT, message)
    return await pass_on(request, target, rest + (query and f"?{query}"))


async def pass_on(request: web.Request, who: Target, target: str) -> web.StreamResponse:
    """Have that model answer the request, whatever it is.

    Args:
        request: The client's request.
        who: The id of the model, or the model of a peer.
        target: Path and query to ask it for, encoded.

    Raises:
        ApiError: it does not answer, for the reason given.
    """
    recorded: dict[str, Any] | None = None
    if request.method == "POST" and target.partition("?")[0] in PATHS:
        recorded = {}
    context = request.app[CONTEXT]
    async with receiving(request, context.bodies) as body:
        return await serve(request, context, who, target=target, body=body, recorded=recorded)


def find_upstream(
    path: str, names: Names, profile: ProfileConfig | None = None
) -> tuple[str | PeerModel, str]:
    """Split an encoded path into the model that it begins with and the rest, as it is encoded.

    The rest starts with a slash, or is empty if the path ends with the name.
    What a profile pins is replaced first. Selectors are none of a model's names.

    Raises:
        ApiError: no start of the path is a name of a model.
    """
    if profile is not None and (found := _longest(path, profile.pins.get, profile.pins)) is not None:
        pin, rest = found
        path = quote(pin) + rest if pin else ""

    def look(name: str) -> str | PeerModel | None:
        target = names.target(name)
        # What is taken on trust has no end that could be told from the rest of the path.
        return None if isinstance(target, PeerModel) and target.qualified not in names.peer_models else target

    longest: tuple[str | PeerModel, str] | None = _longest(path, look, (*names, *names.peer_models))
    if longest is None:
        raise _not_found(path)
    return longest


def _longest(
    path: str, look: Callable[[str], Found | None], names: Iterable[str]
) -> tuple[Found, str] | None:
    """Find the longest start of a path that `look` finds something for, and the rest."""
    found: tuple[Found, str] | None = None
    name = ""
    position = 0
    longest = max((name.count("/") + 1 for name in names), default=0)
    for segment in path.split("/"):
        if segment and name.count("/") + 1 > longest:
            # No name goes on that far, and a path can have thousands of segments.
            break
        position += len(segment)
        if segment:
            name += ("/" if name else "") + unquote(segment)
            meant = look(name)
            if meant is not None:
                found = meant, path[position:]
        position += 1
    return found


def _not_found(path: str) -> ApiError:
    return ApiError(HTTPStatus.NOT_FOUND, f"model not found: /{path[:200]} begins with no model's name")
