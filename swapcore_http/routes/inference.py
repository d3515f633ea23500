"""Which requests go to the model that they name themselves?"""

from http import HTTPStatus

import anyio.to_thread
from aiohttp import web

from swapcore_http.bodies import Body, received
from swapcore_http.config import PeerModel
from swapcore_http.extract import Edit, Named, NoModelError, UnreadableError, edited, find_model
from swapcore_http.filters import Changes, UnfilteredError, body_edits
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import CONTEXT, caller_of
from swapcore_http.routes.serving import QUERIED, serve
from swapcore_http.routes.targets import UnknownModelError, meant
from swapcore_http.websockets import is_websocket

__all__ = ["PATHS", "QUERIED", "SHORTENED", "answer", "routes"]

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

LARGE = 64 * 1024
"""Bytes from which on a body is looked through in a thread: everybody else would wait for that."""

MOST_FILTERED = 64 * 1024 * 1024
"""Bytes of a body that is to be filtered: it is read at once for that, and takes several times as much."""

SHOWN = 200
"""Characters of a content encoding that are repeated to the client."""


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
        UnknownModelError: it names no model that there is.
        ApiError: no model answers, for the reason given.
    """
    context = request.app[CONTEXT]
    async with received(request, context.bodies) as body:
        named = await _find(request, body)
        who = meant(context, named.name, caller=caller_of(request), websocket=is_websocket(request))
        with who.held:
            rename = who.name if who.name != named.name else None
            if isinstance(who.target, PeerModel):
                filters = context.config.peers[who.target.peer].filters
                rename = who.target.model if who.target.model != named.name else None
            else:
                model = context.config.models[who.target]
                filters = model.filters
                rename = rename if named.in_query else model.use_model_name or rename
            target = _with_query(target, named, rename)
            sent = body
            wanted = Changes(rename, filters, who.name)
            if rename is not None or wanted.look_inside:
                edits = await _edits(request, body, named, wanted)
                sent = body.edited(edits) if edits else body
            recorded = None
            if request.method == "POST":
                recorded = {} if who.selector is None else {"selector": who.selector}
            return await serve(request, context, who.target, target=target, body=sent, recorded=recorded)


def _with_query(target: str, named: Named, rename: str | None) -> str:
    """Name another model in the query of a target."""
    if rename is None or not named.in_query:
        return target
    path, _, query = target.partition("?")
    return f"{path}?{edited(query.encode(errors='surrogateescape'), named.edits(rename)).decode()}"


async def _edits(request: web.Request, body: Body, named: Named, wanted: Changes) -> list[Edit]:
    """Say where the body is to change.

    Raises:
        ApiError: it cannot be filtered.
    """
    length = body.length or 0
    if not (named.is_json and wanted.look_inside):
        return body_edits(b"", named, wanted)
    if length > MOST_FILTERED:
        message = f"what this model's filters change may have {MOST_FILTERED} bytes, and the body has more"
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)

    def edits() -> list[Edit]:
        return body_edits(body.read(0, length), named, wanted)

    try:
        return edits() if length < LARGE else await anyio.to_thread.run_sync(edits)
    except UnfilteredError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{error}{_packed(request)}") from None


async def _find(request: web.Request, body: Body) -> Named:
    def find() -> Named:
        return find_model(
            method=request.method,
            query=request.rel_url.raw_query_string,
            content_type=request.headers.get("Content-Type", ""),
            body=body.content(),
        )

    length = body.length or 0
    try:
        return find() if length < LARGE else await anyio.to_thread.run_sync(find)
    except NoModelError as error:
        raise UnknownModelError(HTTPStatus.NOT_FOUND, f"{error}{_packed(request)}") from None
    except UnreadableError as error:
        raise UnknownModelError(HTTPStatus.BAD_REQUEST, f"{error}{_packed(request)}") from None


def _packed(request: web.Request) -> str:
    """Say so if the body was sent packed: that is why nothing is found in it."""
    encoding = request.headers.get("Content-Encoding", "").strip()
    if encoding.lower() in {"", "identity"}:
        return ""
    return f"; its Content-Encoding is {encoding[:SHOWN]!r}, and only unpacked bodies can be looked into"
