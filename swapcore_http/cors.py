"""What may the pages of other origins ask of the server?"""

import re
from http import HTTPStatus

from aiohttp import web

__all__ = ["answer_preflight", "echo_origin", "vary_by_origin"]

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
FIELDS = "Content-Type, Authorization, Accept, X-Requested-With"
"""The fields that pages may send if they do not ask for any in particular."""

MAX_AGE = 86_400
"""Seconds that a browser may remember the answer."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def answer_preflight(request: web.Request) -> web.Response:
    """Answer an OPTIONS request, whatever for: no browser's question reaches a model, or starts one."""
    asked = ",".join(request.headers.getall("Access-Control-Request-Headers", ()))
    fields = [field.strip() for field in asked.split(",")]
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": ", ".join(filter(_TOKEN.fullmatch, fields)) if asked else FIELDS,
        "Access-Control-Max-Age": str(MAX_AGE),
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)


def echo_origin(request: web.Request, response: web.Response) -> web.Response:
    """Let the page that asks read this answer."""
    vary_by_origin(response)
    if origin := request.headers.get("Origin"):
        response.headers["Access-Control-Allow-Origin"] = origin
    return response


def vary_by_origin(response: web.StreamResponse) -> None:
    """Say that the answer depends on whose page asks, so that no cache shows it to another."""
    if "Origin" not in response.headers.getall("Vary", ()):
        response.headers.add("Vary", "Origin")
