"""Which models can be asked for, and what is this server?"""

import time

from aiohttp import web

from swapcore_http.auth import NOBODY
from swapcore_http.cors import echo_origin
from swapcore_http.model_rows import model_rows
from swapcore_http.routes.context import CONTEXT, IDENTITY, caller_of
from swapcore_http.routes.inference import PATHS
from swapcore_http.routes.pages import leads_to_page
from swapcore_http.routes.targets import is_for, may_ask

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
    """Say what answers here, and where to go on; people are sent to the page for them."""
    if (page := leads_to_page(request)) is not None:
        return page
    context, caller = request.app[CONTEXT], caller_of(request)
    models = context.config.models.values()
    names = [each.id for each in models if not each.unlisted and is_for(context, caller, each.id)]
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
        "  GET  /ui/                           a page with all of that, for browsers",
        "",
        f"Models: {', '.join(names) or 'none'}"
        if request[IDENTITY] is not NOBODY
        else "Which models there are is for who shows a key.",
    ]
    return web.Response(text="\n".join(lines) + "\n", headers={"Vary": "Accept"})


async def health(_: web.Request) -> web.Response:
    """Say that the server lives, whatever its models do."""
    return web.Response(text="OK")


async def models(request: web.Request) -> web.Response:
    """List the models as the OpenAI API does."""
    context, caller = request.app[CONTEXT], caller_of(request)
    rows = model_rows(context.config, context.names, context.profile, context.driver.snapshot(tickets=False))
    created = int(time.time())
    data = [
        {"id": row.pop("id"), "object": "model", "created": created, "owned_by": "swapcore", **row}
        for row in rows
        if may_ask(context, caller, row["id"])
    ]
    return echo_origin(request, web.json_response({"object": "list", "data": data}))
