"""The least that a server of this kind can be: aiohttp with one route, and the same imports.

Those are the packages that `swapcore-http serve` is made with, as far as it has
them loaded when it answers: aiohttp with its client, anyio with the backend
that runs it, attrs, cattrs and ruamel.yaml.
"""

import asyncio
import sys

import anyio
import attrs
import cattrs
import ruamel.yaml
from aiohttp import ClientSession, web

SAME_IMPORTS = (anyio, attrs, cattrs, ruamel.yaml, ClientSession)


async def health(request: web.Request) -> web.Response:
    return web.Response(text="OK")


async def park(request: web.Request) -> web.Response:
    """Hold a request, once its body has been read."""
    await request.read()
    await asyncio.Event().wait()
    return web.Response()


def main() -> None:
    anyio.run(serve, int(sys.argv[1]))


async def serve(port: int) -> None:
    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/{path:.*}", park)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
