"""What is this server, how is it set up, and what would it do?"""

import asyncio
import json
import shutil
import subprocess
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web

from swapcore_http.bodies import received
from swapcore_http.config.showing import shown
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT

__all__ = ["routes"]

MAX_BODY = 1024 * 1024
"""Bytes of a question that are looked at."""

GIT_TIMEOUT = 5.0
"""Seconds that git may take to say which commit is checked out."""

EXPECTED = 'expected {"model": …}, and perhaps "running", a list of models'


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/openapi.json", description),
        web.get("/api/version", version),
        web.get("/api/config", config),
        web.post("/api/explain", explained),
    ]


async def description(_: web.Request) -> web.Response:
    """Describe the routes for operators, as OpenAPI has it."""
    from swapcore_http.openapi import document  # noqa: PLC0415 - few ask.

    return web.json_response(document((await asyncio.to_thread(_version))["version"]))


async def version(_: web.Request) -> web.Response:
    """Say which version this is."""
    return web.json_response(await asyncio.to_thread(_version))


@cache
def _version() -> dict[str, str]:
    # It takes longer than all the rest, and few ask.
    from importlib import metadata  # noqa: PLC0415

    distribution = metadata.distribution("swapcore")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    commit = origin.get("vcs_info", {}).get("commit_id") or _checked_out() or "unknown"
    return {"version": distribution.version, "commit": str(commit), "build_date": "unknown"}


def _checked_out() -> str | None:
    """Say which commit the files are of that run, if they are a working copy of git's."""
    folder = Path(__file__).parents[2]
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return None
    command = [git, "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT, check=True)  # noqa: S603 - no word of it is from outside.
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


async def config(request: web.Request) -> web.Response:
    """Show the configuration that holds, defaults included, without its secrets."""
    return web.json_response(shown(request.app[CONTEXT].config))


async def explained(request: web.Request) -> web.Response:
    """Say what a request for a model would evict, and why, over what runs now or is said to."""
    from swapcore_http.explain import UnknownNameError, as_json, explain  # noqa: PLC0415 - few ask.

    context = request.app[CONTEXT]
    async with received(request, context.bodies) as body:
        model, running = _question(body.read(0, MAX_BODY))
    if running is None:
        views = context.driver.snapshot(tickets=False).upstreams
        models = context.config.models
        running = [view.model for view in views if view.run is not None and view.model in models]
    try:
        return web.json_response(as_json(explain(context.config, model, running)))
    except UnknownNameError as error:
        raise ApiError(HTTPStatus.NOT_FOUND, str(error)) from None


def _question(body: bytes) -> tuple[str, list[str] | None]:
    """Read what is asked.

    Raises:
        ApiError: nothing that could be answered.
    """
    try:
        asked: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not valid JSON; {EXPECTED}") from None
    model = asked.get("model") if isinstance(asked, dict) else None
    running = asked.get("running") if isinstance(asked, dict) else None
    listed = running is None or (isinstance(running, list) and all(isinstance(each, str) for each in running))
    if not isinstance(model, str) or not listed:
        raise ApiError(HTTPStatus.BAD_REQUEST, EXPECTED)
    return model, running
