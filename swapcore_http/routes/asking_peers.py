"""How does a request get its answer from a peer?"""

import math
from http import HTTPStatus
from typing import Final

from aiohttp import web

from swapcore_http.config import PeerModel
from swapcore_http.forward import forward
from swapcore_http.framing import Fields
from swapcore_http.relay import Limits
from swapcore_http.responses import ApiError
from swapcore_http.routes.asked import Asked
from swapcore_http.routes.targets import gone_model
from swapcore_http.routes.ways import MODEL, shown
from swapcore_http.websockets import Loose, is_websocket

__all__ = ["ask_peer"]

VIA: Final = "X-Swap-Via"
"""The field of a request that names the servers which have passed it on to a peer."""

MOST_PASSED: Final = 8
"""How many these may be."""


async def ask_peer(asked: Asked, model: PeerModel) -> web.StreamResponse:
    """Have a peer answer, unless it did not lately.

    Raises:
        ApiError: it does not.
    """
    request, target, context = asked.request, asked.target, asked.context
    peers, peer = context.peers, context.config.peers.get(model.peer)
    if peer is None:
        raise gone_model(model.qualified)
    passed = _passed(request)
    if peers.name in passed:
        message = f"the request for {model.qualified!r} has been here before: peers pass it on in a circle"
        raise ApiError(HTTPStatus.LOOP_DETECTED, message)
    if len(passed) >= MOST_PASSED:
        message = f"the request has passed {len(passed)} servers already, and goes no further"
        raise ApiError(HTTPStatus.LOOP_DETECTED, message)
    down = peers.down(peer.id)
    if down is not None:
        wait = math.ceil(peers.wait(down))
        message = f"the peer {peer.id} did not answer lately: {down.why}; it is asked again in {wait} s"
        raise ApiError(HTTPStatus.BAD_GATEWAY, message, {"Retry-After": str(max(1, wait))})
    stopped = {name.lower().encode() for name in request.headers if name.lower().startswith("x-forwarded-")}
    # Its own name, and not that which this server is known by.
    stopped |= {b"host", VIA.lower().encode(), *asked.identity.kept_back(forward_auth=peer.forward_auth)}
    via = ", ".join([*passed, peers.name]).encode(errors="surrogateescape")
    added: Fields = ((VIA.encode(), via),)
    if peer.api_key:
        key = peer.api_key.encode(errors="surrogateescape")
        stopped |= {b"authorization", b"x-api-key"}
        added = (*added, (b"Authorization", b"Bearer " + key), (b"x-api-key", key))
    manner = asked.manner(
        # It has no run, and waits for nothing here.
        0,
        ((MODEL.encode(), shown(model.qualified).encode()),),
        Limits(peer.timeouts, peer.timeouts.response_header),
        without=frozenset(stopped),
        added=added,
        forwarded=False,
    )
    to = Loose(f"the peer {peer.id}", peer.proxy, peers.number(peer))
    try:
        if is_websocket(request):
            answer = await context.tunnels.join(request, to, target=target, manner=manner)
        else:
            answer = await forward(
                request, to, context.upstreams, target=target, body=asked.body, manner=manner
            )
    except ApiError as error:
        if error.status == HTTPStatus.BAD_GATEWAY:
            peers.failed(peer.id, str(error.__cause__ or error.message))
        raise
    peers.answered(peer.id)
    return answer


def _passed(request: web.Request) -> list[str]:
    """Name the servers that the request has passed."""
    names = ",".join(request.headers.getall(VIA, ())).split(",")
    return [name.strip() for name in names if name.strip()]
