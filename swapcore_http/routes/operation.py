"""How does an operator see what runs, and end it?"""

from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web

from swapcore import Phase, Urgency
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT

__all__ = ["routes"]


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/running", running),
        web.get("/unload", unload_all),
        web.post("/api/models/unload", unload_all),
        web.post("/api/models/unload/{model:.+}", unload_one),
    ]


async def running(request: web.Request) -> web.Response:
    """List the models that are resident."""
    context = request.app[CONTEXT]
    rows = []
    for view in context.driver.snapshot().upstreams:
        model = context.config.models.get(view.model)
        if view.phase is Phase.STOPPED or model is None:
            continue
        # A run moves to another port where something else listens on its own.
        url = context.driver.url(view.run or 0)
        port = model.port if url is None or model.port is None else urlsplit(url).port
        rows.append(
            {
                "model": view.model,
                "state": view.phase.value,
                "cmd": model.cmd.replace("${PORT}", str(port or "")),
                "proxy": model.url(port),
                "ttl": context.config.ttl(view.model),
                "name": model.name,
                "description": model.description,
            }
        )
    rows.sort(key=lambda row: str(row["model"]).encode())
    return web.json_response({"running": rows})


async def unload_all(request: web.Request) -> web.Response:
    """Unload every model, and answer when all are gone."""
    context = request.app[CONTEXT]
    await context.driver.unload(context.config.models, _urgency(request))
    return web.Response(text="OK") if request.path == "/unload" else web.json_response({"msg": "ok"})


async def unload_one(request: web.Request) -> web.Response:
    """Unload the model of that name, and answer when it is gone."""
    context = request.app[CONTEXT]
    name = request.match_info["model"]
    model = context.config.resolve(name)
    if model is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"model not found: {name[:200]!r}")
    await context.driver.unload([model], _urgency(request))
    return web.Response(text="OK")


def _urgency(request: web.Request) -> Urgency:
    """`?now=1` cuts who is being served, instead of letting them finish."""
    return Urgency.NOW if request.query.get("now") in {"1", "true"} else Urgency.DRAIN
