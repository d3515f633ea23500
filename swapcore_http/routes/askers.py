"""What is the same for all the requests that a client sends alike?

Programs send the same header fields again and again, on connections that they
keep. Who they are, what they may do and what their upstream gets to see of
these fields is found out once for all of them.
"""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp.http_parser import RawRequestMessage
from attrs import define, field, frozen
from multidict import CIMultiDictProxy

from swapcore_http.activity.captures import joined
from swapcore_http.auth import NOBODY, Identity
from swapcore_http.config import Config
from swapcore_http.driver import Driver, Lease
from swapcore_http.framing import Fields
from swapcore_http.gate import check, check_host
from swapcore_http.headers import HeadAround, Outgoing
from swapcore_http.responses import ApiError
from swapcore_http.routes.asked import for_pages, readable
from swapcore_http.routes.context import Context
from swapcore_http.routes.dials import Dials, dials_of
from swapcore_http.routes.needs import INFER
from swapcore_http.routes.ways import Way
from swapcore_http.upstreams import Origin

__all__ = ["Asker", "Going"]

LENGTH: Final = b"content-length"
"""The one field that differs from one request to the next."""


@frozen(eq=False, repr=False)
class Sent:
    """What a request says of who sends it: see `accesslog.Sender`."""

    method: str
    headers: CIMultiDictProxy[str]
    remote: str | None


@define(eq=False, repr=False)
class Going:
    """How the requests of one asker go to one model."""

    way: Way
    model: str
    """The id of the model."""

    asked: str
    """What the client asks for, as it writes it."""

    target: str
    """The same as the upstream is asked: path and query, encoded."""

    path: str
    """The path of that."""

    extra: Fields
    """What its answers say besides."""

    metadata: Mapping[str, Any]
    """What is to be remembered of them."""

    _asker: "Asker"
    _dials: Dials
    is_limited: bool = field(init=False)
    """Whether the upstream's time counts."""

    _origin: Origin | None = field(default=None, init=False)
    _head: HeadAround | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.is_limited = bool(self.way.limits.head or self.way.limits.silence)

    def lend(self, driver: Driver) -> Lease | None:
        """Take a lease for one of them, if that can be had without waiting."""
        if not driver.lets_in(self.model):
            return None
        lease = self._dials.lease(driver, self.model)
        lease.take()
        return lease

    @property
    def captured(self) -> bytes:
        """Their header fields as captures have them."""
        return self._asker.captured

    @property
    def remote(self) -> str | None:
        """Where they come from."""
        return self._asker.sent.remote

    def head(self, origin: Origin, length: int) -> bytes:
        """Write the head of such a request whose body has that many bytes.

        Args:
            origin: Where the run that gets it answers.
            length: The bytes of the body.
        """
        if self._head is None or self._origin is not origin:
            self._origin, self._head = origin, self._around(origin)
        return self._head.with_length(length)

    def _around(self, origin: Origin) -> HeadAround:
        asker = self._asker
        accepted = readable(asker.sent.headers)
        without = asker.identity.kept_back(forward_auth=self.way.model.forward_auth)
        outgoing = Outgoing(
            "POST",
            self.target,
            asker.fields,
            client=asker.sent.remote,
            length=0,
            without=without | {b"accept-encoding"} if accepted else without,
            extra=accepted,
        )
        return HeadAround.of(outgoing, host=origin.name, base=origin.base, authorization=origin.authorization)


@define(eq=False, repr=False)
class Asker:
    """Who sends such requests. Those of one connection are compared with the last one only."""

    fields: Fields
    """The header fields of the first of them, as they came."""

    config: Config
    """The configuration for which all that holds."""

    sent: Sent
    identity: Identity
    captured: bytes
    """Their header fields as captures have them."""

    is_usual: bool
    """Whether nothing about them takes a closer look to answer them."""

    _length_at: int
    """Where in the fields that of the length stands."""

    _going: Going | None = field(default=None, init=False)
    """How the last of them went."""

    @classmethod
    def of(cls, message: RawRequestMessage, remote: str | None, context: Context) -> "Asker":
        """Find out who sends a request.

        Args:
            message: The request.
            remote: Where it comes from.
            context: The server.
        """
        fields = message.raw_headers
        places = [place for place, (name, _) in enumerate(fields) if name.lower() == LENGTH]
        sent = Sent(message.method, message.headers, remote)
        identity = context.keyring.identify(message.headers)
        is_usual = len(places) == 1 and _is_usual(message, sent, identity, context)
        return cls(
            fields=fields,
            config=context.config,
            sent=sent,
            identity=NOBODY if identity is None else identity,
            captured=joined(fields) if is_usual else b"",
            is_usual=is_usual,
            length_at=places[0] if places else 0,
        )

    def sends(self, fields: Fields) -> bool:
        """Tell whether these are the fields of one of them, whatever the length."""
        own, at = self.fields, self._length_at
        return fields == own or (
            len(fields) == len(own)
            and fields[at][0] == own[at][0]
            and fields[:at] == own[:at]
            and fields[at + 1 :] == own[at + 1 :]
        )

    def to(self, way: Way, message: RawRequestMessage) -> Going | None:
        """Find out how one of them goes to that model; `None` if it takes a closer look."""
        going = self._going
        if going is not None and going.way is way and going.asked == message.path:
            return going
        caller, config = self.identity.caller, self.config
        if not caller.is_for(way.model.id, *way.model.aliases):
            # Whoever looks closer says so.
            return None
        try:
            dials = dials_of(self.sent.headers, caller, way.priority, believed=config.caller_headers)
        except ApiError:
            return None
        metadata: dict[str, Any] = {} if caller.name is None else {"key": caller.name}
        if dials.priority:
            metadata["fifo_priority"] = dials.priority
        extra = (*way.extra, *for_pages(config, self.sent.headers))
        going = self._going = Going(
            way=way,
            model=way.model.id,
            asked=message.path,
            target=message.url.raw_path_qs,
            path=message.url.raw_path,
            extra=extra,
            metadata=metadata,
            asker=self,
            dials=dials,
        )
        return going


def _is_usual(message: RawRequestMessage, sent: Sent, identity: Identity | None, context: Context) -> bool:
    headers = message.headers
    if message.upgrade or message.should_close or message.chunked or message.compression:
        return False
    # All but JSON may name its model in other places.
    if (
        identity is None
        or "Expect" in headers
        or "application/json" not in headers.get("Content-Type", "").lower()
    ):
        return False
    try:
        check_host(sent, context)
        check(sent, context, INFER, identity)
    except ApiError:
        # Whoever looks closer says so.
        return False
    return True
