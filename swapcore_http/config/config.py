"""What does a sound configuration come to: who is who, and which limits hold?"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Literal, Self, cast

import attrs
from attrs import field, frozen

from swapcore.catalog import DEFAULT_CONCURRENCY_LIMIT, Catalog, Model
from swapcore.collation import Policy
from swapcore.settings import Settings as EngineSettings
from swapcore_http.config.names import Names
from swapcore_http.config.planners import planner_of
from swapcore_http.config.problems import ConfigError, Problem, Severity, dotted
from swapcore_http.config.rules import LAST_PORT, findings, numbering
from swapcore_http.config.schema import DEFAULT_UNLOAD_TIMEOUT, ModelConfig, Settings, by_id

if TYPE_CHECKING:
    from swapcore.planning import Groups, Matrix

__all__ = ["COMFYUI", "Config"]

COMFYUI = "comfyui_auto"
"""The model whose pages are below `/comfyui/`: a tab asks for much at once, and its websocket stays open."""

COMFYUI_LIMIT = 50


@frozen(repr=False)
class Config(Settings):
    """Settings that make sense, from YAML or made in Python.

        Config(models=[ModelConfig("a", cmd="llama-server --port ${PORT} -m a.gguf")])

    Every model whose `cmd` has `${PORT}` has a number for it, and `preload`
    holds ids, each once.

    Raises:
        ConfigError: something in the settings makes no sense.
    """

    as_written: Mapping[str, ModelConfig] = field(init=False, eq=False, repr=False)
    """The models before their ports were counted: what does not differ in it is the same model."""

    _names: Names = field(init=False, eq=False, repr=False)
    _revisions: Mapping[str, str] = field(init=False, eq=False, repr=False)
    _priorities: Mapping[str, int] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        errors = [each for each in findings(self) if each.severity is Severity.ERROR]
        if errors:
            raise ConfigError(Problem(Severity.ERROR, dotted(each.path), each.message) for each in errors)
        self._settle()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make it of settings that were looked at already, and in which there is no error."""
        config = cls.__new__(cls)
        for each in attrs.fields(Settings):
            object.__setattr__(config, each.name, getattr(settings, each.name))
        config._settle()  # noqa: SLF001 - it is this class's own.
        return config

    def _settle(self) -> None:
        """Draw from the settings what follows from them."""
        # Before the ports are counted: a port belongs to a run, and counts for nothing here.
        object.__setattr__(self, "_revisions", {each.id: _revision(each) for each in self.models.values()})
        object.__setattr__(self, "as_written", self.models)
        names = _set_ports(self, numbering(self.models, self.start_port))
        ids = (names.resolve(name) for name in self.preload)
        object.__setattr__(self, "preload", tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None)))
        priorities = {names.resolve(name): priority for name, priority in self.priorities.items()}
        object.__setattr__(self, "_priorities", priorities)

    def beside(self, lent: Mapping[str, int], held: Collection[int]) -> Self:
        """Return the same configuration with ports that do not meet those of runs.

        Args:
            lent: The numbers that `${PORT}` stands for in runs, by their models, which keep them.
            held: All ports that runs hold; other models get none of them.
        """
        numbers = numbering(self.as_written, self.start_port, lent=lent, held=held)
        if max(numbers.values(), default=0) > LAST_PORT:
            # Where numbers run out, a run finds a free port when it starts.
            return self
        again = copy(self)
        _set_ports(again, numbers)
        return again

    def resolve(self, name: str) -> str | None:
        """Find the id of the model that callers mean by this id or alias; None if there is none."""
        return self._names.resolve(name)

    def names(self, discovered: Mapping[str, Iterable[str]] | None = None) -> Names:
        """Say what all names mean, with what peers list themselves whose `models` are `auto`."""
        return (
            self._names if discovered is None else Names(self.models, self.peers, self.selectors, discovered)
        )

    def unknown(self, name: str) -> str:
        """Say that no model is called so, and which one may be meant."""
        return self._names.unknown(name)

    def ttl(self, model_id: str) -> int:
        """Say how many seconds a model stays up idle; 0 if it is for as long as nothing needs its room."""
        ttl = self.models[model_id].ttl
        return self.global_ttl if ttl < 0 else ttl

    def start_timeout(self, model_id: str) -> int:
        """Say how many seconds a model may take to become ready."""
        own = self.models[model_id].health_check_timeout
        return self.health_check_timeout if own is None else own

    def stop_timeout(self, model_id: str) -> int:
        """Say how many seconds a model may take to stop."""
        return self.models[model_id].unload_timeout or self.unload_timeout or DEFAULT_UNLOAD_TIMEOUT

    def priority(self, model_id: str) -> int:
        """Say which priority the callers of a model arrive with."""
        return self._priorities.get(model_id, 0)

    def patience_of(self, model_id: str) -> float:
        """Say how many seconds callers who do not say may wait for a model before it goes first."""
        model = self.models.get(model_id)
        own = None if model is None else model.patience
        return self.patience if own is None else own

    def shows_loading(self, model_id: str) -> bool:
        """Say whether callers of a model's streams see that it loads."""
        own = self.models[model_id].send_loading_state
        return self.send_loading_state if own is None else own

    def concurrency_limit(self, model_id: str) -> int:
        """Say how many callers a model serves at once."""
        limit = self.models[model_id].concurrency_limit
        return limit if limit > 0 else DEFAULT_CONCURRENCY_LIMIT

    def catalog(self, loads: Mapping[str, float] | None = None) -> Catalog:
        """Describe the models to the engine.

        Args:
            loads: How many seconds loads are expected to take, by `Model.revision`.
        """
        expected = loads or {}
        return Catalog(self._model(model, expected) for model in self.models.values())

    def planner(self) -> "Groups | Matrix":
        """Make what says to the engine which models must leave for another."""
        return planner_of(self, self._names)

    def policy(self) -> Policy:
        """Set the engine's dials of collation."""
        collation = self.collation
        return Policy(
            patience=self.patience,
            load_factor=collation.load_factor,
            quantum=collation.quantum,
            choice=cast(Literal["oldest", "age", "work"], collation.choice),
        )

    def engine_settings(self) -> EngineSettings:
        """Say to the engine what holds for all models."""
        drain = self.reload_drain_timeout
        return EngineSettings(
            policy=self.policy(),
            max_queue=self.max_queue,
            shutdown_timeout=self.shutdown_timeout,
            reload_drain_timeout=math.inf if drain is None else drain,
        )

    def _model(self, model: ModelConfig, expected: Mapping[str, float]) -> Model:
        revision = self._revisions[model.id]
        return Model(
            model.id,
            concurrency_limit=self.concurrency_limit(model.id),
            start_timeout=self.start_timeout(model.id),
            progress_extends_start=model.start_progress_extends,
            ttl=self.ttl(model.id) or None,
            unload_timeout=self.stop_timeout(model.id),
            patience=model.patience,
            max_queue=model.max_queue,
            pinned=model.pinned,
            expected_load=expected.get(revision),
            revision=revision,
        )


def _set_ports(config: Config, numbers: Mapping[str, int]) -> Names:
    """Give the models of a new configuration these ports, and index their names, which may hold them."""
    models = by_id(
        _completed(each.numbered(numbers[each.id]) if each.id in numbers else each)
        for each in config.as_written.values()
    )
    names = Names(models, config.peers, config.selectors)
    object.__setattr__(config, "models", models)
    object.__setattr__(config, "_names", names)
    return names


def _completed(model: ModelConfig) -> ModelConfig:
    """Add the aliases that it has without saying so, and what ComfyUI's pages need."""
    aliases = tuple(dict.fromkeys((*model.aliases, *model.generated_aliases)))
    if aliases != model.aliases:
        model = attrs.evolve(model, aliases=aliases)
    if model.id != COMFYUI:
        return model
    limit = max(model.concurrency_limit, COMFYUI_LIMIT)
    return attrs.evolve(model, concurrency_limit=limit, ignore_websockets=True)


def _revision(model: ModelConfig) -> str:
    """Make a text that is another one for whatever would be another process, or another way to end it."""
    parts = [model.cmd, model.cmd_stop, model.after_stop, model.env, model.proxy, model.check_endpoint]
    if model.check_model:
        # Only then, so that what was measured of all others before there was such a key is still theirs.
        parts.append(model.check_model)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
