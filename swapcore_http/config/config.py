"""What does a sound configuration come to: who is who, and which limits hold?"""

from attrs import field, frozen

from swapcore.catalog import DEFAULT_CONCURRENCY_LIMIT, Catalog, Model
from swapcore_http.config.problems import ConfigError, Problem, Severity, dotted
from swapcore_http.config.rules import Names, findings, numbering
from swapcore_http.config.schema import DEFAULT_UNLOAD_TIMEOUT, ModelConfig, Settings, by_id

__all__ = ["Config"]


@frozen
class Config(Settings):
    """Settings that make sense, from YAML or made in Python.

        Config(models=[ModelConfig("a", cmd="llama-server --port ${PORT} -m a.gguf")])

    Every model whose `cmd` has `${PORT}` has a number for it, and `preload`
    holds ids, each once.

    Raises:
        ConfigError: something in the settings makes no sense.
    """

    _names: Names = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        errors = [each for each in findings(self) if each.severity is Severity.ERROR]
        if errors:
            raise ConfigError(Problem(Severity.ERROR, dotted(each.path), each.message) for each in errors)
        numbers = numbering(self.models, self.start_port)
        models = by_id(
            each.numbered(numbers[each.id]) if each.id in numbers else each for each in self.models.values()
        )
        object.__setattr__(self, "models", models)
        names = Names(models)
        object.__setattr__(self, "_names", names)
        ids = (names.resolve(name) for name in self.preload)
        object.__setattr__(self, "preload", tuple(dict.fromkeys(id_ for id_ in ids if id_ is not None)))

    def resolve(self, name: str) -> str | None:
        """Find the id of the model that callers mean by this id or alias; None if there is none."""
        return self._names.resolve(name)

    def ttl(self, model_id: str) -> int:
        """Say how many seconds a model stays up idle; 0 if it is for as long as nothing needs its room."""
        ttl = self.models[model_id].ttl
        return self.global_ttl if ttl < 0 else ttl

    def stop_timeout(self, model_id: str) -> int:
        """Say how many seconds a model may take to stop."""
        return self.models[model_id].unload_timeout or self.unload_timeout or DEFAULT_UNLOAD_TIMEOUT

    def catalog(self) -> Catalog:
        """Describe the models to the engine."""
        return Catalog(self._model(model) for model in self.models.values())

    def _model(self, model: ModelConfig) -> Model:
        limit = model.concurrency_limit
        own = model.health_check_timeout
        return Model(
            model.id,
            concurrency_limit=limit if limit > 0 else DEFAULT_CONCURRENCY_LIMIT,
            start_timeout=self.health_check_timeout if own is None else own,
            ttl=self.ttl(model.id) or None,
            unload_timeout=self.stop_timeout(model.id),
        )
