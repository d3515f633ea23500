"""What must a caller show to use a route?

All routes are in one table. One that is not needs a key that may do
everything, until somebody has thought about it.
"""

import enum

from aiohttp import web
from attrs import evolve, frozen

from swapcore_http.routes import inference

__all__ = ["FULL", "INFER", "NEEDS", "Effect", "Need", "need_of", "needs_of"]


class Effect(enum.Enum):
    """What a GET of a route can do, which matters where a browser sends it for a page of another origin."""

    READS = enum.auto()
    """It only shows something."""

    STARTS = enum.auto()
    """It can bring a model up, and with that make others leave, or become a websocket."""

    CHANGES = enum.auto()
    """It changes something for everybody, as all other methods are taken to do."""


@frozen(kw_only=True, eq=False, repr=False)
class Need:
    """What it takes to use a route, where there are keys."""

    key: bool = True
    """Whether any key must be shown."""

    scope: str | None = None
    """What that must be good for, if for anything in particular."""

    all_models: bool = False
    """Whether it must be for all models, because the route shows or changes something of all."""

    everything: bool = False
    """Whether it must be good for everything there is."""

    get: Effect = Effect.READS


OPEN = Need(key=False)
KEY = Need()
INFER = Need(scope="infer", get=Effect.STARTS)
LOGS = Need(scope="logs")
ALL_LOGS = Need(scope="logs", all_models=True)
ADMIN = Need(scope="admin")
ALL_ADMIN = Need(scope="admin", all_models=True)
FULL = Need(everything=True, get=Effect.STARTS)

NEEDS: dict[str, Need] = {
    **{f"POST {path}": INFER for path in (*inference.PATHS, *inference.SHORTENED)},
    **{f"GET {path}": INFER for path in inference.QUERIED},
    # What of a model's server is not in the lists above takes admin; see `passthrough`.
    "* /upstream/{rest}": INFER,
    "* /comfyui/{rest}": INFER,
    "* /comfyui": KEY,
    "GET /upstream": OPEN,
    "* /upstream": OPEN,
    "GET /": OPEN,
    "GET /favicon.ico": OPEN,
    # They are the same for everybody, but browsers ask people for their key where one is wanted.
    "GET /ui": KEY,
    "GET /ui/{path}": KEY,
    "GET /health": OPEN,
    "GET /openapi.json": KEY,
    "GET /wol-health": OPEN,
    # These show only the models that the key is for.
    "GET /v1/models": KEY,
    "GET /models": KEY,
    "GET /running": KEY,
    "GET /api/health": KEY,
    "GET /api/profiles": evolve(KEY, all_models=True),
    "GET /api/hardware": LOGS,
    "GET /api/performance": LOGS,
    "GET /metrics": ALL_LOGS,
    # These, too, show and end only what is of models that the key is for.
    "GET /api/metrics/activity": LOGS,
    "GET /api/metrics/stats": LOGS,
    "GET /api/captures/{id}": LOGS,
    "GET /api/inflight": LOGS,
    "GET /api/queue": LOGS,
    "POST /api/inflight/{id}/cancel": ADMIN,
    "POST /api/models/load/{model}": ADMIN,
    "GET /api/version": KEY,
    "GET /api/config": ALL_ADMIN,
    "POST /api/explain": ALL_LOGS,
    "GET /api/events": ALL_LOGS,
    "GET /logs": ALL_LOGS,
    "GET /logs/stream": ALL_LOGS,
    # That of one model is for keys that are for it.
    "GET /logs/stream/{name}": LOGS,
    # Of all models, those that the key is for.
    "GET /unload": evolve(ADMIN, get=Effect.CHANGES),
    "POST /api/models/unload": ADMIN,
    "POST /api/models/unload/{model}": ADMIN,
    "PUT /api/profiles/active": ALL_ADMIN,
    "POST /api/config/reload": ALL_ADMIN,
}
"""What each route needs, by its method, as it was added, and its path."""


def need_of(route: web.AbstractRoute) -> Need:
    """Look a route up in the table."""
    resource = route.resource
    # A HEAD is added with each GET.
    method = "GET" if route.method == "HEAD" else route.method
    return FULL if resource is None else NEEDS.get(f"{method} {resource.canonical}", FULL)


def needs_of(router: web.UrlDispatcher) -> dict[web.AbstractRoute, Need]:
    """Say what all routes need that there are."""
    return {route: need_of(route) for route in router.routes()}
