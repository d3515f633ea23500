"""What does a caller show to prove who it is, and which of it is meant for this server alone?"""

import base64
import binascii
import hmac
from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["ours", "shown"]

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

FIELDS = ("authorization", "x-api-key")


def shown(headers: Headers) -> str | None:
    """Return the credential that counts: the password of Basic, else a Bearer's, else the `x-api-key`."""
    return _of_authorization(headers.get("Authorization", "")) or headers.get("x-api-key")


def ours(headers: Headers, keys: Iterable[str]) -> frozenset[bytes]:
    """Name the fields, in lower case, that carry one of these keys, which are no one else's business.

    Comparing takes the same time whatever they have in common.
    """
    known = [key.encode(errors="surrogateescape") for key in keys]
    carried: dict[str, list[str | None]] = {
        "authorization": [_of_authorization(value) for value in headers.getall("Authorization", ())],
        "x-api-key": list(headers.getall("x-api-key", ())),
    }
    return frozenset(
        name.encode()
        for name in FIELDS
        if any(_is_any(credential, known) for credential in carried[name] if credential)
    )


def _is_any(credential: str, keys: list[bytes]) -> bool:
    written = credential.encode(errors="surrogateescape")
    # All are compared, so that how long it takes does not tell which one it is.
    return any([hmac.compare_digest(written, key) for key in keys])  # noqa: C419


def _of_authorization(value: str) -> str | None:
    scheme, _, rest = value.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest
        case "basic":
            try:
                decoded = base64.b64decode(rest.strip(), validate=True).decode("utf-8", "surrogateescape")
            except (binascii.Error, ValueError):
                return None
            return decoded.partition(":")[2]
        case _:
            return None
