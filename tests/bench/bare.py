"""The least that a server of this kind can be: aiohttp with one route, and the same imports."""

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
    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/{path:.*}", park)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
