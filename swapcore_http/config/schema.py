"""Which settings are there, how are they written, and what are they unless written?

Each field carries a `Setting` with its key in YAML and what may stand there,
so tables of keys, documentation and schemas can be made from the classes.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import attrs
from attrs import field, frozen

from swapcore.catalog import DEFAULT_MAX_QUEUE
from swapcore_http.config import command
from swapcore_http.config.macros import MODEL_ID, PID, PORT, MacroValue, substituted
from swapcore_http.config.parts import CapabilitiesConfig, FiltersConfig, TimeoutsConfig
from swapcore_http.config.routing import POLICY, CollationConfig, GroupConfig, MatrixConfig
from swapcore_http.config.setting import (
    free_table,
    keyed,
    settings_of,
    texts,
    whole_table,
    written,
)
from swapcore_http.config.surface import SurfaceSettings

__all__ = ["DEFAULT_PROXY", "NO_CHECK", "ModelConfig", "Settings", "by_id"]

DEFAULT_PROXY = "http://localhost:${PORT}"
DEFAULT_UNLOAD_TIMEOUT = 10
NO_CHECK = "none"
"""The `check_endpoint` of a model that counts as ready as soon as it runs."""

MACROS = frozenset({"macros"})
"""The field in which every reference stays."""

RUN_FIELDS = frozenset({"after_stop", "cmd", "cmd_stop", "env", "macros", "proxy"})
"""Fields in which `${PORT}` stays, because it is another one for each run; macros stay as declared."""

WAITING = "how many callers may wait, 0 or more"
PATIENCE = "seconds, 0 or more, or .inf"


@frozen(kw_only=True, repr=False)
class ModelConfig:
    """One model: the command that serves it, and how that is reached and treated.

    `${MODEL_ID}` is replaced everywhere at once. `${PORT}` stays in the fields
    that a run needs, because a run may get another port than `port`.
    All durations are seconds.
    """

    id: str = field(kw_only=False)
    """The name that callers ask for."""

    cmd: str = field(default="", metadata=written("cmd", "a command line"))
    """The command that starts the upstream, without its comment lines; it stays in the foreground."""

    cmd_stop: str = field(default="", metadata=written("cmdStop", "a command line"))
    """The command that stops it; empty for SIGTERM."""

    after_stop: str = field(default="", metadata=written("afterStop", "a command line"))
    """A command that succeeds once what a run held is free, tried again while it fails; empty for none."""

    after_stop_timeout: float = field(
        default=10.0, metadata=written("afterStopTimeout", "seconds, 0 or more", minimum=0)
    )
    """How long it may take until `after_stop` succeeds."""

    proxy: str = field(
        default=DEFAULT_PROXY, metadata=written("proxy", "a URL such as http://localhost:8080")
    )
    """The URL at which the upstream answers."""

    check_endpoint: str = field(
        default="/health", metadata=written("checkEndpoint", "a path such as /health, or none")
    )
    """The path that answers 200 once the upstream is ready; `none` if it is ready at once."""

    ttl: int = field(
        default=-1, metadata=written("ttl", "seconds, 0 for never, or -1 for globalTTL", minimum=-1)
    )
    """How long it stays up idle. `Config.ttl` knows what that comes to."""

    unload_timeout: int = field(
        default=0, metadata=written("unloadTimeout", "seconds, 0 for the top level's", minimum=0)
    )
    """How long it may take to stop. `Config.stop_timeout` knows what that comes to."""

    health_check_timeout: int | None = field(
        default=None, metadata=written("healthCheckTimeout", "seconds, 1 or more", minimum=1)
    )
    """How long it may take to become ready; None for the configuration's."""

    start_progress_extends: bool = field(
        default=False, metadata=written("startProgressExtends", "true or false")
    )
    """Whether a start that shows progress, by output or by a 503 that says something, gets that time anew."""

    probe_timeout: float = field(
        default=5.0, metadata=written("probeTimeout", "seconds, 0 for no limit", minimum=0)
    )
    """How long one health check may take before it is asked again; 0 for no limit."""

    check_model: str = field(default="", metadata=written("checkModel", "the id of a model"))
    """What the upstream has to list at `/v1/models` once it is ready, or the start has failed; empty for
    whatever it serves. Nothing is asked where `check_endpoint` is `none`."""

    aliases: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("aliases", "a list of names")
    )
    """Other names that callers may use."""

    env: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("env", "a list of NAME=value", secret=True)
    )
    """What is set in its environment, as `NAME=value`."""

    use_model_name: str = field(default="", metadata=written("useModelName", "a model's name"))
    """The name it is told instead of the one it was asked for; empty for the latter."""

    concurrency_limit: int = field(
        default=0, metadata=written("concurrencyLimit", "a number, 0 for the default")
    )
    """How many callers it serves at once; 0 or less for the engine's default."""

    max_queue: int = field(default=DEFAULT_MAX_QUEUE, metadata=written("maxQueue", WAITING, minimum=0))
    """How many callers may wait for it; one more is refused."""

    patience: float | None = field(default=None, metadata=written("patience", PATIENCE, minimum=0))
    """How long its callers may wait before it goes first; None for the configuration's."""

    pinned: bool = field(default=False, metadata=written("pinned", "true or false"))
    """Whether it stays once it is up: nothing evicts it and its `ttl` does not count."""

    name: str = field(default="", metadata=written("name", "a text"))
    """What people call it."""

    description: str = field(default="", metadata=written("description", "a text"))
    """What people should know about it."""

    unlisted: bool = field(default=False, metadata=written("unlisted", "true or false"))
    """Whether lists of models leave it out."""

    filters: FiltersConfig = field(
        factory=FiltersConfig,
        metadata=written("filters", "a mapping with stripParams, setParams and setParamsByID"),
    )
    """What is changed in the requests that it gets."""

    forward_auth: bool = field(default=False, metadata=written("forwardAuth", "true or false"))
    """Whether it is shown the credentials that a caller showed here."""

    on_client_abort: str = field(
        default="cancel", metadata=written("onClientAbort", "cancel or drain", choices=("cancel", "drain"))
    )
    """What happens to an answer whose caller is gone: `cancel` it, or let the upstream finish (`drain`)."""

    stall_timeout: float = field(
        default=0, metadata=written("stallTimeout", "seconds, 0 for no limit", minimum=0)
    )
    """How long the upstream may be silent within an answer while another model is due; 0 for no limit."""

    send_loading_state: bool | None = field(
        default=None, metadata=written("sendLoadingState", "true or false")
    )
    """Whether callers of a stream see that it loads; None for the configuration's."""

    timeouts: TimeoutsConfig = field(
        factory=TimeoutsConfig, metadata=written("timeouts", "a mapping of seconds")
    )
    """How long connections to it may take."""

    ignore_websockets: bool = field(
        default=False, metadata=written("compat.ignoreWebsockets", "true or false")
    )
    """Whether open websockets do not count as requests being served."""

    capabilities: CapabilitiesConfig = field(
        factory=CapabilitiesConfig,
        metadata=written("capabilities", "a mapping with in, out, tools, reranker and context"),
    )
    """What it can do, as lists of models show it."""

    metadata: Mapping[str, Any] = field(
        factory=dict, converter=free_table, metadata=written("metadata", "a mapping")
    )
    """What lists of models show besides."""

    macros: Mapping[str, MacroValue] = field(
        factory=dict, converter=free_table, metadata=written("macros", "values by the names of macros")
    )
    """Its own macros as they were declared. They are expanded where YAML is read, and nowhere else."""

    port: int | None = None
    """The port that `${PORT}` stands for unless a run takes another. `Config` counts it where it is None."""

    def __attrs_post_init__(self) -> None:
        for name in ("cmd", "cmd_stop", "after_stop"):
            text = command.without_comments(getattr(self, name))
            # A command of comments alone stays as it is, so that it can be told from none at all.
            object.__setattr__(self, name, text if text.strip() else getattr(self, name))
        if self.check_endpoint.strip() == NO_CHECK:
            object.__setattr__(self, "check_endpoint", NO_CHECK)
        for name, value in _replaced(self, {MODEL_ID: self.id}, MACROS).items():
            object.__setattr__(self, name, value)

    @property
    def generated_aliases(self) -> tuple[str, ...]:
        """The other names in `filters.set_params_by_id`, sorted: all of them can be asked for."""
        return tuple(sorted(self.filters.set_params_by_id.keys() - {self.id}))

    @property
    def uses_port(self) -> bool:
        """Whether runs of this model need a port."""
        return PORT in command.without_comments(self.cmd)

    def argv(self, port: int | None = None) -> list[str]:
        """Split `cmd` into words, for a run on that port, or on the model's own."""
        return command.split(self._at(self.cmd, port))

    def stop_argv(self, port: int | None, pid: int | None) -> list[str]:
        """Split `cmdStop` into words, for the process `pid` of a run; empty if there is none.

        Without a `pid` the words hold `${PID}` where it belongs.
        """
        return command.split(self._for_process(self.cmd_stop, port, pid))

    def after_stop_argv(self, port: int | None, pid: int) -> list[str]:
        """Split `afterStop` into words likewise."""
        return command.split(self._for_process(self.after_stop, port, pid))

    def url(self, port: int | None = None) -> str:
        """Say at which URL a run on that port answers, without a slash at its end."""
        return self._at(self.proxy, port).strip().rstrip("/")

    def environment(self, parent: Mapping[str, str], port: int | None = None) -> dict[str, str]:
        """Merge `env` into the parent's environment; of duplicates the last one wins."""
        pairs = (self._at(item, port).partition("=") for item in self.env)
        return {**parent, **{name: value for name, _, value in pairs}}

    def numbered(self, port: int) -> "ModelConfig":
        """Give it that port, which also stands for `${PORT}` where no run is involved."""
        return attrs.evolve(self, port=port, **_replaced(self, {PORT: port}, RUN_FIELDS))

    def _for_process(self, text: str, port: int | None, pid: int | None) -> str:
        text = self._at(text, port)
        return text if pid is None else text.replace(PID, str(pid))

    def _at(self, text: str, port: int | None) -> str:
        number = self.port if port is None else port
        if number is None:
            if PORT in text:
                raise ValueError(f"{self.id}: there is no port for {PORT} in {text!r}")
            return text
        return text.replace(PORT, str(number))


def _replaced(
    model: ModelConfig, values: Mapping[str, MacroValue], omitted: AbstractSet[str]
) -> dict[str, Any]:
    """Collect the fields in which references are replaced, with what they become."""
    old = ((name, getattr(model, name)) for name in settings_of(type(model)) if name not in omitted)
    return {name: new for name, value in old if (new := substituted(value, values)) is not value}


def by_id(models: Iterable[ModelConfig] | Mapping[str, ModelConfig]) -> Mapping[str, ModelConfig]:
    """Make a mapping of models by their ids that nobody can change.

    Raises:
        ConfigError: two models have the same id, or one is not under its own.
    """
    return keyed(models, "models", "id", "model")


def _by_name(groups: Iterable[GroupConfig] | Mapping[str, GroupConfig]) -> Mapping[str, GroupConfig]:
    return keyed(groups, "groups", "name", "group")


@frozen(repr=False, eq=False)
class Settings(SurfaceSettings):
    """All that a configuration says, before anything is made of it.

    All durations are seconds.

    Raises:
        ConfigError: two models have the same id, or two groups the same name.
    """

    models: Mapping[str, ModelConfig] = field(
        factory=dict,
        converter=by_id,
        metadata=written("models", "models by their names", each="the model's settings, at least cmd"),
    )
    """The models by their ids, in definition order. A list of models will do."""

    health_check_timeout: int = field(
        default=120, metadata=written("healthCheckTimeout", "seconds, 1 or more", minimum=1)
    )
    """How long an upstream may take to become ready."""

    start_port: int = field(
        default=5800, metadata=written("startPort", "a port from 1 to 65535", minimum=1, maximum=65535)
    )
    """The first port that `${PORT}` stands for."""

    global_ttl: int = field(default=0, metadata=written("globalTTL", "seconds, 0 for never", minimum=0))
    """How long models that do not say stay up idle; 0 for as long as nothing needs their room."""

    unload_timeout: int = field(
        default=DEFAULT_UNLOAD_TIMEOUT, metadata=written("unloadTimeout", "seconds, 0 for 10", minimum=0)
    )
    """How long models that do not say may take to stop; 0 for the default."""

    shutdown_timeout: int = field(
        default=30, metadata=written("shutdownTimeout", "seconds, 0 or more", minimum=0)
    )
    """How long callers are still served after the server was told to end."""

    reload_drain_timeout: int | None = field(
        default=None, metadata=written("reloadDrainTimeout", "seconds, 0 or more", minimum=0)
    )
    """How long callers are still served by a model that a new configuration changes or lacks; None for
    as long as they like."""

    log_level: str = field(default="info", metadata=written("logLevel", "debug, info, warn or error"))
    """How much is logged: debug, info, warn or error."""

    log_to_stdout: str = field(
        default="proxy",
        metadata=written(
            "logToStdout",
            "proxy, upstream, both or none",
            choices=("proxy", "upstream", "both", "none"),
            from_start=True,
        ),
    )
    """Whose log goes to stdout, and to `/logs`: the server's own, the upstreams', both or none."""

    log_time_format: str = field(
        default="", metadata=written("logTimeFormat", "a name such as rfc3339", from_start=True)
    )
    """How lines of the server's log say when they were written; empty for not at all."""

    max_body_mb: int = field(
        default=512, metadata=written("maxBodyMB", "mebibytes, 1 or more", minimum=1, maximum=1_000_000)
    )
    """How large the body of a request may be, in mebibytes."""

    max_connections: int | None = field(
        default=None,
        metadata=written("maxConnections", "how many clients may be connected, 1 or more", minimum=1),
    )
    """How many clients may be connected at once; None for as many as the limit of open files has room for."""

    preload: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("hooks.on_startup.preload", "a list of models")
    )
    """The models to load at the start, in this order; aliases will do."""

    patience: float = field(default=POLICY.patience, metadata=written("patience", PATIENCE, minimum=0))
    """How long callers of models that do not say may wait before their model goes first."""

    max_queue: int = field(default=100_000, metadata=written("maxQueue", WAITING, minimum=0))
    """How many callers may wait in all; one more is refused."""

    caller_headers: bool = field(default=False, metadata=written("callerHeaders", "true or false"))
    """Whether callers may set their own priority and patience, in `X-Swap-Priority` and `X-Swap-Patience`."""

    router: str = field(default="", metadata=written("routing.router.use", "group or matrix"))
    """Which says what may live together: `group` or `matrix`; empty for the one that is there."""

    groups: Mapping[str, GroupConfig] = field(
        factory=dict,
        converter=_by_name,
        metadata=written("groups", "groups by their names", each="the group's settings, such as members"),
    )
    """The groups by their names. A list of groups will do."""

    matrix: MatrixConfig | None = field(
        default=None, metadata=written("matrix", "a mapping with sets, vars and evict_costs")
    )
    """The sets of models that may live together."""

    scheduler: str = field(default="", metadata=written("routing.scheduler.use", "fifo"))
    """Who decides who goes first. There is one such, `fifo`, which is meant if it is empty as well."""

    priorities: Mapping[str, int] = field(
        factory=dict,
        converter=whole_table,
        metadata=written("routing.scheduler.settings.fifo.priority", "whole numbers by models"),
    )
    """What the callers of a model arrive with, 0 for models not named; aliases will do. Higher goes first."""

    collation: CollationConfig = field(
        factory=CollationConfig,
        metadata=written(
            "routing.scheduler.settings.collation", "a mapping with loadFactor, quantum and choice"
        ),
    )
    """The dials that say in which order models take turns."""

    @property
    def uses_matrix(self) -> bool:
        """Whether the matrix says which models may live together, and not the groups."""
        return self.router == "matrix" or (not self.router and self.matrix is not None)
