"""Who asks, by the key that is shown, and what may they do?

Where the configuration has no keys, everybody may do everything.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from attrs import field, frozen
from multidict import CIMultiDict, CIMultiDictProxy

from swapcore_http.config.access import SCOPES, ApiKeyConfig

__all__ = ["NOBODY", "Caller", "Headers", "Identity", "Keyring"]

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

EVERY = "*"
"""The pattern that every name matches."""


@frozen(kw_only=True, eq=False, repr=False)
class Caller:
    """Whoever shows one key. The key itself is not in here, so nothing that shows a caller can tell it."""

    name: str | None = None
    """What the key is called, or where it stands in the configuration; `None` where there are no keys."""

    models: tuple[str, ...] = (EVERY,)
    """Patterns of the names of the models that it may ask."""

    scopes: frozenset[str] = frozenset(SCOPES)
    """What it may do, of `infer`, `swap`, `admin` and `logs`."""

    priority: int | None = None
    """What it arrives with; `None` for the model's."""

    patience: float | None = None
    """How many seconds it may wait before its model goes first; `None` for the model's."""

    share: float | None = None
    """The part of each queue that it may fill; `None` for all of it."""

    is_for_all: bool = field(init=False)
    """Whether it may ask every model."""

    is_full: bool = field(init=False)
    """Whether it may do everything with every model."""

    def __attrs_post_init__(self) -> None:
        every = EVERY in self.models
        object.__setattr__(self, "is_for_all", every)
        object.__setattr__(self, "is_full", every and self.scopes.issuperset(SCOPES))

    def may(self, scope: str) -> bool:
        """Tell whether it may do that."""
        return scope in self.scopes

    def is_for(self, *names: str) -> bool:
        """Tell whether it may ask a model that has all these names: one that matches is enough."""
        return self.is_for_all or any(fnmatchcase(name, one) for name in names for one in self.models)


@frozen(eq=False, repr=False)
class Identity:
    """What a request says about who sends it."""

    caller: Caller

    fields: frozenset[bytes] = frozenset()
    """The header fields, in lower case, that carry keys of this server: they are no upstream's business."""

    spoken: bool = False
    """Whether a program that knows a key has put it there; what Basic says, browsers repeat by themselves."""

    def kept_back(self, *, forward_auth: bool) -> frozenset[bytes]:
        """Name the fields that are not to go further, unless the upstream is to get keys as well."""
        return frozenset() if forward_auth else self.fields


EVERYBODY = Identity(Caller())
NOBODY = Identity(Caller(models=(), scopes=frozenset()))


class Keyring:
    """The keys of one configuration.

    Args:
        keys: The keys, no two of them equal.
    """

    def __init__(self, keys: Iterable[ApiKeyConfig] = ()) -> None:
        self._callers = tuple((_digest(key.key), _caller(key, index)) for index, key in enumerate(keys))

    def identify(self, headers: Headers) -> Identity | None:
        """Say who sends a request with these header fields; `None` if it shows no key of these.

        A request may show another key in another field, which is then for its upstream.
        """
        if not self._callers:
            return EVERYBODY
        found: Caller | None = None
        fields: set[bytes] = set()
        spoken = False
        for name, is_basic, credential in _shown(headers):
            caller = self._find(credential)
            if caller is not None:
                found = found or caller
                fields.add(name)
                spoken = spoken or not is_basic
        return None if found is None else Identity(found, frozenset(fields), spoken)

    def _find(self, credential: str) -> Caller | None:
        """Compare digests, with every key: the time that takes tells nothing about any of them."""
        shown = _digest(credential)
        found = [caller for key, caller in self._callers if hmac.compare_digest(key, shown)]
        return found[0] if found else None


def _caller(key: ApiKeyConfig, index: int) -> Caller:
    return Caller(
        name=key.name or f"apiKeys[{index}]",
        models=key.models,
        scopes=frozenset(key.scopes),
        priority=key.priority,
        patience=key.patience,
        share=key.share,
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()


def _shown(headers: Headers) -> Iterator[tuple[bytes, bool, str]]:
    """Go through what a request shows, what counts most first: its field, whether it is Basic, itself."""
    for value in headers.getall("Authorization", ()):
        scheme, _, rest = value.partition(" ")
        match scheme.lower():
            case "basic":
                if (password := _password(rest)) is not None:
                    yield b"authorization", True, password
            case "bearer":
                yield b"authorization", False, rest.strip(" ")
    for value in headers.getall("x-api-key", ()):
        yield b"x-api-key", False, value


def _password(encoded: str) -> str | None:
    try:
        decoded = base64.b64decode(encoded.strip(" "), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    _, colon, password = decoded.partition(":")
    return password if colon else None
