"""Which header fields pass through the server, and in which form?

Fields that speak of one connection only (RFC 9110, section 7.6.1) stop here,
in both directions; all others pass as they came, repeated ones included.
"""

from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["for_client", "for_upstream"]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that are never passed on, in lower case."""

Headers = CIMultiDict[str] | CIMultiDictProxy[str]


def for_upstream(headers: Headers, client: str | None) -> CIMultiDict[str]:
    """Return the request's fields as its upstream should see them.

    Args:
        headers: What the client sent. `Host` stays the client's.
        client: The client's address, appended to `X-Forwarded-For`.
    """
    # The server has already told the client to continue, and the dials are for itself.
    passed = _without(headers, {"expect", "x-swap-priority", "x-swap-patience"})
    if client:
        hops = ", ".join([*passed.getall("X-Forwarded-For", []), client])
        passed["X-Forwarded-For"] = hops
    return passed


def for_client(headers: Headers) -> CIMultiDict[str]:
    """Return the response's fields as the client should see them."""
    passed = _without(headers, ())
    if passed.get("Content-Type", "").lower().startswith("text/event-stream"):
        # A reverse proxy before us would otherwise collect the events.
        passed["X-Accel-Buffering"] = "no"
    return passed


def _without(headers: Headers, more: Iterable[str]) -> CIMultiDict[str]:
    dropped = HOP_BY_HOP.union(more)
    for value in headers.getall("Connection", ()):
        dropped |= {token.strip().lower() for token in value.split(",")}
    passed: CIMultiDict[str] = CIMultiDict()
    spellings: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower not in dropped:
            # aiohttp's client takes a second spelling of a repeated name for a replacement.
            passed.add(spellings.setdefault(lower, name), value)
    return passed
