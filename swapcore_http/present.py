"""Which configuration holds at present, and which was each run started with?"""

from collections.abc import Callable
from functools import cache

from attrs import define, field

from swapcore import Start
from swapcore_http.config import Config, ModelConfig
from swapcore_http.driver import Control, Launch
from swapcore_http.guard.guard import Guard
from swapcore_http.ports import Ports

__all__ = ["Present", "launching"]


@define(eq=False, repr=False)
class Present:
    """The one owner of the configuration, which another replaces as a whole.

    Whoever needs more than one thing of it asks for `config` once and keeps the
    answer, at most for as long as one request takes. What outlives a request,
    such as a log, a store or a stream of events, keeps none, and asks to be
    told by `on_replaced`.
    """

    config: Config
    """What holds now."""

    runs: dict[int, Config] = field(factory=dict, init=False)
    """What held when each run that is not over was launched."""

    _listeners: list[Callable[[Config], None]] = field(factory=list, init=False)

    def replace(self, config: Config) -> None:
        """Let another configuration hold from now on, and tell everyone who wants to know."""
        self.config = config
        for tell in tuple(self._listeners):
            tell(config)

    def on_replaced(self, tell: Callable[[Config], None]) -> None:
        """Call `tell` with each later configuration once it holds; it must neither wait nor raise."""
        self._listeners.append(tell)


def launching(present: Present, ports: Ports, guard: Guard | None = None) -> Launch:
    """Make a `Launch` for the subprocesses that the present configuration names; see `process_launch`."""

    def model(name: str) -> ModelConfig:
        return present.config.models[name]

    def grace(name: str) -> float:
        return present.config.stop_timeout(name)

    @cache
    def launch_process() -> Launch:
        # Nobody need wait for what starts models until one is to be started.
        from swapcore_http.launcher import process_launch  # noqa: PLC0415

        return process_launch(model, ports=ports, guard=guard, grace=grace)

    async def launch(start: Start, control: Control) -> str:
        present.runs[start.run] = present.config
        try:
            return await launch_process()(start, control)
        finally:
            del present.runs[start.run]

    return launch
