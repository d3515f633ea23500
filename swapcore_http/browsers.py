"""Which pages may use a browser to change something here, and by which names may it reach the server?

A browser sends what any page tells it to, and says of which origin that page
is (`Origin`, `Sec-Fetch-Site`). What it does not say is that a name of that
page's choosing led it to this machine; the `Host` shows that.
"""

import ipaddress
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["foreign_origin", "is_known_host", "is_listed"]

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

ANY = "*"
"""What stands in a list for every name, or every origin."""

UNKNOWN = "another site"
"""What an origin is called that the browser does not tell."""

STANDARD_PORTS = {"http": ":80", "https": ":443"}


def is_known_host(host: str, allowed: Collection[str]) -> bool:
    """Tell whether a `Host` is this machine's own name for itself, or one of those that are allowed.

    Args:
        host: A name or an address, perhaps with a port.
        allowed: More names, with a port if only that one is meant; `*` for every one.
    """
    if _is_own(host) or ANY in allowed:
        return True
    host = host.strip().lower()
    return any(one.lower() in (host, _name(host)) for one in allowed)


# Most requests come by the same few.
@lru_cache(maxsize=64)
def _is_own(host: str) -> bool:
    name = _name(host.strip().lower())
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Take the port off."""
    if host.startswith("["):
        name, _, rest = host.partition("]")
        return host if rest and not rest.startswith(":") else name + "]"
    name, _, port = host.partition(":")
    return host if ":" in port else name.rstrip(".")


def foreign_origin(headers: Headers, *, by_referer: bool = False) -> str | None:
    """Name the origin of the page that sent a request, if it is another than the server's own.

    Args:
        headers: The header fields of the request.
        by_referer: Whether to believe a `Referer` if nothing else tells.
    """
    site = headers.get("Sec-Fetch-Site")
    # No page can set this field, and a browser knows better what is the same than we behind a proxy.
    if site in ("same-origin", "none"):
        return None
    origin = headers.get("Origin")
    if origin is None and (site is not None or by_referer):
        origin = _origin_of(headers.get("Referer", ""))
    if origin is None:
        return None if site is None else UNKNOWN
    return None if _is_same(origin, headers.get("Host", "")) else origin


def is_listed(origin: str, listed: Collection[str]) -> bool:
    """Tell whether an origin is one of these."""
    return ANY in listed or origin.lower() in [one.lower() for one in listed]


def _origin_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else None


def _is_same(origin: str, host: str) -> bool:
    """Tell whether an origin has that host; behind a proxy, nobody here knows its scheme."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    port = STANDARD_PORTS.get(parts.scheme, "")
    return bool(parts.netloc) and _without(parts.netloc, port) == _without(host, port)


def _without(host: str, port: str) -> str:
    host = host.strip().lower()
    return host.removesuffix(port) if port else host
