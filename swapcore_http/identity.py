"""Does an upstream serve the model that it is to?

A program with a bad configuration can be ready and serve another model, or
none. Where a model's `checkModel` says which one is expected, the upstream has
to list it at `/v1/models` before anybody is let through.
"""

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any

import aiohttp
import anyio
from yarl import URL

from swapcore_http.readiness import probe_url
from swapcore_http.trust import trust_for

__all__ = ["what_else"]

LIST = "/v1/models"
LIST_BYTES = 1024 * 1024
"""What is read of a list at most."""

SHOWN_IDS, SHOWN_LENGTH = 5, 100
"""Of the models listed, how many are named, and how much of each."""

AGAIN = 0.1
"""Seconds after which an upstream that does not answer yet is asked again."""


async def what_else(url: str, expected: str, *, patience: float) -> str | None:
    """Ask an upstream that is ready for its list of models, and say what is wrong with it.

    As long as there is no answer, or one with status 503 as while loading, it
    is asked again: the caller cancels this when the time of the start is over.

    Args:
        url: The base URL of the upstream.
        expected: The id that the list has to hold.
        patience: Seconds for one request, 0 for no limit.

    Returns:
        `None` if the model is in the list; else a sentence for people.
    """
    target = URL(probe_url(url, LIST), encoded=True)
    timeout = aiohttp.ClientTimeout(total=patience)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as session:
        while True:
            begun = time.monotonic()
            try:
                async with session.get(target, allow_redirects=False, ssl=trust_for(url)) as response:
                    status, body = response.status, await _beginning(response)
            except (aiohttp.ClientError, OSError, TimeoutError):
                status, body = HTTPStatus.SERVICE_UNAVAILABLE, b""
            if status != HTTPStatus.SERVICE_UNAVAILABLE:
                break
            await anyio.sleep(max(0.0, AGAIN - (time.monotonic() - begun)))
    unknown = f"whether it serves {expected!r} cannot be told"
    if status != HTTPStatus.OK:
        return f"{unknown}: it answers GET {LIST} with status {status}"
    listed = _ids(body)
    if listed is None:
        return f"{unknown}: its answer to GET {LIST} is no list of models"
    if expected in listed:
        return None
    shown = ", ".join(f"{name[:SHOWN_LENGTH]!r}" for name in listed[:SHOWN_IDS]) or "no model"
    more = f" and {len(listed) - SHOWN_IDS} more" if len(listed) > SHOWN_IDS else ""
    return f"it serves {shown}{more} instead of {expected!r}, as GET {LIST} says"


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer that is not too long to the end."""
    try:
        return await response.content.readexactly(LIST_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _ids(body: bytes) -> list[str] | None:
    """Return the ids that a list of models holds, if it is one."""
    try:
        answer: Any = json.loads(body)
        return [str(each["id"]) for each in answer["data"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
