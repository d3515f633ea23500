"""How does another configuration take the place of the present one, while everything runs?

Whoever wants it says so to the `Reloader`, which alone reads and applies. What
is said while it is at it counts for the next time, so nothing is missed, the
last of several edits holds, and no two of them meet.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

import anyio
import anyio.to_thread
import attrs
from attrs import define, evolve, field, frozen

from swapcore import Catalog, Planner, Settings
from swapcore_http.config import Config, ConfigError, Loaded, Problem, Severity
from swapcore_http.config.schema import ModelConfig
from swapcore_http.config.setting import settings_of
from swapcore_http.driver import Driver
from swapcore_http.ports import Ports
from swapcore_http.present import Present

__all__ = ["Difference", "Outcome", "Reloader"]

logger = logging.getLogger(__name__)

SHOWN_NAMES = 20
"""Models that a line of the log names at most."""


@frozen(repr=False)
class Difference:
    """What another configuration changes, as ids of models in its order."""

    added: tuple[str, ...] = ()
    """Models that were not there."""

    removed: tuple[str, ...] = ()
    """Models that are gone: their runs finish what they serve, and leave."""

    restarted: tuple[str, ...] = ()
    """Models that are served by another process from now on; a run of them finishes what it serves."""

    adjusted: tuple[str, ...] = ()
    """Models of which other things changed, which hold at once."""

    settings: tuple[str, ...] = ()
    """Keys of the settings besides models that changed, and hold at once."""

    next_start: tuple[str, ...] = ()
    """Keys of settings that are not what they were when the server started, and wait for its next start."""

    def __str__(self) -> str:
        changes = attrs.asdict(self, recurse=False)
        changes["not before the next start"] = changes.pop("next_start")
        return (
            "; ".join(f"{what} {_listed(names)}" for what, names in changes.items() if names) or "no change"
        )


@frozen(eq=False, repr=False)
class Outcome:
    """What one reload came to."""

    difference: Difference | None
    """What changed; `None` if the configuration could not be used and nothing did."""

    problems: tuple[Problem, ...] = ()
    """What is wrong with it, or odd about it."""


@define(eq=False, repr=False)
class _Asked:
    """One who wants the configuration to be read again."""

    outcome: Outcome | None = None
    done: anyio.Event = field(factory=anyio.Event)


class Reloader:
    """Reads the configuration again and puts it in place, for whoever asks.

    Args:
        read: Reads it; called in a thread. Raises `ConfigError`.
        present: Where the configuration that holds is kept.
        driver: Tells the engine.
        ports: Knows which ports the runs have.
        loads: How many seconds loads are expected to take, by `Model.revision`.
    """

    def __init__(
        self,
        read: Callable[[], Loaded],
        present: Present,
        driver: Driver,
        ports: Ports,
        loads: Mapping[str, float] | None = None,
    ) -> None:
        self._read = read
        self._present = present
        self._started = present.config
        self._driver = driver
        self._ports = ports
        self._loads = loads
        self._told = self._engine_side(present.config)
        self._asked: list[_Asked] = []
        self._wanted = anyio.Event()

    def request(self) -> None:
        """Have it read again soon, and do not wait for that."""
        self._ask()

    async def reload(self) -> Outcome:
        """Have it read again, and return what came of it; being cancelled takes nothing back."""
        asked = self._ask()
        await asked.done.wait()
        assert asked.outcome is not None  # noqa: S101 - set before the event is.
        return asked.outcome

    async def run(self) -> None:
        """Read and apply whenever somebody asks, one after the other, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            asked, self._asked = self._asked, []
            outcome = await self._reload()
            for one in asked:
                one.outcome = outcome
                one.done.set()

    def _ask(self) -> _Asked:
        asked = _Asked()
        self._asked.append(asked)
        self._wanted.set()
        return asked

    async def _reload(self) -> Outcome:
        try:
            # Everything that takes long, and nothing that the loop owns.
            loaded, told = await anyio.to_thread.run_sync(self._prepare)
        except ConfigError as error:
            problems = error.problems
        except Exception:
            # A bug of ours is no reason to give up what runs.
            logger.exception("reading the configuration failed")
            what = "reading the configuration failed; the server's log says more"
            problems = (Problem(Severity.ERROR, "", what),)
        else:
            for warning in loaded.warnings:
                logger.warning("%s", warning)
            difference = self._apply(loaded.config, told)
            logger.info("reloaded the configuration: %s", difference)
            return Outcome(difference, loaded.warnings)
        logger.error("the configuration is not reloaded, the one before holds:\n%s", ConfigError(problems))
        return Outcome(None, problems)

    def _prepare(self) -> "tuple[Loaded, _EngineSide]":
        loaded = self._read()
        return loaded, self._engine_side(loaded.config)

    def _engine_side(self, config: Config) -> "_EngineSide":
        return config.catalog(self._loads), config.planner(), config.engine_settings()

    def _apply(self, config: Config, told: "_EngineSide") -> Difference:
        before = self._present.config
        difference = evolve(
            _difference(before, config, self._told[0], told[0]),
            next_start=_changed(self._started, config, from_start=True),
        )
        # First, so that whatever the engine orders is carried out by the new configuration.
        self._present.replace(config.beside(self._ports.lent, self._ports.held))
        if told != self._told:
            self._told = told
            self._driver.replace(*told)
        if wished := [model for model in config.preload if model not in before.preload]:
            self._driver.load(wished)
        return difference


_EngineSide = tuple[Catalog, Planner, Settings]
"""What a configuration is to the engine."""


def _difference(before: Config, after: Config, old: Catalog, new: Catalog) -> Difference:
    kept = [model for model in after.models if model in before.models]
    restarted = [model for model in kept if new.by_id[model].revision != old.by_id[model].revision]
    adjusted = [
        model
        for model in kept
        if model not in restarted and before.as_written[model] != after.as_written[model]
    ]
    return Difference(
        added=_without(after.models, before.models),
        removed=_without(before.models, after.models),
        restarted=tuple(restarted),
        adjusted=tuple(adjusted),
        settings=_changed(before, after, from_start=False),
    )


def _changed(before: Config, after: Config, *, from_start: bool) -> tuple[str, ...]:
    """Return the keys that changed, of those that hold from the start of a server or of the others."""
    return tuple(
        setting.key
        for name, setting in settings_of(Config).items()
        if name != "models"
        and setting.from_start is from_start
        and getattr(before, name) != getattr(after, name)
    )


def _without(models: Iterable[str], others: Mapping[str, ModelConfig]) -> tuple[str, ...]:
    return tuple(model for model in models if model not in others)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
