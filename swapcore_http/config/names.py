"""Which model does a name mean?"""

from collections.abc import Iterator, Mapping

from swapcore_http.config.problems import describe, nearest
from swapcore_http.config.schema import ModelConfig

__all__ = ["Names"]

MOST_SUGGESTIONS = 10
"""Unknown names for which the right one is sought; that takes time."""


class Names:
    """The ids and aliases of some models. An id goes before an alias that equals it."""

    def __init__(self, models: Mapping[str, ModelConfig]) -> None:
        self._ids = {alias: model.id for model in models.values() for alias in model.aliases}
        self._ids |= {id_: id_ for id_ in models}
        self._suggested = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def resolve(self, name: str) -> str | None:
        """Find the id of the model that is called so."""
        return self._ids.get(name)

    def unknown(self, name: str) -> str:
        """Say that no model is called so, and which one may be meant."""
        self._suggested += 1
        meant = nearest(name, self) if self._suggested <= MOST_SUGGESTIONS else None
        return f"no model is called {describe(name)}" + (f" (did you mean {meant}?)" if meant else "")
