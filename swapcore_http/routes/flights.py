"""Who is on the way, who waits for what, and how is a request ended?"""

import math
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from typing import Any

from aiohttp import web

from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, caller_of
from swapcore_http.routes.targets import may_see

__all__ = ["routes"]

MOST_SHOWN = 1000
"""Callers who wait that are listed, unless more are asked for."""

MOST_ASKED = 100_000


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/api/inflight", inflight),
        web.post("/api/inflight/{id}/cancel", cancel),
        web.get("/api/queue", queue),
    ]


async def inflight(request: web.Request) -> web.Response:
    """List the requests that are on their way, the oldest first."""
    sees = _sight(request)
    rows = [flight.as_json() for flight in request.app[CONTEXT].inflight if sees(flight.model)]
    return web.json_response({"requests": rows})


async def cancel(request: web.Request) -> web.Response:
    """End a request, whether it waits, loads or is being answered."""
    text = request.match_info["id"]
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0  # noqa: PLR2004 - digits.
    inflight = request.app[CONTEXT].inflight
    flight = inflight.get(number)
    if flight is None or not _sight(request)(flight.model) or not inflight.cancel(flight):
        raise ApiError(HTTPStatus.NOT_FOUND, f"no request {text[:50]!r} is on its way")
    return web.json_response({"msg": "ok"})


async def queue(request: web.Request) -> web.Response:
    """Show who waits for what, in the order in which they are likely to be let through, and for how long."""
    context = request.app[CONTEXT]
    limit = _limit(request)
    snapshot, now = context.driver.snapshot(), context.driver.now()
    since = now - snapshot.now
    flights = {flight.ticket: flight for flight in context.inflight if flight.ticket is not None}
    sees = _sight(request)
    tickets = [ticket for ticket in snapshot.tickets if sees(ticket.model)]
    rows: list[dict[str, Any]] = []
    for ticket in tickets[:limit]:
        flight = flights.get(ticket.ticket)
        rows.append(
            {
                "ticket": ticket.ticket,
                "request": None if flight is None else str(flight.number),
                "model": ticket.model,
                "position": ticket.position,
                "priority": ticket.priority,
                "waited": _seconds(ticket.waited + since),
                "estimate": _seconds(max(0.0, ticket.estimate - since)),
                "due_in": None if ticket.due is None else _seconds(ticket.due - now),
            }
        )
    models = [
        {
            "model": view.model,
            "state": view.phase.value,
            "leases": view.leases,
            "waiting": view.waiting,
            "closed": view.closed,
            "stuck": view.stuck,
            "wished": view.model in snapshot.wishes,
            "cooling_for": _seconds(max(0.0, (view.cooling_until or now) - now)),
        }
        for view in snapshot.upstreams
        if sees(view.model)
    ]
    return web.json_response({"waiting": len(tickets), "queue": rows, "models": models})


def _sight(request: web.Request) -> Callable[[str], bool]:
    """Return what tells whether the caller may see a model's requests."""
    context, caller = request.app[CONTEXT], caller_of(request)
    return cache(lambda model: may_see(context, caller, model))


def _limit(request: web.Request) -> int:
    text = request.query.get("limit")
    if text is None:
        return MOST_SHOWN
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= MOST_ASKED):  # noqa: PLR2004 - digits.
        message = f"limit is {text[:50]!r}; expected a number from 0 to {MOST_ASKED}"
        raise ApiError(HTTPStatus.BAD_REQUEST, message)
    return int(text)


def _seconds(value: float) -> float | None:
    """Round to milliseconds; JSON has no number that is infinite."""
    return round(value, 3) if math.isfinite(value) else None
