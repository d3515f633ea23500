"""Which parts does the description of a model or a peer have, beside the command and the address?"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

from swapcore_http.config.setting import free_table, texts, written

__all__ = ["CapabilitiesConfig", "FiltersConfig", "PeerTimeoutsConfig", "TimeoutsConfig"]

PROTECTED = "model"
"""The one parameter that no filter may touch."""

MODALITIES = ("text", "audio", "image")


def _free_tables(value: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    return MappingProxyType({name: free_table(table) for name, table in value.items()})


@frozen(kw_only=True, repr=False)
class FiltersConfig:
    """What is taken out of the body of a request, and what is put in."""

    strip_params: str = field(
        default="",
        metadata=written("stripParams", "parameters with commas between them", legacy="strip_params"),
    )
    """Parameters that are taken out, with commas between them. See `stripped`."""

    set_params: Mapping[str, Any] = field(
        factory=dict, converter=free_table, metadata=written("setParams", "values by parameters")
    )
    """Values that are put in for whichever name the model is asked by. See `assigned`."""

    set_params_by_id: Mapping[str, Mapping[str, Any]] = field(
        factory=dict,
        converter=_free_tables,
        metadata=written(
            "setParamsByID", "mappings of values by parameters, by the names that callers ask for"
        ),
    )
    """Values that are put in after these, by the name asked for. In a model each such name is an alias."""

    @property
    def empty(self) -> bool:
        """Whether nothing is configured at all."""
        return not (self.strip_params or self.set_params or self.set_params_by_id)

    @property
    def stripped(self) -> tuple[str, ...]:
        """The parameters to take out, sorted, each once; `model` is never one."""
        names = {name.strip() for name in self.strip_params.split(",")}
        return tuple(sorted(names - {"", PROTECTED}))

    def assigned(self, name: str) -> tuple[tuple[str, Any], ...]:
        """Say what is put in, in this order, when the request asks for that name; never `model`."""
        tables = (self.set_params, self.set_params_by_id.get(name, {}))
        return tuple(
            (parameter, table[parameter])
            for table in tables
            for parameter in sorted(table)
            if parameter != PROTECTED
        )


@frozen(kw_only=True, repr=False)
class TimeoutsConfig:
    """How long a connection to an upstream may take, in seconds; 0 for no limit."""

    connect: int = field(default=30, metadata=written("connect", "seconds, 0 for no limit"))
    """How long connecting may take, before TLS."""

    keepalive: int = field(
        default=30, metadata=written("keepalive", "seconds, 0 for 15, less than 0 for never")
    )
    """How long a silent connection is left alone before the system probes it, and between probes."""

    response_header: int = field(default=0, metadata=written("responseHeader", "seconds, 0 for no limit"))
    """How long the head of an answer may take after the request was sent."""

    tls_handshake: int = field(default=10, metadata=written("tlsHandshake", "seconds, 0 for no limit"))
    """How long a TLS handshake may take."""

    expect_continue: int = field(
        default=1, metadata=written("expectContinue", "seconds, 0 to send the body at once")
    )
    """Has no effect: bodies are sent at once, and this server itself answers `Expect: 100-continue`."""

    idle_conn: int = field(default=3, metadata=written("idleConn", "seconds, 0 for no limit"))
    """How long a connection that nobody uses is kept; servers of models close theirs, mostly after 5.

    Of more than 64 to one server, the others are closed after 3."""


@frozen(kw_only=True, repr=False)
class PeerTimeoutsConfig(TimeoutsConfig):
    """The same for a peer, whose models may have to load first."""

    response_header: int = field(default=60, metadata=written("responseHeader", "seconds, 0 for no limit"))
    """How long the head of an answer may take after the request was sent."""

    idle_conn: int = field(default=90, metadata=written("idleConn", "seconds, 0 for no limit"))
    """How long a connection that nobody uses is kept; of more than 64, the others are closed after 3."""


@frozen(kw_only=True, repr=False)
class CapabilitiesConfig:
    """What a model can do, as lists of models show it."""

    inputs: tuple[str, ...] = field(
        default=(),
        converter=texts,
        metadata=written("in", "a list of text, audio and image", choices=MODALITIES),
    )
    """What it understands: text, audio, image."""

    outputs: tuple[str, ...] = field(
        default=(),
        converter=texts,
        metadata=written("out", "a list of text, audio and image", choices=MODALITIES),
    )
    """What it answers with: text, audio, image."""

    tools: bool = field(default=False, metadata=written("tools", "true or false"))
    """Whether it can call tools."""

    reranker: bool = field(default=False, metadata=written("reranker", "true or false"))
    """Whether it ranks documents."""

    context: int = field(default=0, metadata=written("context", "tokens, 0 if unknown", minimum=0))
    """How many tokens fit into its context; 0 if that is not said."""
