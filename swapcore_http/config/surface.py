"""Which settings say how callers are met: who they may be, what they may name, see and wait through?"""

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from swapcore_http.config.access import ApiKeyConfig
from swapcore_http.config.macros import MacroValue
from swapcore_http.config.public_names import PeerConfig, ProfileConfig, SelectorConfig
from swapcore_http.config.recording import PerformanceConfig, StoreConfig
from swapcore_http.config.setting import free_table, keyed, texts, without_blanks, written

__all__ = ["SurfaceSettings"]

IGNORED_PATHS = (r"\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$",)


def _peers_by_id(peers: Iterable[PeerConfig] | Mapping[str, PeerConfig]) -> Mapping[str, PeerConfig]:
    return keyed(peers, "peers", "id", "peer")


def _profiles_by_name(
    profiles: Iterable[ProfileConfig] | Mapping[str, ProfileConfig],
) -> Mapping[str, ProfileConfig]:
    return keyed(profiles, "profiles", "name", "profile")


def _selectors_by_id(
    selectors: Iterable[SelectorConfig] | Mapping[str, SelectorConfig],
) -> Mapping[str, SelectorConfig]:
    return keyed(selectors, "selectors", "id", "selector")


def _keys(keys: Iterable[ApiKeyConfig | str]) -> tuple[ApiKeyConfig, ...]:
    if isinstance(keys, str):
        raise TypeError("expected a list of keys, got a text")
    return tuple(ApiKeyConfig(key) if isinstance(key, str) else key for key in keys)


def _ignored(patterns: Iterable[str]) -> tuple[str, ...]:
    return texts(patterns) or IGNORED_PATHS


@frozen(kw_only=True, repr=False, eq=False)
class SurfaceSettings:
    """What a configuration says beside its models and their living together."""

    api_keys: tuple[ApiKeyConfig, ...] = field(
        default=(), converter=_keys, metadata=written("apiKeys", "a list of keys", secret=True)
    )
    """The keys of which callers must show one; without any, everybody may ask. Texts will do."""

    cors_origins: tuple[str, ...] = field(
        default=(),
        converter=texts,
        metadata=written("corsOrigins", "a list of origins such as https://ui.example"),
    )
    """The web pages, by their origins, that may change something here from a browser."""

    allowed_hosts: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("allowedHosts", "a list of host names")
    )
    """The names, beside those of this machine, by which browsers may reach a server on loopback."""

    peers: Mapping[str, PeerConfig] = field(
        factory=dict,
        converter=_peers_by_id,
        metadata=written("peers", "peers by their names", each="the peer's settings, proxy and models"),
    )
    """Other servers, by what stands before the slash in the names of their models."""

    selectors: Mapping[str, SelectorConfig] = field(
        factory=dict,
        converter=_selectors_by_id,
        metadata=written(
            "selectors", "selectors by their names", each="the selector's settings, strategy and targets"
        ),
    )
    """Names that mean one of several models."""

    profiles: Mapping[str, ProfileConfig] = field(
        factory=dict,
        converter=_profiles_by_name,
        metadata=written(
            "profiles", "profiles by their names", each="the profile's settings, such as pins: {name: model}"
        ),
    )
    """Sets of names that mean something else while they are active, one set at a time."""

    route_unknown_paths: bool = field(default=True, metadata=written("routeUnknownPaths", "true or false"))
    """Whether a POST to a path that nobody knows goes to the model that its body names."""

    ignored_paths: tuple[str, ...] = field(
        default=IGNORED_PATHS,
        converter=_ignored,
        metadata=written("upstream.ignorePaths", "a list of regular expressions"),
    )
    """The paths below `/upstream/<model>/` that start no model; none means the default."""

    include_aliases_in_list: bool = field(
        default=False, metadata=written("includeAliasesInList", "true or false")
    )
    """Whether lists of models have aliases as models of their own."""

    send_loading_state: bool = field(default=False, metadata=written("sendLoadingState", "true or false"))
    """Whether callers of a stream see that their model loads, unless the model says otherwise."""

    keep_alive_after: float = field(
        default=15, metadata=written("keepAliveAfter", "seconds, 0 for never", minimum=0)
    )
    """After how long a stream that still waits gets comments, so that no proxy in between gives up."""

    websocket_idle: float = field(
        default=30, metadata=written("websocketIdle", "seconds, 0 for never", minimum=0)
    )
    """After how long without a byte a websocket no longer keeps its model from leaving."""

    metrics_max_in_memory: int = field(
        default=1000, metadata=written("metricsMaxInMemory", "a number, 0 for 1000", from_start=True)
    )
    """How many requests are remembered where there is no store; 0 or less for 1000."""

    capture_buffer: int = field(default=5, metadata=written("captureBuffer", "MiB, 0 for none"))
    """How much memory captured requests and answers may take, in MiB; 0 or less for none."""

    store: StoreConfig | None = field(
        default=None, metadata=written("store", "a mapping with path", from_start=True)
    )
    """Where the record of requests is kept; None for memory only."""

    session_ids: tuple[str, ...] = field(
        default=("X-Session-ID", "X-Litellm-Session-Id"),
        converter=without_blanks,
        metadata=written("ui.activity.session_id", "a list of headers"),
    )
    """The headers that tell which session a request belongs to."""

    performance: PerformanceConfig = field(
        factory=PerformanceConfig,
        metadata=written("performance", "a mapping with disabled and every", from_start=True),
    )
    """How the machine is watched."""

    upstream_metrics: bool = field(default=False, metadata=written("metrics.upstreams", "true or false"))
    """Whether `/metrics` shows what the models' own servers say at `/metrics` as well."""

    otel: bool = field(default=False, metadata=written("otel.enabled", "true or false", from_start=True))
    """Whether requests are traced by OpenTelemetry; where to is said by the environment's `OTEL_*`."""

    remember_loads: bool = field(default=True, metadata=written("rememberLoads", "true or false"))
    """Whether how long loads took is kept in a file of the user's, for the next server to plan with."""

    log_requests: bool = field(default=False, metadata=written("logRequests", "true or false"))
    """Whether each request is logged once it is answered, without its query."""

    macros: Mapping[str, MacroValue] = field(
        factory=dict, converter=free_table, metadata=written("macros", "values by the names of macros")
    )
    """The macros as they were declared. They are expanded where YAML is read, and nowhere else."""
