"""What is shown to people who come with a browser?

One page, whose program asks the routes below `/api` for all that it shows. It
is the same for every path below `/ui/`, as that of a page which names its
parts by paths; what looks like a file and is none is not there.
"""

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["leads_to_page", "routes"]

FOLDER: Final = Path(__file__).parents[1] / "ui"

KINDS: Final = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that there are, and what they are."""

HEADERS: Final = {
    # Nothing but these files runs or is shown, and no other page has this one in it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/ui", add_slash),
        web.get("/ui/{path:(?s:.*)}", page),
        web.get("/favicon.ico", icon),
    ]


def leads_to_page(request: web.Request) -> web.Response | None:
    """Send people to the page; `None` for programs, which do not say that they read HTML."""
    if "text/html" not in ",".join(request.headers.getall("Accept", ())).lower():
        return None
    return web.Response(status=HTTPStatus.FOUND, headers={"Location": "/ui", "Vary": "Accept"})


async def add_slash(request: web.Request) -> web.Response:
    """Send the client to the same path with a slash at its end."""
    query = request.rel_url.raw_query_string
    location = "/ui/" + (query and f"?{query}")
    return web.Response(status=HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": location})


async def page(request: web.Request) -> web.Response:
    """Show the page, or a file of it."""
    path = request.match_info["path"]
    if path in KINDS:
        return _shown(path)
    if "." in path.rpartition("/")[2]:
        raise web.HTTPNotFound
    return _shown("index.html")


async def icon(_: web.Request) -> web.Response:
    """Show what browsers put before the page's title."""
    return _shown("icon.svg")


def _shown(name: str) -> web.Response:
    return web.Response(body=_content(name), headers={**HEADERS, "Content-Type": KINDS[name]})


@cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()
