"""Which settings are there, how are they written, and what are they unless written?

Each field carries a `Setting` with its key in YAML and what may stand there,
so tables of keys, documentation and schemas can be made from the classes.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs
from attrs import field, frozen

from swapcore_http.config import command
from swapcore_http.config.macros import MODEL_ID, PID, PORT
from swapcore_http.config.problems import ConfigError, Problem, Severity, dotted

__all__ = ["DEFAULT_PROXY", "NO_CHECK", "ModelConfig", "Setting", "Settings", "by_id", "settings_of"]

DEFAULT_PROXY = "http://localhost:${PORT}"
DEFAULT_UNLOAD_TIMEOUT = 10
NO_CHECK = "none"
"""The `check_endpoint` of a model that counts as ready as soon as it runs."""


@frozen
class Setting:
    """How a field is written in YAML."""

    key: str
    """Its key; dots lead into nested mappings."""

    expected: str
    """What may stand there, as error messages say it."""

    minimum: int | None = None
    maximum: int | None = None
    secret: bool = False
    """Whether its values are never shown."""


def written(
    key: str,
    expected: str,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    secret: bool = False,
) -> dict[type, Setting]:
    """Make the metadata of a field that stands in YAML under `key`."""
    return {Setting: Setting(key, expected, minimum, maximum, secret)}


def texts(value: Iterable[str]) -> tuple[str, ...]:
    """Make a tuple of texts, but not of the letters of one.

    Raises:
        TypeError: it is a single text.
    """
    if isinstance(value, str):
        raise TypeError(f"expected a list of texts, got the text {value!r}")
    return tuple(value)


def settings_of(cls: type[attrs.AttrsInstance]) -> dict[str, Setting]:
    """Find the settings of a class by the names of their fields."""
    return {each.name: each.metadata[Setting] for each in attrs.fields(cls) if Setting in each.metadata}


@frozen(kw_only=True)
class ModelConfig:
    """One model: the command that serves it, and how that is reached and treated.

    `${MODEL_ID}` is replaced everywhere at once. `${PORT}` stays in the fields
    that a run needs, because a run may get another port than `port`.
    All durations are whole seconds.
    """

    id: str = field(kw_only=False)
    """The name that callers ask for."""

    cmd: str = field(default="", metadata=written("cmd", "a command line"))
    """The command that starts the upstream, without its comment lines; it stays in the foreground."""

    cmd_stop: str = field(default="", metadata=written("cmdStop", "a command line"))
    """The command that stops it; empty for SIGTERM."""

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
    """How long it stays up idle, as written; `Config.ttl` knows what that comes to."""

    unload_timeout: int = field(
        default=0, metadata=written("unloadTimeout", "seconds, 0 for the top level's", minimum=0)
    )
    """How long it may take to stop, as written; see `Config.stop_timeout`."""

    health_check_timeout: int | None = field(
        default=None, metadata=written("healthCheckTimeout", "seconds, 1 or more", minimum=1)
    )
    """How long it may take to become ready; None for the configuration's."""

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

    name: str = field(default="", metadata=written("name", "a text"))
    """What people call it."""

    description: str = field(default="", metadata=written("description", "a text"))
    """What people should know about it."""

    unlisted: bool = field(default=False, metadata=written("unlisted", "true or false"))
    """Whether lists of models leave it out."""

    port: int | None = None
    """The port that `${PORT}` stands for unless a run takes another. `Config` counts it where it is None."""

    def __attrs_post_init__(self) -> None:
        for name in ("cmd", "cmd_stop"):
            text = command.without_comments(getattr(self, name))
            # A command of comments alone stays as it is, so that it can be told from none at all.
            object.__setattr__(self, name, text if text.strip() else getattr(self, name))
        if self.check_endpoint.strip() == NO_CHECK:
            object.__setattr__(self, "check_endpoint", NO_CHECK)
        for name in settings_of(type(self)):
            object.__setattr__(self, name, _replaced(getattr(self, name), MODEL_ID, self.id))

    @property
    def uses_port(self) -> bool:
        """Whether runs of this model need a port."""
        return PORT in command.without_comments(self.cmd)

    def argv(self, port: int | None = None) -> list[str]:
        """Split `cmd` into words, for a run on that port, or on the model's own."""
        return command.split(self._at(self.cmd, port))

    def stop_argv(self, port: int | None, pid: int) -> list[str]:
        """Split `cmdStop` into words, for the process `pid` of a run; empty if there is none."""
        return command.split(self._at(self.cmd_stop, port).replace(PID, str(pid)))

    def url(self, port: int | None = None) -> str:
        """Say at which URL a run on that port answers, without a slash at its end."""
        return self._at(self.proxy, port).strip().rstrip("/")

    def environment(self, parent: Mapping[str, str], port: int | None = None) -> dict[str, str]:
        """Merge `env` into the parent's environment; of duplicates the last one wins."""
        pairs = (self._at(item, port).partition("=") for item in self.env)
        return {**parent, **{name: value for name, _, value in pairs}}

    def numbered(self, port: int) -> "ModelConfig":
        """Give it that port, which also stands for `${PORT}` where no run is involved."""
        static = ("check_endpoint", "use_model_name", "name", "description", "aliases")
        changes = {name: _replaced(getattr(self, name), PORT, str(port)) for name in static}
        return attrs.evolve(self, port=port, **changes)

    def _at(self, text: str, port: int | None) -> str:
        number = self.port if port is None else port
        if number is None:
            if PORT in text:
                raise ValueError(f"{self.id}: there is no port for {PORT} in {text!r}")
            return text
        return text.replace(PORT, str(number))


def _replaced(value: Any, macro: str, text: str) -> Any:
    if isinstance(value, str):
        return value.replace(macro, text)
    if isinstance(value, tuple):
        return tuple(item.replace(macro, text) for item in value)
    return value


def by_id(models: Iterable[ModelConfig] | Mapping[str, ModelConfig]) -> Mapping[str, ModelConfig]:
    """Make a mapping of models by their ids that nobody can change.

    Raises:
        ConfigError: two models have the same id, or one is not under its own.
    """
    pairs = list(models.items()) if isinstance(models, Mapping) else [(each.id, each) for each in models]
    result: dict[str, ModelConfig] = {}
    for name, model in pairs:
        if name != model.id:
            raise _error(name, f"holds the model {model.id!r}; expected the same id in both places")
        if name in result:
            raise _error(name, "two models have this id")
        result[name] = model
    return MappingProxyType(result)


def _error(model: str, message: str) -> ConfigError:
    return ConfigError([Problem(Severity.ERROR, dotted(("models", model)), message)])


@frozen
class Settings:
    """All that a configuration says, before anything is made of it.

    All durations are whole seconds.

    Raises:
        ConfigError: two models have the same id.
    """

    models: Mapping[str, ModelConfig] = field(factory=dict, converter=by_id)
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

    log_level: str = field(default="info", metadata=written("logLevel", "debug, info, warn or error"))
    """How much is logged: debug, info, warn or error."""

    preload: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("hooks.on_startup.preload", "a list of models")
    )
    """The models to load at the start, in this order; aliases will do."""
