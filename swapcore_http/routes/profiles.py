"""Which profiles are there, which is active, and how is another one chosen?"""

import json
from http import HTTPStatus
from typing import Any

from aiohttp import web

from swapcore_http.bodies import received
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT
from swapcore_http.routes.events import NEWS

__all__ = ["routes"]

MAX_BODY = 64 * 1024
"""Bytes of a request for another profile that are looked at."""


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [web.get("/api/profiles", profiles), web.put("/api/profiles/active", activate)]


async def profiles(request: web.Request) -> web.Response:
    """List the profiles."""
    context = request.app[CONTEXT]
    rows = [
        {"id": each.name, "description": each.description, "pins": dict(each.pins)}
        for each in sorted(context.config.profiles.values(), key=lambda each: each.name.encode())
    ]
    active = context.profile
    return web.json_response({"active": active and active.name, "profiles": rows})


async def activate(request: web.Request) -> web.Response:
    """Make the profile of that name the active one; none if it is null or empty."""
    context = request.app[CONTEXT]
    async with received(request, context.bodies) as body:
        name = _name(body.read(0, MAX_BODY))
    if name and name not in context.config.profiles:
        raise ApiError(HTTPStatus.NOT_FOUND, f"no profile is called {name[:200]!r}")
    context.active = name or None
    request.app[NEWS].profile_changed()
    return web.json_response({"active": context.active})


def _name(body: bytes) -> str | None:
    """Read what the request asks for.

    Raises:
        ApiError: it asks for nothing that could be.
    """
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is not valid JSON") from None
    if not isinstance(asked, dict) or "name" not in asked:
        raise ApiError(HTTPStatus.BAD_REQUEST, 'expected {"name": …}, with the name of a profile or null')
    name = asked["name"]
    if name is not None and not isinstance(name, str):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"name is {json.dumps(name)[:50]}; expected a text or null")
    return name
