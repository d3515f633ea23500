"""How does an operator see what runs, end it, and have the configuration read again?"""

import asyncio
import json
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from swapcore import Urgency
from swapcore_http.activity.captures import REDACTED
from swapcore_http.config import ConfigError, Problem
from swapcore_http.config.problems import masked
from swapcore_http.health import Health
from swapcore_http.lease import RefusedError
from swapcore_http.responses import ApiError, error_response, refusal_error
from swapcore_http.routes.context import CONTEXT, caller_of
from swapcore_http.routes.targets import is_for, refuse_unless_for

__all__ = ["routes"]

HEALTH = web.AppKey("HEALTH", Health)
"""Where an application keeps its `Health`."""

LOOK_EVERY = 0.25
"""Seconds between two looks whether what is waited for can still come."""


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/running", running),
        web.get("/api/health", health),
        web.post("/api/config/reload", reload_config),
        web.get("/unload", unload_all),
        web.post("/api/models/unload", unload_all),
        web.post("/api/models/unload/{model:.+}", unload_one),
        web.post("/api/models/load/{model:.+}", load),
    ]


async def running(request: web.Request) -> web.Response:
    """List the models that are resident."""
    context = request.app[CONTEXT]
    caller = caller_of(request)
    operates = caller.may("admin")
    present = context.config
    rows = []
    for view in context.driver.snapshot(tickets=False).upstreams:
        if view.run is None:
            continue
        started = context.present.runs.get(view.run, present)
        config = present if view.model in present.models else started
        # What runs is what was started, though the configuration may have another command by now.
        model = started.models[view.model]
        if not caller.is_for(model.id, *model.aliases):
            continue
        # A run moves to another port where something else listens on its own.
        url = context.driver.url(view.run)
        port = model.port if url is None or model.port is None else urlsplit(url).port
        rows.append(
            {
                "model": view.model,
                "state": view.phase.value,
                # Commands and addresses can have secrets in them.
                "cmd": model.cmd.replace("${PORT}", str(port or "")) if operates else REDACTED,
                "proxy": model.url(port) if operates else masked(model.url(port)),
                "ttl": config.ttl(view.model),
                "name": config.models[view.model].name,
                "description": config.models[view.model].description,
            }
        )
    rows.sort(key=lambda row: str(row["model"]).encode())
    return web.json_response({"running": rows})


async def health(request: web.Request) -> web.Response:
    """Say whether the server can serve; a 503 if it should get no more requests."""
    verdict = request.app[HEALTH].verdict()
    status = HTTPStatus.OK if verdict.ready else HTTPStatus.SERVICE_UNAVAILABLE
    return web.json_response(attrs.asdict(verdict), status=status)


async def reload_config(request: web.Request) -> web.Response:
    """Read the configuration again, put it in place, and say what that changed.

    What cannot be used changes nothing, and is answered with all that is wrong with it.
    """
    reloader = request.app[CONTEXT].reloader
    if reloader is None:
        raise ApiError(HTTPStatus.CONFLICT, "this server's configuration was not read from anywhere")
    outcome = await reloader.reload()
    problems = [_shown(problem) for problem in outcome.problems]
    if outcome.difference is None:
        response = error_response(
            request, HTTPStatus.UNPROCESSABLE_ENTITY, str(ConfigError(outcome.problems))
        )
        if response.content_type == "application/json":
            response.text = json.dumps(json.loads(response.text or "") | {"problems": problems})
        return response
    changes = attrs.asdict(outcome.difference, recurse=False)
    return web.json_response({"msg": "ok", "changes": changes, "problems": problems})


def _shown(problem: Problem) -> dict[str, object]:
    fields = attrs.asdict(problem, recurse=False)
    return fields | {"severity": problem.severity.value}


async def unload_all(request: web.Request) -> web.Response:
    """Unload every model that the key is for, and answer when they are gone, or no more will go."""
    context, caller = request.app[CONTEXT], caller_of(request)
    await _unload(request, [model for model in context.config.models if is_for(context, caller, model)])
    return web.Response(text="OK") if request.path == "/unload" else web.json_response({"msg": "ok"})


async def unload_one(request: web.Request) -> web.Response:
    """Unload the model of that name, and answer when it is gone, or will not go."""
    name = request.match_info["model"]
    context = request.app[CONTEXT]
    model = context.config.resolve(name)
    if model is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"model not found: {name[:200]!r}")
    refuse_unless_for(context, caller_of(request), model)
    await _unload(request, [model])
    return web.Response(text="OK")


async def load(request: web.Request) -> web.Response:
    """Load the model of that name when there is room, and answer when it is ready, or will not be.

    With `?wait=0` it is answered at once.
    """
    context = request.app[CONTEXT]
    name = request.match_info["model"]
    model = context.config.resolve(name)
    if model is None:
        raise ApiError(HTTPStatus.NOT_FOUND, f"model not found: {name[:200]!r}")
    refuse_unless_for(context, caller_of(request), model)
    try:
        context.wishes.wish(model)
        if request.query.get("wait") in {"0", "false"}:
            return web.json_response({"msg": "ok", "model": model}, status=HTTPStatus.ACCEPTED)
        await context.wishes.until_ready(model)
    except RefusedError as refused:
        raise refusal_error(model, refused) from None
    return web.json_response({"msg": "ok", "model": model})


async def _unload(request: web.Request, models: Collection[str]) -> None:
    """Unload these models, and wait until their runs are over.

    Raises:
        ApiError: all runs that are left are stuck.
    """
    driver = request.app[CONTEXT].driver
    runs = {
        view.run
        for view in driver.snapshot(tickets=False).upstreams
        if view.model in models and view.run is not None
    }
    unloading = asyncio.ensure_future(driver.unload(models, _urgency(request)))
    try:
        while not (await asyncio.wait([unloading], timeout=LOOK_EVERY))[0]:
            left = [view for view in driver.snapshot(tickets=False).upstreams if view.run in runs]
            if left and all(view.stuck for view in left):
                names = ", ".join(f"{view.model} (run {view.run})" for view in left)
                message = f"killed, and not gone: {names}; what they hold is not free"
                raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, message)
        await unloading
    finally:
        unloading.cancel()


def _urgency(request: web.Request) -> Urgency:
    """`?now=1` cuts who is being served, instead of letting them finish."""
    return Urgency.NOW if request.query.get("now") in {"1", "true"} else Urgency.DRAIN
