"""The plain pass-through that everything is compared with: an aiohttp server and an aiohttp client.

Started as a program: `python passthrough.py PORT UPSTREAM_PORT`. It routes nothing and decides nothing.
"""

import sys

import aiohttp
from aiohttp import web

HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "host",
    "content-length",
}


async def health(_: web.Request) -> web.Response:
    return web.Response(text="OK")


async def relay(request: web.Request) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    url = request.app["upstream"] + request.path_qs
    large = (request.content_length or 0) > 1 << 20
    data = request.content if large else await request.read()
    async with request.app["session"].request(request.method, url, headers=headers, data=data) as answer:
        passed = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
        response = web.StreamResponse(status=answer.status, headers=passed)
        response.content_length = answer.content_length
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def open_session(app: web.Application) -> None:
    app["session"] = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def main() -> None:
    app = web.Application(client_max_size=1 << 30)
    app["upstream"] = f"http://127.0.0.1:{sys.argv[2]}"
    app.on_startup.append(open_session)
    app.router.add_get("/health", health)
    app.router.add_route("*", "/{path:.*}", relay)
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, handler_cancellation=True
    )


if __name__ == "__main__":
    main()
