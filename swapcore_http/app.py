"""What does the server look like as an aiohttp application?"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import attrs
from aiohttp import web

from swapcore_http.accesslog import AccessLog, set_access_log
from swapcore_http.auth import Keyring
from swapcore_http.bodies import Bodies
from swapcore_http.config import Config
from swapcore_http.conversation import INTERCEPTOR, Runner
from swapcore_http.doors import DOORS, Doors, close_after
from swapcore_http.driver import Driver
from swapcore_http.entrance import enter, go_on
from swapcore_http.forward import MAX_FIELD
from swapcore_http.gate import GATE, let_pages_read
from swapcore_http.health import Health
from swapcore_http.logstreams import LogStreams
from swapcore_http.news.news import News
from swapcore_http.present import Present
from swapcore_http.reload import Reloader
from swapcore_http.routes import (
    about,
    activity,
    comfyui,
    events,
    flights,
    inference,
    listing,
    logs,
    metrics,
    operation,
    pages,
    passthrough,
    profiles,
)
from swapcore_http.routes.context import CONTEXT, Context
from swapcore_http.routes.events import NEWS
from swapcore_http.routes.fastpath import FastPath
from swapcore_http.routes.metrics import TALLIES
from swapcore_http.routes.needs import needs_of
from swapcore_http.routes.operation import HEALTH
from swapcore_http.upstreams import Upstreams
from swapcore_http.watching import trace, watch
from swapcore_http.websockets import Tunnels

__all__ = ["make_app", "make_runner"]

MODULES = (
    about,
    activity,
    comfyui,
    events,
    flights,
    inference,
    listing,
    logs,
    metrics,
    operation,
    pages,
    passthrough,
    profiles,
)
"""The modules whose routes there are."""


def make_app(
    driver: Driver, present: Present, reloader: Reloader | None = None, *, on_loopback: bool = False
) -> web.Application:
    """Make the application that serves the models of the present configuration through that driver.

    It has to be run as `make_runner` does. The driver must be entered before
    the first request and left after the last.

    Args:
        driver: Gives out leases.
        present: The owner of the configuration.
        reloader: Puts another one in its place, if that can be done.
        on_loopback: Whether it listens on loopback only: then who asks for it
            by a name that is not the machine's own is refused.
    """
    app = web.Application(middlewares=[enter])
    upstreams = Upstreams()
    tunnels = Tunnels(upstreams)
    driver.on_leaving(upstreams.forget)
    driver.on_leaving(tunnels.leaving)
    config = present.config
    bodies = Bodies(_largest_body(config))
    streams = LogStreams(config.log_to_stdout, config.log_time_format)
    recorder, tallies = watch(driver, present)

    def follow(config: Config) -> None:
        bodies.largest = _largest_body(config)
        streams.keep_only(config.models.__contains__)
        set_access_log(on=config.log_requests)
        context.keyring = Keyring(config.api_keys)

    set_access_log(on=config.log_requests)
    present.on_replaced(follow)
    tracing = trace(recorder, config)
    context = Context(driver, present, bodies, upstreams, streams, recorder, tunnels, reloader, tracing)
    context.keyring, context.on_loopback = Keyring(config.api_keys), on_loopback
    app[CONTEXT] = context
    health = Health(driver, present, context.peers)
    driver.watch(health.observe)
    app[HEALTH] = health
    app[TALLIES] = tallies
    app[NEWS] = News(app[CONTEXT])
    app[DOORS] = Doors()
    app.cleanup_ctx.append(_keep_logs)
    app.on_shutdown.append(_end_logs)
    app.on_cleanup.append(_close_connections)
    app.cleanup_ctx.append(metrics.keep_watch)
    app.cleanup_ctx.append(_discover)
    app.cleanup_ctx.append(_listen)
    app.on_response_prepare.append(hide_server)
    app.on_response_prepare.append(let_pages_read)
    app.on_response_prepare.append(close_after)
    for module in MODULES:
        app.router.add_routes(
            attrs.evolve(route, kwargs={**route.kwargs, "expect_handler": go_on}) for route in module.routes()
        )
    app[GATE] = needs_of(app.router)
    app[INTERCEPTOR] = FastPath(context, app[DOORS])
    return app


def make_runner(app: web.Application, **options: Any) -> web.AppRunner:
    """Make the runner that the application relies on.

    Args:
        app: What `make_app` made.
        options: More arguments for `web.AppRunner`.
    """
    return Runner(
        app,
        access_log_class=AccessLog,
        # Bodies pass as they come, packed ones too.
        auto_decompress=False,
        # Who hangs up while waiting gives up its place.
        handler_cancellation=True,
        max_field_size=MAX_FIELD,
        max_line_size=MAX_FIELD,
        **options,
    )


def _largest_body(config: Config) -> int:
    return config.max_body_mb * 1024 * 1024


async def _keep_logs(app: web.Application) -> AsyncIterator[None]:
    with app[CONTEXT].logs.listening():
        yield


async def _discover(app: web.Application) -> AsyncIterator[None]:
    context = app[CONTEXT]
    task = asyncio.create_task(context.peers.discover(lambda: context.config))
    yield
    task.cancel()
    await asyncio.wait([task])


async def _listen(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[HEALTH].listen())
    yield
    task.cancel()
    await asyncio.wait([task])


async def _end_logs(app: web.Application) -> None:
    app[CONTEXT].logs.end()
    app[NEWS].followers.end()


async def _close_connections(app: web.Application) -> None:
    await app[CONTEXT].upstreams.close()
    await app[CONTEXT].recorder.stop()
    if (tracing := app[CONTEXT].tracing) is not None:
        await asyncio.to_thread(tracing.shut_down)


async def hide_server(_: web.Request, response: web.StreamResponse) -> None:
    """Take back a header field that aiohttp adds; a handler for `on_response_prepare`."""
    response.headers.popall("Server", None)
