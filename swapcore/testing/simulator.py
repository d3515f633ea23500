"""How does an engine behave on a virtual clock, with upstreams whose fates are scripted?

`Simulator` jumps from one moment at which something happens to the next, so an
hour of traffic takes milliseconds, and everything it does can be read back:
`Simulator.log` for each event and the commands it brought, `Simulator.callers`
for what became of each caller.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Self

from attrs import define, frozen

from swapcore.catalog import Catalog
from swapcore.collation import Policy
from swapcore.commands import Command, Forward, Reject, Start, Stop
from swapcore.engine import Engine
from swapcore.errors import SwapcoreError
from swapcore.events import Arrived, BecameReady, Event, Exited, Lost, Released, Tick
from swapcore.journal import Record, Step, header_of
from swapcore.planning import Planner, one_at_a_time
from swapcore.testing.arrivals import Ask

__all__ = ["Caller", "Fate", "Simulator", "TooManyStepsError", "replay"]


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

    ready_after_stop: float = math.inf
    """From its first `Stop`, if it is not ready by then, until it says it is: a late fact."""

    exits_twice: float = math.inf
    """From its exit until that is reported once more: a stale fact."""


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
        policy: The engine's.
        max_queue: The engine's.
        shutdown_timeout: The engine's.
        reload_drain_timeout: The engine's.
        caller_share: The engine's.
        spurious_ticks: Whether each event is followed by a `Tick` too many.
        check: Whether to verify the engine's whole state after each event,
            which costs many times what the event does.
    """

    def __init__(
        self,
        catalog: Catalog,
        planner: Planner = one_at_a_time,
        *,
        fates: Mapping[str, Fate | Sequence[Fate]] | None = None,
        policy: Policy | None = None,
        max_queue: int = 100_000,
        shutdown_timeout: float = 30.0,
        reload_drain_timeout: float = math.inf,
        caller_share: float = 1.0,
        spurious_ticks: bool = False,
        check: bool = True,
    ) -> None:
        self.engine = Engine(
            catalog,
            planner,
            policy=policy,
            max_queue=max_queue,
            shutdown_timeout=shutdown_timeout,
            reload_drain_timeout=reload_drain_timeout,
            caller_share=caller_share,
        )
        self.now = 0.0
        self.log: list[Step] = []
        self.callers: dict[int, Caller] = {}
        self.header = header_of(self.engine)
        self._spurious_ticks = spurious_ticks
        self._check = check
        self._fates = {
            model: (fate,) if isinstance(fate, Fate) else tuple(fate) for model, fate in (fates or {}).items()
        }
        self._starts: dict[str, int] = {}
        self._lives: dict[int, _Life] = {}
        self._agenda: list[tuple[float, int, Event, bool]] = []
        self._order = count()
        self._following: dict[int, Iterator[Ask]] = {}
        self._looping: dict[int, Iterator[Ask]] = {}

    @classmethod
    def around(
        cls,
        engine: Engine,
        *,
        fates: Mapping[str, Fate | Sequence[Fate]] | None = None,
        spurious_ticks: bool = False,
        check: bool = True,
    ) -> Self:
        """Make a simulator around a new engine, however it was made, that nobody else tells anything."""
        simulator = cls(Catalog(()), fates=fates, spurious_ticks=spurious_ticks, check=check)
        simulator.engine = engine
        simulator.header = header_of(engine)
        return simulator

    def ask(
        self,
        model: str,
        *,
        at: float | None = None,
        service: float = 1.0,
        gives_up_after: float = math.inf,
        priority: int = 0,
        patience: float | None = None,
        caller: str | None = None,
        share: float | None = None,
        evicts: bool = True,
    ) -> int:
        """Let a caller arrive at that time, by default now, and return its ticket."""
        ticket = len(self.callers) + 1
        at = self.now if at is None else at
        self.callers[ticket] = Caller(model, at, service, gives_up_after)
        self.tell(Arrived(ticket, model, priority, patience, caller, share, evicts), at=at)
        return ticket

    def traffic(self, asks: Iterable[Ask], *, at: float | None = None) -> None:
        """Let callers arrive one after the other, from that time on, by default from now."""
        self._next(iter(asks), self.now if at is None else at, self._following)

    def loop(self, asks: Iterable[Ask], *, at: float | None = None) -> None:
        """Let callers arrive each when the one before is finished, from that time on, by default from now.

        A generator can look at `callers` before it yields the next one.
        """
        self._next(iter(asks), self.now if at is None else at, self._looping)

    def tell(self, event: Event, *, at: float | None = None) -> None:
        """Let an event happen at that time, by default now."""
        self._put(event, self.now if at is None else at)

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
                _, _, event, stale = heapq.heappop(self._agenda)
                if stale or not self._is_void(event, at):
                    self._happen(event, at)
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

    @property
    def recording(self) -> list[Record]:
        """Everything that happened, for `swapcore.journal.dump`."""
        return [self.header, *self.log]

    def _put(self, event: Event, at: float, *, stale: bool = False) -> None:
        """Put an event on the agenda; a stale one happens whatever has overtaken it."""
        if at < math.inf:
            heapq.heappush(self._agenda, (at, next(self._order), event, stale))

    def _next(self, asks: Iterator[Ask], at: float, then: dict[int, Iterator[Ask]]) -> None:
        ask = next(asks, None)
        if ask is not None:
            ticket = self.ask(
                ask.model,
                at=at + ask.after,
                service=ask.service,
                gives_up_after=ask.gives_up_after,
                priority=ask.priority,
                patience=ask.patience,
                caller=ask.caller,
                share=ask.share,
                evicts=ask.evicts,
            )
            then[ticket] = asks

    def _happen(self, event: Event, at: float) -> None:
        self._step(event, at)
        if self._spurious_ticks:
            self._step(Tick(), at)

    def _step(self, event: Event, at: float) -> None:
        self.now = at
        commands = self.engine.handle(event, at)
        if self._check:
            self.engine.check()
        self.log.append(Step(at, event, commands))
        match event:
            case Arrived(ticket):
                self._put(Released(ticket), at + self.callers[ticket].gives_up_after)
                if ticket in self._following:
                    self._next(self._following.pop(ticket), at, self._following)
            case Released(ticket):
                self.callers[ticket].released_at = at
                if ticket in self._looping:
                    self._next(self._looping.pop(ticket), at, self._looping)
            case BecameReady(model, run) if run in self._lives and not self._lives[run].dying:
                self._lives[run].ready = True
                self._put(Lost(model, run, "died"), at + self._lives[run].fate.crashes_after)
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
                self._put(event, at + self._lives.pop(run).fate.exits_twice, stale=True)
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
                    self._put(Lost(model, run, "died"), self.now + fate.fails_after)
                else:
                    self._put(BecameReady(model, run), self.now + fate.load)
            case Stop(model, run, force=force):
                life = self._lives[run]
                if not life.ready and not life.dying:
                    self._put(BecameReady(model, run), self.now + life.fate.ready_after_stop, stale=True)
                life.dying = True
                self._schedule_exit(model, run, self.now + (life.fate.kill if force else life.fate.stop))
            case Forward(ticket) | Reject(ticket):
                caller = self.callers[ticket]
                caller.answer, caller.answered_at = command, self.now
                keeps = caller.service if isinstance(command, Forward) else 0.0
                self._put(Released(ticket), self.now + keeps)

    def _schedule_exit(self, model: str, run: int, at: float) -> None:
        life = self._lives[run]
        if at < life.gone_at:
            life.gone_at = at
            self._put(Exited(model, run, "gone"), at)


def replay(engine: Engine, journal: Iterable[tuple[float, Event]]) -> list[tuple[Command, ...]]:
    """Tell a fresh engine the events of a journal and return what it orders after each."""
    return [engine.handle(event, now) for now, event in journal]
