"""What becomes of an operator's wish to have a model loaded?"""

import asyncio

from attrs import define, field

from swapcore import (
    CatalogReplaced,
    Exited,
    Lost,
    Phase,
    Refusal,
    Reject,
    ShutdownRequested,
    Stop,
    UnloadRequested,
    UpstreamView,
)
from swapcore_http.driver import Driver, Observation
from swapcore_http.lease import RefusedError

__all__ = ["Wishes"]


@define(eq=False, repr=False)
class Wishes:
    """Makes wishes of one driver, and watches it for what becomes of them."""

    _driver: Driver
    _waiting: dict[str, set["asyncio.Future[None]"]] = field(factory=dict, init=False)
    _ended: dict[str, str] = field(factory=dict, init=False)
    """What was said last of the end of a run, of models that are waited for."""

    def __attrs_post_init__(self) -> None:
        self._driver.watch(self._observe)

    def wish(self, model: str) -> None:
        """Ask for that model to be loaded.

        Raises:
            RefusedError: it has failed, and is left alone for a while.
        """
        now = self._driver.now()
        view = self._view(model)
        if view is not None and view.cooling_until is not None and view.cooling_until > now:
            seconds = view.cooling_until - now
            raise _refused(
                Refusal.COOLING_DOWN, f"{model} failed lately; it is tried again in {seconds:.0f} s", seconds
            )
        self._driver.load([model])

    async def until_ready(self, model: str) -> None:
        """Wait until the model that was wished for is ready.

        Raises:
            RefusedError: it will not be.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(model, set())
        waiting.add(future)
        try:
            self._look(None)
            await future
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(model, None)
                self._ended.pop(model, None)

    def _observe(self, step: Observation) -> None:
        if self._waiting:
            if isinstance(step.event, Lost | Exited) and step.event.model in self._waiting:
                self._ended[step.event.model] = step.event.detail
            for command in step.commands:
                if isinstance(command, Stop) and command.model in self._waiting:
                    self._ended.setdefault(command.model, f"stopped ({command.reason.value})")
            self._look(step)

    def _look(self, step: Observation | None) -> None:
        """Answer those whose wish has come true, or will not."""
        snapshot = self._driver.snapshot(tickets=False)
        views = {view.model: view for view in snapshot.upstreams}
        for model, waiting in self._waiting.items():
            view = views.get(model)
            if view is not None and view.phase is Phase.READY:
                for future in waiting:
                    if not future.done():
                        future.set_result(None)
            elif model not in snapshot.wishes and (view is None or view.phase is not Phase.STARTING):
                error = self._why(model, step)
                for future in waiting:
                    if not future.done():
                        future.set_exception(error)

    def _why(self, model: str, step: Observation | None) -> RefusedError:
        match None if step is None else step.event:
            case UnloadRequested():
                return _refused(Refusal.UNLOADED, f"{model} was unloaded before it was ready")
            case ShutdownRequested():
                return _refused(Refusal.SHUTTING_DOWN, "the server is shutting down")
            case CatalogReplaced():
                return _refused(Refusal.UNKNOWN_MODEL, f"{model} was removed from the configuration")
        if self._driver.snapshot(tickets=False).shutting_down:
            return _refused(Refusal.SHUTTING_DOWN, "the server is shutting down")
        if model in self._ended:
            return _refused(Refusal.START_FAILED, self._ended[model])
        return _refused(Refusal.CANNOT_FIT, f"there is no room for {model} beside what stays")

    def _view(self, model: str) -> UpstreamView | None:
        views = self._driver.snapshot(tickets=False).upstreams
        return next((view for view in views if view.model == model), None)


def _refused(refusal: Refusal, detail: str, retry_after: float | None = None) -> RefusedError:
    return RefusedError(Reject(0, refusal, detail, retry_after))
