"""Which requests go to the model that they name themselves?"""

from http import HTTPStatus

import anyio.to_thread
from aiohttp import web

from swapcore_http.bodies import Body, received
from swapcore_http.extract import Named, NoModelError, UnreadableError, find_model
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, serve

__all__ = ["PATHS", "QUERIED", "SHORTENED", "NotNamedError", "answer", "routes"]

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/reranking",
    "/rerank",
    "/reranking",
    "/infill",
    "/completion",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/voices",
    "/v1/images/generations",
    "/v1/images/edits",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
)
"""Where a POST names its model in its body, or for lack of one in its query."""

SHORTENED = (
    "/v/chat/completions",
    "/v/completions",
    "/v/responses",
    "/v/messages",
    "/v/messages/count_tokens",
    "/v/embeddings",
    "/v/rerank",
    "/v/reranking",
    "/audioapi/v1/tasks/run",
)
"""Likewise, and the upstream is asked for what comes after the first segment."""

QUERIED = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")
"""Where a GET names its model in its query."""

LARGE = 64 * 1024
"""Bytes from which on a body is looked through in a thread: everybody else would wait for that."""

SHOWN = 200
"""Characters of an unknown name that are repeated to the client."""


class NotNamedError(ApiError):
    """The request names no model that there is."""


def routes() -> list[web.RouteDef]:
    """Return these routes."""
    return [
        *(web.post(path, infer) for path in PATHS),
        *(web.post(path, infer_shortened) for path in SHORTENED),
        *(web.get(path, infer) for path in QUERIED),
    ]


async def infer(request: web.Request) -> web.StreamResponse:
    """Have the model that the request names answer it."""
    return await answer(request, request.rel_url.raw_path_qs)


async def infer_shortened(request: web.Request) -> web.StreamResponse:
    """Likewise, without the path's first segment."""
    whole = request.rel_url.raw_path_qs
    return await answer(request, whole[whole.index("/", 1) :])


async def answer(request: web.Request, target: str) -> web.StreamResponse:
    """Have the model that the request names answer it.

    Args:
        request: The client's request.
        target: Path and query to ask the upstream for, encoded.

    Raises:
        NotNamedError: it names no model that there is.
        ApiError: no model answers, for the reason given.
    """
    config = request.app[CONTEXT].config
    async with received(request, request.app[CONTEXT].bodies) as body:
        named = await _find(request, body)
        model = config.resolve(named.name)
        if model is None:
            shown = named.name if len(named.name) <= SHOWN else named.name[:SHOWN] + "…"
            message = f"no model is called {shown!r}; GET /v1/models lists them"
            raise NotNamedError(HTTPStatus.NOT_FOUND, message)
        known_as = config.models[model].use_model_name
        sent = body.edited(named.edits(known_as)) if known_as and not named.in_query else body
        return await serve(request, model, target=target, body=sent)


async def _find(request: web.Request, body: Body) -> Named:
    length = body.length or 0

    def find() -> Named:
        return find_model(
            method=request.method,
            query=request.rel_url.raw_query_string,
            content_type=request.headers.get("Content-Type", ""),
            body=body.read(0, length),
        )

    try:
        return find() if length < LARGE else await anyio.to_thread.run_sync(find)
    except NoModelError as error:
        raise NotNamedError(HTTPStatus.NOT_FOUND, f"{error}{_packed(request)}") from None
    except UnreadableError as error:
        raise NotNamedError(HTTPStatus.BAD_REQUEST, f"{error}{_packed(request)}") from None


def _packed(request: web.Request) -> str:
    """Say so if the body was sent packed: that is why nothing is found in it."""
    encoding = request.headers.get("Content-Encoding", "").strip()
    if encoding.lower() in {"", "identity"}:
        return ""
    return f"; its Content-Encoding is {encoding[:SHOWN]!r}, and only unpacked bodies can be looked into"
