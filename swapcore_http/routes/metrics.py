"""How do monitoring systems, and people, see how busy models and machine are?"""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from itertools import chain
from types import ModuleType

from aiohttp import web

from swapcore import Phase
from swapcore_http.metrics.performance import Monitor, Sample
from swapcore_http.metrics.tallies import Tallies
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, Context

__all__ = ["TALLIES", "keep_watch", "routes"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

TALLIES = web.AppKey("TALLIES", Tallies)
"""Where an application keeps its counts."""

MONITOR = web.AppKey("MONITOR", Monitor)


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        web.get("/metrics", metrics),
        web.get("/api/performance", performance),
        web.get("/api/hardware", hardware),
    ]


async def keep_watch(app: web.Application) -> AsyncIterator[None]:
    """Watch the machine while the application runs, unless the configuration says not to."""
    settings = app[CONTEXT].config.performance
    if settings.disabled:
        yield
        return
    monitor = app[MONITOR] = Monitor(settings.interval)
    async with monitor.watching():
        yield


async def metrics(request: web.Request) -> web.Response:
    """Show all that is counted to Prometheus."""
    prometheus = await asyncio.to_thread(_prometheus)
    context = request.app[CONTEXT]
    sample = await request.app[MONITOR].latest() if MONITOR in request.app else None
    texts = {}
    if context.config.upstream_metrics:
        from swapcore_http.metrics.upstreams import ask_all, merged  # noqa: PLC0415 - see `_prometheus`.

        texts = await ask_all(_urls(context))
    # What is counted is counted by this thread: it must not change while it is read.
    families = list(
        prometheus.models(request.app[TALLIES], context.driver.snapshot(), context.recorder.dropped)
    )

    def write() -> bytes:
        seen = () if sample is None else prometheus.machine(sample)
        written: bytes = prometheus.exposition(chain(families, seen, merged(texts) if texts else ()))
        return written

    body = await asyncio.to_thread(write)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _urls(context: Context) -> dict[str, str]:
    runs = (
        (view.model, view.run)
        for view in context.driver.snapshot(tickets=False).upstreams
        if view.phase is Phase.READY
    )
    return {model: url.rstrip("/") for model, run in runs if (url := context.driver.url(run or 0))}


async def performance(request: web.Request) -> web.Response:
    """Show how the machine did in the last hour; `?after=TIME` shows only what came after that."""
    if MONITOR not in request.app:
        return web.json_response({"enabled": False}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    after = _after(request)
    await request.app[MONITOR].latest()
    samples = [each for each in request.app[MONITOR].samples if after is None or each.at > after]
    return web.json_response(
        {
            "enabled": True,
            "sys_stats": [_dated(each, each.system) for each in samples],
            "gpu_stats": [_dated(each, gpu) for each in samples for gpu in each.gpus],
        }
    )


def _after(request: web.Request) -> float | None:
    text = request.query.get("after")
    if not text:
        return None
    from swapcore_http.activity.queries import RFC_3339, instant  # noqa: PLC0415 - few ask.

    after = instant(text)
    if after is None:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"after is {text[:50]!r}; expected {RFC_3339}")
    return after


def _dated(sample: Sample, row: dict[str, object]) -> dict[str, object]:
    from swapcore_http.activity.entries import timestamp  # noqa: PLC0415 - likewise.

    return {"timestamp": timestamp(sample.at), **row}


async def hardware(_: web.Request) -> web.Response:
    """Show what kind of machine this is, as it was found when it was first asked for."""
    return web.json_response(await asyncio.to_thread(_hardware))


def _prometheus() -> ModuleType:
    """Import what shows the counts: it takes longer than the server takes to start."""
    from swapcore_http.metrics import prometheus  # noqa: PLC0415

    return prometheus


def _hardware() -> dict[str, object]:
    from swapcore_http.metrics.hardware import detected  # noqa: PLC0415 - likewise.

    return detected()
