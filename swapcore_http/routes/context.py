"""What do all routes share?"""

import asyncio
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from attrs import define, field

from swapcore import Phase
from swapcore_http.activity.recorder import Recorder
from swapcore_http.activity.recording import GONE, Recording
from swapcore_http.activity.unpacking import acceptable
from swapcore_http.bodies import Bodies, Body
from swapcore_http.config import Config, Names, PeerModel, ProfileConfig
from swapcore_http.driver import Driver, RefusedError
from swapcore_http.forward import PLAIN, Manner, forward
from swapcore_http.logstreams import LogStreams
from swapcore_http.responses import ApiError, refusal_error
from swapcore_http.selectors import Selectors, Standing, State
from swapcore_http.upstreams import Upstreams

__all__ = ["CONTEXT", "Context", "is_ready", "serve"]


@define
class Context:
    """The server behind the routes."""

    driver: Driver
    """Gives out leases."""

    config: Config
    """What the models are called, and what is to be done for each."""

    bodies: Bodies
    """The room that the bodies of all requests share."""

    upstreams: Upstreams
    """The connections to the models' runs."""

    logs: LogStreams
    """What is logged, and who reads along."""

    recorder: Recorder
    """Remembers what was asked and answered."""

    selectors: Selectors = field(factory=Selectors)
    """What selectors have sent where."""

    active: str | None = None
    """The name of the profile that was activated last, if it has not been taken back."""

    @property
    def profile(self) -> ProfileConfig | None:
        """The profile that is active: the one that was activated, if there still is such a one."""
        return self.config.profiles.get(self.active or "")

    @property
    def names(self) -> Names:
        """What all names mean."""
        return self.config.names()

    def peer_standing(self, model: PeerModel) -> Standing:  # noqa: ARG002
        """Say how a peer's model stands."""
        return Standing(State.COLD)


CONTEXT = web.AppKey("CONTEXT", Context)
"""Where an application keeps its `Context`."""


PRIORITY, PATIENCE = "X-Swap-Priority", "X-Swap-Patience"
"""The header fields in which callers may say how they want to be treated, if the configuration lets them."""

MAX_PRIORITY = 1000
"""What callers may make of their priority, upwards and downwards."""

MAX_SHOWN = 50
"""Characters of a wrong value that are repeated to the client."""

WHOLE = re.compile(r"[-+]?[0-9]{1,9}")
SECONDS = re.compile(r"inf|[0-9]{1,9}(?:\.[0-9]{1,9})?")


def is_ready(context: Context, model: str) -> bool:
    """Tell whether a caller of that model would be served without anything being started."""
    view = context.driver.snapshot().upstream(model)
    return view.phase is Phase.READY and not view.closed


async def serve(
    request: web.Request, model: str, *, target: str, body: Body, recorded: Mapping[str, Any] | None = None
) -> web.StreamResponse:
    """Lease that model and have it answer the request; see `forward`.

    Args:
        request: The client's request.
        model: The id of the model.
        target: Path and query to ask it for, encoded.
        body: The request's body.
        recorded: What is to be remembered of it besides; `None` if it is not to be recorded.

    Raises:
        ApiError: the caller was refused or asked for what nobody gets, or the
            upstream did not answer.
    """
    context = request.app[CONTEXT]
    if recorded is None:
        return await _serve(request, model, target, body)
    recorder = context.recorder
    # Larger bodies may lie on the disk, and would not be kept.
    asked = body.data if body.whole and (body.length or 0) <= recorder.captures.limit else None
    recording = recorder.begin(model, target.partition("?")[0], request.headers, asked)
    recording.metadata = recorded
    try:
        return await _serve(request, model, target, body, recording=recording)
    except ApiError as error:
        recording.failed(error.status, error.message)
        raise
    except BaseException as error:
        gone = isinstance(error, asyncio.CancelledError)
        recording.failed(
            GONE if gone else HTTPStatus.INTERNAL_SERVER_ERROR, "the client hung up" if gone else ""
        )
        raise
    finally:
        recorder.close(recording)


async def _serve(
    request: web.Request, model: str, target: str, body: Body, *, recording: Recording | None = None
) -> web.StreamResponse:
    context = request.app[CONTEXT]
    priority, patience = context.config.priority(model), None
    if context.config.caller_headers:
        priority, patience = _asked_priority(request, priority), _asked_patience(request)
    try:
        async with context.driver.lease(model, priority=priority, patience=patience) as lease:
            if recording is None:
                manner = PLAIN
            else:
                recording.leased(lease.run)
                if priority:
                    recording.metadata = {**recording.metadata, "fifo_priority": priority}
                manner = _manner(request, recording)
            return await forward(request, lease, context.upstreams, target=target, body=body, manner=manner)
    except RefusedError as refused:
        raise refusal_error(model, refused) from None


def _manner(request: web.Request, recording: Recording) -> Manner:
    """Have the answer listened to, and packed only in ways that can be unpacked."""
    accepted = request.headers.get("Accept-Encoding")
    if accepted is None or (readable := acceptable(accepted)) == accepted:
        return Manner(tap=recording)
    return Manner(
        tap=recording,
        request_extra=((b"Accept-Encoding", readable.encode("latin-1")),),
        request_without=frozenset({b"accept-encoding"}),
    )


def _asked_priority(request: web.Request, default: int) -> int:
    text = request.headers.get(PRIORITY)
    if text is None:
        return default
    if not WHOLE.fullmatch(text) or abs(int(text)) > MAX_PRIORITY:
        raise _bad(PRIORITY, text, f"a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    return int(text)


def _asked_patience(request: web.Request) -> float | None:
    text = request.headers.get(PATIENCE)
    if text is None:
        return None
    if not SECONDS.fullmatch(text):
        raise _bad(PATIENCE, text, "seconds, 0 or more, or inf")
    return float(text)


def _bad(field: str, text: str, expected: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, f"{field} is {text[:MAX_SHOWN]!r}; expected {expected}")
