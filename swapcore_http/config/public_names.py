"""What can callers ask for beside the models of this machine: peers' models, selectors, profiles' pins?"""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from swapcore_http.config.parts import FiltersConfig, PeerTimeoutsConfig
from swapcore_http.config.setting import free_table, text_table, texts, written

__all__ = ["STRATEGIES", "PeerConfig", "ProfileConfig", "SelectorConfig"]

STRATEGIES = ("pin", "warm", "spillover")


def _models(value: Any) -> Any:
    return value if value == "auto" else texts(value)


@frozen(kw_only=True, repr=False)
class PeerConfig:
    """Another server, and the models that it offers."""

    id: str = field(kw_only=False)
    """What stands before the slash when callers ask for its models by their whole names."""

    proxy: str = field(default="", metadata=written("proxy", "a URL such as http://other:8080"))
    """The URL at which it answers."""

    api_key: str = field(default="", repr=False, metadata=written("apiKey", "a key", secret=True))
    """The key that it is shown; empty for none."""

    models: tuple[str, ...] | Literal["auto"] = field(
        default=(), converter=_models, metadata=written("models", "a list of models, or auto")
    )
    """The models that it offers; `auto` for those that it lists itself."""

    filters: FiltersConfig = field(
        factory=FiltersConfig,
        metadata=written("filters", "a mapping with stripParams, setParams and setParamsByID"),
    )
    """What is changed in the requests that it gets."""

    timeouts: PeerTimeoutsConfig = field(
        factory=PeerTimeoutsConfig, metadata=written("timeouts", "a mapping of seconds")
    )
    """How long it may take."""

    forward_auth: bool = field(default=False, metadata=written("forwardAuth", "true or false"))
    """Whether it is shown the credentials that a caller showed here."""


@frozen(kw_only=True, repr=False)
class ProfileConfig:
    """Names that mean something else as long as this profile is active."""

    name: str = field(kw_only=False)
    """What it is called."""

    description: str = field(default="", metadata=written("description", "a text"))
    """What people should know about it."""

    pins: Mapping[str, str] = field(
        factory=dict,
        converter=text_table,
        metadata=written("pins", "models by the names that callers ask for"),
    )
    """What names mean: the name of a model or a selector, or nothing if the name is not to be had."""


@frozen(kw_only=True, repr=False)
class SelectorConfig:
    """A name that means one of several models, whichever suits best."""

    id: str = field(kw_only=False)
    """The name that callers ask for."""

    strategy: str = field(
        default="", metadata=written("strategy", "pin, warm or spillover", choices=STRATEGIES)
    )
    """Which target is chosen: the first (`pin`), one that is up (`warm`), or one with room (`spillover`)."""

    targets: tuple[str, ...] = field(
        default=(), converter=texts, metadata=written("targets", "a list of models")
    )
    """The names of the models to choose from, the best first."""

    spillover: int = field(
        default=1, metadata=written("settings.spillover", "a number of requests, 1 or more")
    )
    """How many requests a target takes before the next one is tried."""

    name: str = field(default="", metadata=written("name", "a text"))
    """What people call it."""

    description: str = field(default="", metadata=written("description", "a text"))
    """What people should know about it."""

    unlisted: bool = field(default=False, metadata=written("unlisted", "true or false"))
    """Whether lists of models leave it out."""

    metadata: Mapping[str, Any] = field(
        factory=dict, converter=free_table, metadata=written("metadata", "a mapping")
    )
    """What lists of models show besides."""
