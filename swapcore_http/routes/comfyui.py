"""How does ComfyUI, whose pages know no model, find its own?

Everything below `/comfyui/` is for the model `comfyui_auto`. Only the page
itself may start it: a tab that was left open keeps asking for the rest.
"""

from http import HTTPStatus

from aiohttp import web

from swapcore_http.config.config import COMFYUI
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, caller_of, is_ready
from swapcore_http.routes.passthrough import add_slash, pass_on
from swapcore_http.routes.targets import refuse_unless_for

__all__ = ["routes"]

PREFIX = "/comfyui"


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [web.route("*", PREFIX, add_slash), web.route("*", PREFIX + "/{rest:(?s:.*)}", comfy)]


async def comfy(request: web.Request) -> web.StreamResponse:
    """Have ComfyUI answer the rest of the path."""
    context = request.app[CONTEXT]
    if COMFYUI not in context.config.models:
        raise ApiError(
            HTTPStatus.NOT_FOUND, f"no model is called {COMFYUI!r}, which is the one for {PREFIX}/"
        )
    refuse_unless_for(context, caller_of(request), COMFYUI)
    rest = request.rel_url.raw_path_qs.removeprefix(PREFIX)
    if request.rel_url.raw_path != PREFIX + "/" and not is_ready(context, COMFYUI):
        raise ApiError(HTTPStatus.CONFLICT, f"{COMFYUI} is not ready, and only {PREFIX}/ can start it")
    return await pass_on(request, COMFYUI, rest)
