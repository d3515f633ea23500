"""Which models can be asked for, and what is this server?"""

import time
from typing import Any

from aiohttp import web

from swapcore import Phase
from swapcore_http.config import ModelConfig
from swapcore_http.cors import echo_origin
from swapcore_http.routes.context import CONTEXT
from swapcore_http.routes.inference import PATHS

__all__ = ["routes"]


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/", about),
        web.get("/health", health),
        web.get("/wol-health", health),
        web.get("/models", models),
        web.get("/v1/models", models),
    ]


async def about(request: web.Request) -> web.Response:
    """Say what answers here, and where to go on."""
    names = [model.id for model in request.app[CONTEXT].config.models.values() if not model.unlisted]
    lines = [
        "swapcore: one endpoint for many models, each started when it is asked for.",
        "",
        "Ask a model (POST, its name in `model`):",
        *(f"  {path}" for path in PATHS),
        "",
        "Look and operate:",
        "  GET  /v1/models                     the models",
        "  GET  /running                       what runs now",
        "  GET  /unload                        stop all of it (?now=1: without waiting for requests)",
        "  POST /api/models/unload/<model>     stop one",
        "  ANY  /upstream/<model>/<path>       a model's own server",
        "  GET  /health                        whether this server lives",
        "",
        f"Models: {', '.join(names) or 'none'}",
    ]
    return web.Response(text="\n".join(lines) + "\n")


async def health(_: web.Request) -> web.Response:
    """Say that the server lives, whatever its models do."""
    return web.Response(text="OK")


async def models(request: web.Request) -> web.Response:
    """List the models as the OpenAI API does."""
    context = request.app[CONTEXT]
    created = int(time.time())
    phases = {view.model: view.phase for view in context.driver.snapshot().upstreams}
    listed = (model for model in context.config.models.values() if not model.unlisted)
    rows = [
        _row(model, created, phases.get(model.id, Phase.STOPPED))
        for model in sorted(listed, key=lambda model: model.id.encode())
    ]
    return echo_origin(request, web.json_response({"object": "list", "data": rows}))


def _row(model: ModelConfig, created: int, phase: Phase) -> dict[str, Any]:
    row: dict[str, Any] = {"id": model.id, "object": "model", "created": created, "owned_by": "swapcore"}
    if name := model.name.strip():
        row["name"] = name
    if description := model.description.strip():
        row["description"] = description
    # llama-swap's key: the clients that look at it know it by that name.
    about_it: dict[str, Any] = {"type": "model"}
    if model.aliases:
        about_it["aliases"] = list(model.aliases)
    row["meta"] = {"llamaswap": about_it}
    row["status"] = {"value": "unloaded" if phase is Phase.STOPPED else "loaded"}
    return row
