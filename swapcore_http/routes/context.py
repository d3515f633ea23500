"""What do all routes share?"""

from aiohttp import StreamReader, web
from attrs import define

from swapcore_http.config import Config
from swapcore_http.driver import Driver, RefusedError
from swapcore_http.forward import Sessions, forward
from swapcore_http.responses import refusal_error

__all__ = ["CONTEXT", "Context", "serve"]


@define
class Context:
    """The server behind the routes."""

    driver: Driver
    """Gives out leases."""

    config: Config
    """What the models are called, and what is to be done for each."""

    sessions: Sessions | None = None
    """Connections to the upstreams, while the application runs."""


CONTEXT = web.AppKey("CONTEXT", Context)
"""Where an application keeps its `Context`."""


async def serve(
    request: web.Request, model: str, *, target: str, body: bytes | StreamReader
) -> web.StreamResponse:
    """Lease that model and have it answer the request; see `forward`.

    Raises:
        ApiError: the caller was refused, or the upstream did not answer.
    """
    context = request.app[CONTEXT]
    assert context.sessions is not None  # noqa: S101 - requests come while the application runs.
    try:
        async with context.driver.lease(model) as lease:
            return await forward(request, lease, context.sessions, target=target, body=body)
    except RefusedError as refused:
        raise refusal_error(model, refused) from None
