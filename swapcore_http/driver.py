"""Who owns the engine, performs its commands and hands out leases?

The driver is the only thing that calls `Engine.handle`. It knows neither HTTP
nor processes: what brings a run up is a launcher that it is given, and what
serves a caller is whoever holds the lease. It needs an anyio event loop:

    async with Driver(engine, launch) as driver:
        async with driver.lease("a") as lease:
            ...  # talk to lease.url; it is safe from eviction until here
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, assert_never

import anyio
from attrs import evolve

from swapcore import (
    Arrived,
    Catalog,
    CatalogReplaced,
    Command,
    Engine,
    Event,
    Exited,
    Forward,
    LoadRequested,
    Lost,
    MisuseError,
    Phase,
    Planner,
    Refusal,
    Reject,
    Released,
    Settings,
    ShutdownRequested,
    Snapshot,
    Start,
    Stop,
    Tick,
    UnloadRequested,
    Urgency,
)
from swapcore_http.control import Control, Launch
from swapcore_http.lease import Clinging, EngineFailedError, Lease, NotUpError, RefusedError
from swapcore_http.observing import Observation, Observers

__all__ = ["Control", "Driver", "EngineFailedError", "Launch", "Lease", "Observation", "RefusedError"]

logger = logging.getLogger(__name__)

ENDING = (Exited, ShutdownRequested)
"""What can be the end of everything."""

JOURNAL_TAIL = 256
"""Events kept in memory, to be shown if the engine ever fails."""


class Driver:
    """Runs an engine against launchers, inside an anyio event loop.

    Use it as an async context manager: its task group lives in the task that
    entered it. Leaving it kills whatever still runs.

    Args:
        engine: The engine, which nobody else may call from now on.
        launch: Brings up one run; see `Launch`.
        clock: Seconds that never go back.
        observe: Called after each event with what happened, synchronously;
            it must not raise and must not report events.
        observe_passing: Whether it is to be called at present for callers
            who are let through as they arrive, too; `None` for always.
    """

    def __init__(
        self,
        engine: Engine,
        launch: Launch,
        *,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[Observation], None] | None = None,
        observe_passing: Callable[[], bool] | None = None,
    ) -> None:
        self._engine = engine
        self._launch = launch
        self._clock = clock
        self._observers = Observers(observe, observe_passing)
        self._inbox: deque[Event] = deque()
        self._draining = False
        self._closed = False
        self._failure: EngineFailedError | None = None
        self._tail: deque[tuple[float, Event]] = deque(maxlen=JOURNAL_TAIL)
        self._tickets = 0
        self._leases: dict[int, Lease] = {}
        self._clinging = Clinging()
        self._runs: dict[int, Control] = {}
        self._on_leaving: list[Callable[[int], None]] = []
        self._armed: float | None = None
        self._wake = anyio.Event()
        self._finished = anyio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start keeping time for the engine."""
        self._tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._tasks.start_soon(self._keep_time)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Kill what still runs and wait until it is gone."""
        self._close()
        self._tasks.cancel_scope.cancel()
        return await self._stack.__aexit__(kind, error, trace)

    def lease(
        self,
        model: str,
        *,
        priority: int = 0,
        patience: float | None = None,
        caller: str | None = None,
        share: float | None = None,
        brings_up: bool = True,
    ) -> Lease:
        """Make a lease of that model, to be entered with `async with`.

        Args:
            model: The id of the model.
            priority: See `Arrived`.
            patience: See `Arrived`.
            caller: See `Arrived`.
            share: See `Arrived`.
            brings_up: Whether the model may be brought up for it. If not, it
                waits only for its turn at a model that is up, and as long as
                that is, and nothing is stopped because of it.
        """
        self._tickets += 1
        arrived = Arrived(self._tickets, model, priority, patience, caller, share, brings_up)
        return Lease(arrived, driver=self, brings_up=brings_up)

    def lets_in(self, model: str) -> bool:
        """Tell whether a lease of that model can be had without waiting, by `Lease.take`."""
        return not self._draining and self._failure is None and self._engine.lets_in(model)

    def url(self, run: int) -> str | None:
        """Return the base URL at which that run answers, if it ever became ready and is not over."""
        control = self._runs.get(run)
        return None if control is None else control._url

    def on_leaving(self, tell: Callable[[int], None]) -> None:
        """Call `tell` with the number of each run that will serve nobody any more; perhaps more than once."""
        self._on_leaving.append(tell)

    def watch(self, observe: Callable[[Observation], None]) -> None:
        """Call that as well after events from now on, as the driver's own `observe`.

        It is not told of callers who are let through as they arrive, nor of
        their being finished if nothing follows from that.
        """
        self._observers.watchers.append(observe)

    @property
    def failed(self) -> bool:
        """Whether the engine has failed, and everything is being taken down."""
        return self._failure is not None

    @property
    def late(self) -> float:
        """By how many seconds the engine's deadline has passed without its being told."""
        deadline = self._engine.deadline
        return 0.0 if deadline is None else max(0.0, self._clock() - deadline)

    @property
    def oldest_lease(self) -> float:
        """For how many seconds the oldest of the leases has been held; 0 without one."""
        now = self._clock()
        held = (now - lease.since for lease in self._leases.values() if lease.since is not None)
        return max(held, default=0.0)

    def now(self) -> float:
        """Return the engine's present second."""
        return self._clock()

    def snapshot(self, *, tickets: bool = True) -> Snapshot:
        """Look at the engine's state, with those who wait or without; for showing, never for deciding."""
        return self._engine.snapshot(tickets=tickets)

    def is_up(self, model: str) -> bool:
        """Tell whether a caller of that model would be served without it being started."""
        views = self._engine.snapshot(tickets=False).upstreams
        return any(view.model == model and view.phase is Phase.READY and not view.closed for view in views)

    def load(self, models: Iterable[str]) -> None:
        """Ask for these models to be loaded, one after the other, when there is room."""
        self.report(LoadRequested(tuple(models)))

    def unload(self, models: Iterable[str], urgency: Urgency = Urgency.DRAIN) -> Coroutine[None, None, None]:
        """Unload these models at once; what is returned waits until their present runs are over."""
        names = tuple(models)
        runs = [control for control in self._runs.values() if control._model in names]
        self.report(UnloadRequested(names, urgency))
        return _all_over(runs)

    def replace(self, catalog: Catalog, planner: Planner, settings: Settings) -> None:
        """Go over to another configuration; what it does not change goes on undisturbed."""
        self.report(CatalogReplaced(catalog, planner, settings))

    async def shutdown(self, urgency: Urgency = Urgency.DRAIN) -> None:
        """End everything and wait until every run is over. Call it again to hurry."""
        self.report(ShutdownRequested(urgency))
        await self._finished.wait()

    def report(self, event: Event) -> None:
        """Tell the engine a fact and perform what it orders, before returning.

        Raises:
            MisuseError: the fact is impossible; nothing has changed.
        """
        self._inbox.append(event)
        if self._draining:
            return
        self._draining = True
        misuse: MisuseError | None = None
        try:
            while self._inbox:
                try:
                    self._step(self._inbox.popleft())
                except MisuseError as error:
                    misuse = misuse or error
        finally:
            self._draining = False
        deadline = self._engine.deadline
        if deadline is not None and (self._armed is None or deadline < self._armed):
            # The timer would wake too late; an early tick costs nothing.
            self._wake.set()
        if misuse is not None:
            raise misuse

    def _step(self, event: Event) -> None:
        if self._failure is not None:
            return
        if self._clinging.leases and isinstance(event, Lost | Exited):
            # For them the engine would start it anew, at once.
            for released in self._turn_away(event.model):
                self._step(released)
        now = self._clock()
        self._tail.append((now, event))
        try:
            commands = self._engine.handle(event, now)
        except MisuseError:
            raise
        except Exception:
            logger.exception("the engine failed at %r", event)
            self._fail()
            return
        for command in commands:
            self._perform(command, now)
        self._observers.tell(now, event, commands)
        if isinstance(event, ENDING) and self._engine.finished:
            self._finished.set()

    def _perform(self, command: Command, now: float) -> None:
        match command:
            case Forward():
                lease = self._leases[command.ticket]
                control = self._runs[command.run]
                lease.run = command.run
                lease.since = now
                lease.url = control._url or ""
                control._leases[command.ticket] = lease
                if self._clinging.leases:
                    self._clinging.discard(lease)
                lease._tell(command)
            case Start(model, run):
                # Registered before its task runs: a Stop of it can be the next command.
                control = Control(model=model, run=run, driver=self)
                self._runs[run] = control
                self._tasks.start_soon(self._live, command, control, name=f"{model} run {run}")
            case Stop(run=run):
                if run in self._runs:
                    self._runs[run]._told(command)
                # They would be in the way of others until it is gone.
                self._inbox.extendleft(self._turn_away(command.model))
            case Reject(ticket):
                lease = self._leases[ticket]
                self._clinging.discard(lease)
                lease._tell(self._with_output(command, lease.model))
            case _:
                assert_never(command)

    def _with_output(self, reject: Reject, model: str) -> Reject:
        """Add the upstream's last lines to a failed start that is not its own end, and so has none."""
        if reject.refusal is not Refusal.START_FAILED or "\n" in reject.detail:
            return reject
        lines = next((control.output() for control in self._runs.values() if control._model == model), "")
        return evolve(reject, detail=f"{reject.detail}\nits last output:\n{lines}") if lines else reject

    async def _live(self, start: Start, control: Control) -> None:
        """Run the launcher and report the exit, however it ends."""
        detail = "killed"
        try:
            if control.stopping.is_set():
                detail = "told to stop before it was launched"
            else:
                detail = await self._launch(start, control)
        except anyio.get_cancelled_exc_class():
            # Only the end of the driver cancels a launcher: nothing may start any more.
            self._close()
            raise
        except Exception as error:
            logger.exception("the launcher of %s failed", start.model)
            detail = f"{type(error).__name__}: {error}"
        finally:
            self._runs.pop(start.run)
            control._cut(detail)
            self.report(Exited(start.model, start.run, detail))
            control._exited.set()

    def _arrive(self, lease: Lease) -> None:
        if self._failure is not None:
            raise self._failure
        if not lease.brings_up:
            if not self.is_up(lease.model):
                raise NotUpError(lease.model)
            self._clinging.add(lease)
        self._leases[lease.arrived.ticket] = lease
        self.report(lease.arrived)

    def _release(self, lease: Lease) -> None:
        ticket = lease.arrived.ticket
        if self._leases.pop(ticket, None) is None:
            return
        if self._clinging.leases:
            self._clinging.discard(lease)
        control = self._runs.get(lease.run)
        if control is not None:
            control._leases.pop(ticket, None)
        self.report(Released(ticket))

    def _turn_away(self, model: str) -> list[Event]:
        """Refuse who clings to that model, and return what is to be reported."""
        leases = self._clinging.take(model)
        for lease in leases:
            del self._leases[lease.ticket]
            lease._tell(NotUpError(model))
        return [Released(lease.ticket) for lease in leases]

    async def _keep_time(self) -> None:
        while self._failure is None:
            self._wake = anyio.Event()
            self._armed = self._engine.deadline
            if self._armed is None:
                await self._wake.wait()
            else:
                with anyio.move_on_after(self._armed - self._clock()):
                    await self._wake.wait()
            deadline = self._engine.deadline
            if deadline is not None and deadline <= self._clock():
                self.report(Tick())
        raise self._failure

    def _close(self) -> None:
        """Refuse all callers from now on, and start nothing more."""
        if not self._closed:
            self._closed = True
            self.report(ShutdownRequested(Urgency.NOW))

    def _fail(self) -> None:
        """Refuse all callers, then let the timer's task take everything down."""
        self._failure = EngineFailedError(self._tail)
        for lease in tuple(self._leases.values()):
            lease._tell(self._failure)
            lease._cut("the engine failed")
        self._finished.set()
        self._wake.set()


async def _all_over(runs: Iterable[Control]) -> None:
    for control in runs:
        await control._exited.wait()
