"""Who asked for what, and what came of it?"""

import logging
from typing import Final, Protocol

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from multidict import CIMultiDictProxy

__all__ = ["AccessLog", "Sender", "client_of", "set_access_log"]

logger = logging.getLogger("swapcore_http.requests")

SKIPPED: Final = ("/wol-health", "/health", "/metrics", "/api/performance")
"""What the paths begin with that are asked for all the time."""

MAX_SHOWN: Final = 200
"""Characters of each thing that a client says."""


def set_access_log(*, on: bool) -> None:
    """Log the requests of connections that are opened from now on, or do not."""
    logger.setLevel(logging.INFO if on else logging.WARNING)


class AccessLog(AbstractAccessLogger):
    """Logs requests once they are answered. Queries are left out: people put secrets there."""

    @property
    def enabled(self) -> bool:
        """Whether it is worth being called."""
        return logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request, which took so many seconds."""
        path = request.rel_url.raw_path
        if not path.startswith(SKIPPED):
            logger.info(
                'request %s "%s %s HTTP/%d.%d" %d %d "%s" %.3f s',
                client_of(request),
                request.method,
                path[:MAX_SHOWN],
                *request.version,
                response.status,
                request.writer.output_size,
                _plain(request.headers.get("User-Agent", "")),
                time,
            )


class Sender(Protocol):
    """What a request says of who sends it."""

    @property
    def method(self) -> str:
        """What it is asked with."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """Its header fields."""

    @property
    def remote(self) -> str | None:
        """The address that it comes from."""


def client_of(request: Sender) -> str:
    """Say where it came from, as far as whoever passed it on says so."""
    first, _, _ = request.headers.get("X-Forwarded-For", "").partition(",")
    return _plain(first.strip() or request.headers.get("X-Real-IP", "")) or request.remote or "-"


def _plain(text: str) -> str:
    shown = text[:MAX_SHOWN].replace('"', "'")
    return "".join(letter if letter.isprintable() else "?" for letter in shown)
