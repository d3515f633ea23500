"""Does a request ask for its answer as a stream of events?"""

import json
from typing import Any

import anyio.to_thread

from swapcore_http.bigbody import find_member
from swapcore_http.bodies import Body
from swapcore_http.jsontext import decoded, members

__all__ = ["STREAMED", "asks_for_stream"]

STREAMED = frozenset(
    {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/chat/completions",
        "/completions",
        "/responses",
        "/messages",
        "/infill",
        "/completion",
    }
)
"""Where `stream` always means events, by what upstreams are asked for; elsewhere it may mean anything."""

LARGE = 64 * 1024
"""Bytes from which on a body is looked through in a thread: everybody else would wait for that."""

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
"""What counts as true where it is written as a text."""


async def asks_for_stream(content_type: str, body: Body) -> bool:
    """Look for `stream` in a JSON body; one that has not come whole yet is taken to say nothing."""
    if not body.whole or "application/json" not in content_type.lower():
        return False

    def look() -> bool:
        content = body.content()
        if isinstance(content, bytes):
            return _is_true(_member(content))
        found = find_member(content, "stream")
        return found is not None and _is_true(found[0])

    length = body.length or 0
    return look() if length < LARGE else await anyio.to_thread.run_sync(look)


def _member(body: bytes) -> Any:
    """Find the first member `stream`, as far as the text can be read."""
    try:
        for member in members(decoded(body), lenient=True):
            if member.key == "stream":
                return member.value
    except (json.JSONDecodeError, RecursionError):
        pass
    return None


def _is_true(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return False
    # Numbers are texts here.
    try:
        return value in TRUE or float(value) != 0
    except ValueError:
        return False
