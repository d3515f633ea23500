"""What exists: which models can be asked for, and how may each be run?"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from attrs import field, frozen

from swapcore.errors import CatalogError

__all__ = ["Catalog", "Model"]

DEFAULT_CONCURRENCY_LIMIT = 10
"""Callers an upstream serves at once when its model says nothing else."""


DEFAULT_MAX_QUEUE = 10_000
"""Callers who may wait for a model when it says nothing else."""


@frozen(kw_only=True)
class Model:
    """One model that callers may ask for, and the limits of running it.

    All durations are seconds. The engine knows no command line: what makes
    one process differ from another is the adapter's business.

    Raises:
        CatalogError: a value is out of its range.
    """

    id: str = field(kw_only=False)
    """The name that callers' tickets carry; not empty."""

    concurrency_limit: int = DEFAULT_CONCURRENCY_LIMIT
    """How many callers its upstream serves at once, at least 1."""

    start_timeout: float = 120.0
    """How long a run may take from its `Start` to `BecameReady`."""

    progress_extends_start: bool = False
    """Whether `Progressed` gives a starting run its whole `start_timeout` anew."""

    ttl: float | None = None
    """How long an idle upstream stays up; `None` for as long as nothing needs its room."""

    unload_timeout: float = 10.0
    """How long leases may outlast an unload, and a run its `Stop` before it is forced."""

    patience: float | None = None
    """How long its callers may wait before it goes first; `None` for the engine's `Policy.patience`."""

    max_queue: int = DEFAULT_MAX_QUEUE
    """How many callers may wait for it; one more is refused."""

    pinned: bool = False
    """Whether it stays once it is up: nothing evicts it and its `ttl` does not count."""

    expected_load: float | None = None
    """How long its load is taken for until one is measured; `None` for as long as the average of the others.
    Whoever keeps what was measured over a restart gives it back here."""

    revision: str = ""
    """Stands for whatever makes one run of it differ from another: another revision is a changed model."""

    def __attrs_post_init__(self) -> None:
        if not self.id:
            raise CatalogError("a model needs an id that is not empty")
        if self.concurrency_limit < 1:
            raise CatalogError(
                f"{self.id}: concurrency_limit is {self.concurrency_limit}; expected at least 1"
            )
        if self.max_queue < 0:
            raise CatalogError(f"{self.id}: max_queue is {self.max_queue}; expected 0 or more")
        for name, seconds in (
            ("start_timeout", self.start_timeout),
            ("unload_timeout", self.unload_timeout),
            ("ttl", 0.0 if self.ttl is None else self.ttl),
            ("patience", 0.0 if self.patience is None else self.patience),
            ("expected_load", 0.0 if self.expected_load is None else self.expected_load),
        ):
            # Written so that NaN fails as well.
            if not seconds >= 0:
                raise CatalogError(f"{self.id}: {name} is {seconds}; expected 0 or more seconds")


def _in_order(models: Iterable[Model]) -> tuple[Model, ...]:
    return tuple(models)


@frozen
class Catalog:
    """All models, in definition order, which settles every tie.

    Raises:
        CatalogError: two models have the same id.
    """

    models: tuple[Model, ...] = field(converter=_in_order)
    """The models in the order in which they were defined."""

    by_id: Mapping[str, Model] = field(init=False, eq=False, repr=False)
    """The same models by their ids, in the same order."""

    def __attrs_post_init__(self) -> None:
        by_id: dict[str, Model] = {}
        for model in self.models:
            if model.id in by_id:
                raise CatalogError(f"two models have the id {model.id!r}")
            by_id[model.id] = model
        object.__setattr__(self, "by_id", MappingProxyType(by_id))

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)
