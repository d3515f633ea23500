"""How does a set of models behave under this traffic, without processes and without waiting?

`Simulator` drives a real `Engine` on a virtual clock against upstreams whose
fates are scripted. It jumps from one moment at which something happens to the
next, so an hour of traffic takes milliseconds, and everything it does can be
read back: `Simulator.log` for each event and the commands it brought,
`Simulator.callers` for what became of each caller.

>>> from swapcore import Catalog, Model
>>> simulator = Simulator(Catalog([Model("a"), Model("b")]), fates={"a": Fate(load=5.0)})
>>> first = simulator.ask("a", at=0.0, service=2.0)
>>> second = simulator.ask("b", at=1.0, service=2.0)
>>> simulator.run()
>>> simulator.callers[first].waited, simulator.callers[second].waited
(5.0, 7.0)
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from attrs import define, frozen

from swapcore.catalog import Catalog
from swapcore.commands import Command, Forward, Reject, Start, Stop
from swapcore.engine import Engine
from swapcore.errors import SwapcoreError
from swapcore.events import Arrived, BecameReady, Event, Exited, Lost, Released, Tick
from swapcore.planning import Planner, one_at_a_time

__all__ = ["Caller", "Fate", "Simulator", "Step", "TooManyStepsError", "replay"]


class TooManyStepsError(SwapcoreError):
    """A simulation did not come to rest within the steps it was allowed."""


@frozen(kw_only=True)
class Fate:
    """What becomes of one run. All values are seconds; `math.inf` is never."""

    load: float = 1.0
    """From its `Start` until it is ready."""

    stop: float = 0.0
    """From its first `Stop` until it is gone: infinite for one that is deaf to being asked."""

    kill: float = 0.0
    """From its forced `Stop` until it is gone: infinite for one that will not die."""

    fails_after: float = math.inf
    """From its `Start` until it dies, if that comes before it is ready."""

    crashes_after: float = math.inf
    """From being ready until it dies by itself."""

    lingers: float = 0.0
    """From dying by itself until its room is back."""


@define
class Caller:
    """What one caller asked for, and what became of it."""

    model: str
    """The model it asked for."""

    arrived_at: float
    """When it arrived."""

    service: float
    """How many seconds it keeps its lease."""

    gives_up_after: float
    """How many seconds it waits before it leaves without an answer."""

    answer: Forward | Reject | None = None
    """What it was told, if anything."""

    answered_at: float | None = None
    """When it was told."""

    released_at: float | None = None
    """When it was finished: served, refused or gone."""

    @property
    def waited(self) -> float | None:
        """How many seconds it waited until it was let through; `None` if it was not."""
        if self.answered_at is None or not isinstance(self.answer, Forward):
            return None
        return self.answered_at - self.arrived_at


@frozen
class Step:
    """One event and what it brought."""

    now: float
    event: Event
    commands: tuple[Command, ...]


@define(eq=False)
class _Life:
    """One run in the simulated world: which of its facts are still to come."""

    fate: Fate
    ready: bool = False
    dying: bool = False
    gone_at: float = math.inf


class Simulator:
    """An engine, a virtual clock, callers and upstreams.

    Args:
        catalog: The models there are.
        planner: The engine's planner.
        fates: What becomes of the runs of each model. A sequence gives the
            runs of that model one fate after the other; the last one repeats.
            Models not named have `Fate()`.
        shutdown_timeout: The engine's.
        check: Whether to verify the engine's whole state after each event.
    """

    def __init__(
        self,
        catalog: Catalog,
        planner: Planner = one_at_a_time,
        *,
        fates: Mapping[str, Fate | Sequence[Fate]] | None = None,
        shutdown_timeout: float = 30.0,
        check: bool = True,
    ) -> None:
        self.engine = Engine(catalog, planner, shutdown_timeout=shutdown_timeout)
        self.now = 0.0
        self.log: list[Step] = []
        self.callers: dict[int, Caller] = {}
        self._check = check
        self._fates = {
            model: (fate,) if isinstance(fate, Fate) else tuple(fate) for model, fate in (fates or {}).items()
        }
        self._starts: dict[str, int] = {}
        self._lives: dict[int, _Life] = {}
        self._agenda: list[tuple[float, int, Event]] = []
        self._order = count()

    def ask(
        self,
        model: str,
        *,
        at: float | None = None,
        service: float = 1.0,
        gives_up_after: float = math.inf,
        priority: int = 0,
    ) -> int:
        """Let a caller arrive at that time, by default now, and return its ticket."""
        ticket = len(self.callers) + 1
        at = self.now if at is None else at
        self.callers[ticket] = Caller(model, at, service, gives_up_after)
        self.tell(Arrived(ticket, model, priority), at=at)
        return ticket

    def tell(self, event: Event, *, at: float | None = None) -> None:
        """Let an event happen at that time, by default now."""
        heapq.heappush(self._agenda, (self.now if at is None else at, next(self._order), event))

    def run(self, until: float = math.inf, *, max_steps: int = 1_000_000) -> None:
        """Let everything happen that is due up to that time, or until nothing more is to come.

        Raises:
            TooManyStepsError: nothing came to rest within that many events.
        """
        for _ in range(max_steps):
            deadline = self.engine.deadline
            at = self._agenda[0][0] if self._agenda else math.inf
            if deadline is not None and deadline < at:
                if deadline > until:
                    break
                self._happen(Tick(), deadline)
            elif self._agenda and at <= until:
                self._happen(heapq.heappop(self._agenda)[2], at)
            else:
                break
        else:
            raise TooManyStepsError(f"still busy after {max_steps} events, at {self.now} s")
        if until < math.inf:
            self.now = max(self.now, until)

    @property
    def journal(self) -> list[tuple[float, Event]]:
        """Every event with its time: what `replay` takes."""
        return [(step.now, step.event) for step in self.log]

    def _happen(self, event: Event, at: float) -> None:
        if self._is_void(event, at):
            return
        self.now = at
        commands = self.engine.handle(event, at)
        if self._check:
            self.engine.check()
        self.log.append(Step(at, event, commands))
        match event:
            case Arrived(ticket):
                self._schedule_release(ticket, at + self.callers[ticket].gives_up_after)
            case Released(ticket):
                self.callers[ticket].released_at = at
            case BecameReady(model, run):
                self._lives[run].ready = True
                self._schedule_death(model, run, at + self._lives[run].fate.crashes_after)
            case Lost(model, run):
                self._schedule_exit(model, run, at + self._lives[run].fate.lingers)
            case _:
                pass
        for command in commands:
            self._perform(command)

    def _is_void(self, event: Event, at: float) -> bool:
        """Whether a scheduled fact has been overtaken by another and never happens."""
        match event:
            case Released(ticket):
                caller = self.callers[ticket]
                gone = caller.released_at is not None
                # Its patience ends, but it has been let through meanwhile.
                served = (
                    isinstance(caller.answer, Forward) and at < (caller.answered_at or 0.0) + caller.service
                )
                return gone or served
            case BecameReady(_, run):
                return run not in self._lives or self._lives[run].dying
            case Lost(_, run):
                if run not in self._lives or self._lives[run].dying:
                    return True
                self._lives[run].dying = True
                return False
            case Exited(_, run):
                if run not in self._lives or at < self._lives[run].gone_at:
                    return True
                del self._lives[run]
                return False
            case _:
                return False

    def _perform(self, command: Command) -> None:
        match command:
            case Start(model, run):
                fates = self._fates.get(model, (Fate(),))
                nth = self._starts.get(model, 0)
                self._starts[model] = nth + 1
                fate = fates[min(nth, len(fates) - 1)]
                self._lives[run] = _Life(fate)
                if fate.fails_after < fate.load:
                    self._schedule_death(model, run, self.now + fate.fails_after)
                elif fate.load < math.inf:
                    self.tell(BecameReady(model, run), at=self.now + fate.load)
            case Stop(model, run, force=force):
                life = self._lives[run]
                life.dying = True
                self._schedule_exit(model, run, self.now + (life.fate.kill if force else life.fate.stop))
            case Forward(ticket):
                caller = self.callers[ticket]
                caller.answer, caller.answered_at = command, self.now
                self._schedule_release(ticket, self.now + caller.service)
            case Reject(ticket):
                caller = self.callers[ticket]
                caller.answer, caller.answered_at = command, self.now
                self._schedule_release(ticket, self.now)

    def _schedule_release(self, ticket: int, at: float) -> None:
        if at < math.inf:
            self.tell(Released(ticket), at=at)

    def _schedule_death(self, model: str, run: int, at: float) -> None:
        if at < math.inf:
            self.tell(Lost(model, run, "died"), at=at)

    def _schedule_exit(self, model: str, run: int, at: float) -> None:
        life = self._lives[run]
        if at < life.gone_at:
            life.gone_at = at
            self.tell(Exited(model, run, "gone"), at=at)


def replay(engine: Engine, journal: Iterable[tuple[float, Event]]) -> list[tuple[Command, ...]]:
    """Tell a fresh engine the events of a journal and return what it orders after each."""
    return [engine.handle(event, now) for now, event in journal]
