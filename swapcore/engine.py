"""What happens now?

`Engine.handle` works in the same steps for every event: it refuses misuse
before touching anything, records the fact, expires what is due, and then
settles: it derives from the whole state everything that should happen now.
Each rule stands in one place, whatever event made it matter.
"""

import copy
import math
from itertools import takewhile
from typing import assert_never

from swapcore.catalog import Catalog
from swapcore.collation import Line, Waiting, in_turn
from swapcore.commands import Command, Forward, Refusal, Reject, Start, Stop, StopReason
from swapcore.events import (
    Arrived,
    BecameReady,
    Event,
    Exited,
    LoadRequested,
    Lost,
    Progressed,
    Released,
    ShutdownRequested,
    Tick,
    UnloadRequested,
    Urgency,
)
from swapcore.invariants import check_state
from swapcore.misuse import refuse_misuse
from swapcore.planning import Plan, Planner, one_at_a_time
from swapcore.snapshot import Snapshot, take_snapshot
from swapcore.state import Run, Stage, State, Ticket

__all__ = ["Engine"]

STUCK_AFTER = 10.0
"""Seconds after a forced stop at which a run that is not gone counts as stuck."""

CUT, KILL = 2, 3
"""How often, or how urgently, a shutdown is asked for until leases are cut and runs forced."""


class Engine:
    """Decides which upstreams run and who is let through to them.

    It is a state machine without I/O, clock, callbacks or randomness: facts go
    in through `handle`, orders come out of it, and `deadline` says when the
    next `Tick` is due. The same events at the same times always give the same
    commands.

    Args:
        catalog: The models there are.
        planner: Says what must leave so that a model fits; by default all others.
        shutdown_timeout: Seconds that leases may outlast a draining shutdown.
    """

    def __init__(
        self, catalog: Catalog, planner: Planner = one_at_a_time, *, shutdown_timeout: float = 30.0
    ) -> None:
        self._state = State(catalog)
        self._planner = planner
        self._shutdown_timeout = shutdown_timeout
        self._commands: list[Command] = []
        # Whether anything has happened since the last settling that could let a target in.
        self._unsettled = False

    @property
    def deadline(self) -> float | None:
        """When to report the next `Tick`, if nothing else is reported before; `None` for never."""
        due = [run.deadline for run in self._state.runs.values() if run.deadline is not None]
        return min(due) if due else None

    @property
    def finished(self) -> bool:
        """Whether a shutdown was requested and every run is over."""
        return self._state.shutdowns > 0 and not self._state.runs

    def snapshot(self) -> Snapshot:
        """Describe the state as it is now; for showing, never for deciding."""
        return take_snapshot(self._state)

    def check(self) -> None:
        """Verify the whole state, and that nothing more is to be done in it.

        For tests and simulations: it costs many times what an event does.

        Raises:
            AssertionError: something is wrong, which is a bug of the engine.
        """
        check_state(self._state)
        twin = copy.copy(self)
        # The catalog never changes, so the copy shares it.
        twin._state = copy.deepcopy(self._state, {id(self._state.catalog): self._state.catalog})  # noqa: SLF001
        twin._commands = []  # noqa: SLF001
        twin._settle()  # noqa: SLF001
        assert not twin._commands, f"left undone: {twin._commands}"  # noqa: SLF001

    def handle(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take in a fact and return what is to be done about it, in order.

        Args:
            event: What has happened.
            now: When, in seconds on any clock that never goes back.

        Raises:
            MisuseError: the fact is impossible; nothing has changed.
        """
        refuse_misuse(self._state, event, now)
        self._state.now = now
        self._absorb(event)
        # What settling orders can itself be due at once, where a limit is 0.
        while self._expire() or self._unsettled:
            self._unsettled = False
            self._settle()
        commands = tuple(self._commands)
        self._commands.clear()
        return commands

    # Recording facts ---------------------------------------------------------

    def _absorb(self, event: Event) -> None:
        state = self._state
        match event:
            case Arrived():
                self._arrive(event)
            case Released(ticket):
                self._release(ticket)
            case BecameReady(model, number):
                run = state.current(model, number)
                if run is not None and run.stage is Stage.STARTING:
                    run.stage = Stage.READY
                    run.become_idle(state.now)
                    state.wishes.pop(model, None)
                    self._serve(run)
                    self._unsettled = True
            case Progressed(model, number):
                run = state.current(model, number)
                if run is not None and run.stage is Stage.STARTING and run.model.progress_extends_start:
                    run.deadline = state.now + run.model.start_timeout
            case Lost(model, number, detail):
                run = state.current(model, number)
                if run is not None and not run.ending:
                    self._give_up_start(run, detail)
                    run.stage = Stage.STOPPING
                    run.reason = StopReason.LOST
                    run.deadline = state.now + run.model.unload_timeout
                    self._unsettled = True
            case Exited(model, number, detail):
                run = state.current(model, number)
                if run is not None:
                    self._give_up_start(run, detail)
                    run.stage = Stage.OVER
                    del state.runs[model]
                    self._unsettled = True
            case LoadRequested(models):
                self._wish_for(models)
            case UnloadRequested(models, urgency):
                for model in models:
                    self._unload(model, urgency)
            case ShutdownRequested(urgency):
                self._shut_down(urgency)
            case Tick():
                pass
            case _:
                assert_never(event)

    def _arrive(self, arrived: Arrived) -> None:
        state, model = self._state, arrived.model
        ticket = Ticket(model)
        state.tickets[arrived.ticket] = ticket
        if state.shutdowns:
            self._reject(arrived.ticket, Refusal.SHUTTING_DOWN, "the server is shutting down")
            return
        if model not in state.position:
            self._reject(arrived.ticket, Refusal.UNKNOWN_MODEL, f"no model is called {model!r}")
            return
        state.arrivals += 1
        ticket.waiting = Waiting(arrived.ticket, arrived.priority, state.now, state.arrivals)
        line = state.lines.get(model)
        if line is None:
            line = state.lines[model] = Line(model)
        line.join(ticket.waiting)
        run = state.runs.get(model)
        if run is not None and run.coming:
            self._serve(run)
        elif line.first() is ticket.waiting:
            # Who joins further back changes nothing about whose turn it is.
            self._unsettled = True

    def _release(self, number: int) -> None:
        state = self._state
        ticket = state.tickets.pop(number)
        if ticket.waiting is not None:
            line = state.lines[ticket.model]
            line.leave(ticket.waiting)
            if not line:
                del state.lines[ticket.model]
                self._unsettled = True
        elif ticket.run is not None:
            run = ticket.run
            run.leases.discard(number)
            if not run.leases:
                run.become_idle(state.now)
                self._unsettled = True
            self._serve(run)

    def _wish_for(self, models: tuple[str, ...]) -> None:
        for model in models:
            run = self._state.runs.get(model)
            if not self._state.shutdowns and (run is None or run.stage is not Stage.READY):
                self._state.wishes[model] = None
        self._unsettled = True

    def _unload(self, model: str, urgency: Urgency) -> None:
        self._state.wishes.pop(model, None)
        self._reject_line(model, Refusal.UNLOADED, f"{model} was unloaded while this request waited for it")
        run = self._state.runs.get(model)
        if run is not None:
            self._end(run, StopReason.UNLOAD, urgency, run.model.unload_timeout)
        self._unsettled = True

    def _shut_down(self, urgency: Urgency) -> None:
        state = self._state
        state.shutdowns = max(state.shutdowns + 1, CUT if urgency is Urgency.NOW else 1)
        state.wishes.clear()
        for model in tuple(state.lines):
            self._reject_line(model, Refusal.SHUTTING_DOWN, "the server is shutting down")
        state.plans.clear()
        for run in tuple(state.runs.values()):
            if state.shutdowns >= KILL and run.stage is Stage.STOPPING:
                self._force(run)
            manner = Urgency.NOW if state.shutdowns >= CUT else Urgency.DRAIN
            self._end(run, StopReason.SHUTDOWN, manner, self._shutdown_timeout)

    def _give_up_start(self, run: Run, detail: str) -> None:
        """If the run was starting, refuse those who wait for it."""
        if run.stage is Stage.STARTING:
            self._state.wishes.pop(run.model.id, None)
            self._reject_line(run.model.id, Refusal.START_FAILED, detail)

    # Deadlines ---------------------------------------------------------------

    def _expire(self) -> bool:
        """Do what is due, and say whether anything was."""
        now = self._state.now
        due = [run for run in self._state.runs.values() if run.deadline is not None and run.deadline <= now]
        for run in due:
            match run.stage:
                case Stage.STARTING:
                    self._give_up_start(run, f"not ready within {run.model.start_timeout:g} s")
                    self._stop(run, StopReason.START_TIMEOUT)
                case Stage.READY:
                    self._stop(run, StopReason.TTL)
                case Stage.DRAINING:
                    self._stop(run, run.reason or StopReason.UNLOAD)
                case Stage.STOPPING:
                    self._force(run)
                case Stage.FORCED:
                    run.stage = Stage.STUCK
                    run.deadline = None
                case Stage.STUCK | Stage.OVER:
                    raise AssertionError(f"nothing can be due for a run that is {run.stage.name}")
                case _:
                    assert_never(run.stage)
        return bool(due)

    # Settling ----------------------------------------------------------------

    def _serve(self, run: Run) -> None:
        """Let callers through to this run, or stop it if its last lease was all it stayed for."""
        state = self._state
        if run.stage is Stage.DRAINING and not run.leases:
            self._stop(run, run.reason or StopReason.UNLOAD)
        line = state.lines.get(run.model.id)
        if line is None or run.stage is not Stage.READY:
            return
        while line and len(run.leases) < run.model.concurrency_limit:
            waiting = line.first()
            line.leave(waiting)
            ticket = state.tickets[waiting.ticket]
            ticket.waiting = None
            ticket.run = run
            run.lend(waiting.ticket)
            self._commands.append(Forward(waiting.ticket, run.model.id, run.number))
        if not line:
            del state.lines[run.model.id]

    def _settle(self) -> None:
        """Bring in the models that callers, then the operator's wishes, call for."""
        state = self._state
        if not state.lines and not state.wishes:
            state.plans.clear()
            return
        targets = [line.model for line in in_turn(state.lines.values()) if not state.is_coming(line.model)]
        if not targets and state.wishes:
            # A wish gives way to any caller who waits for room, with what it was promised too.
            wish = next(iter(state.wishes))
            if not state.is_coming(wish):
                targets.append(wish)
        state.plans = {target: plan for target, plan in state.plans.items() if target in targets}
        for target in targets:
            self._bring_in(target)

    def _bring_in(self, target: str) -> None:
        """Start the target, or make room for it, or leave it waiting."""
        state = self._state
        plan = self._plan(target)
        leaving = [state.runs[model] for model in plan.evict if model in state.runs]
        own = state.runs.get(target)
        if own is not None:
            # Its older run has to be gone first, and nothing else may take that room meanwhile.
            leaving.append(own)
        stuck = [run for run in leaving if run.stage is Stage.STUCK]
        if stuck:
            names = ", ".join(f"{run.model.id} (run {run.number})" for run in stuck)
            detail = f"{target} needs the room of {names}, which was killed and is not gone"
            state.plans.pop(target, None)
            self._reject_line(target, Refusal.STUCK, detail)
        elif self._is_promised_to_another(target, plan):
            pass
        elif not leaving:
            self._start(target)
        elif all(run.ending or state.is_vacant(run) for run in leaving):
            state.plans[target] = plan
            for run in leaving:
                if not run.ending:
                    self._stop(run, StopReason.EVICT, making_room_for=target)

    def _plan(self, target: str, beside: str | None = None) -> Plan:
        """Ask the planner, counting as resident also who was promised room before the target."""
        state = self._state
        models = {*state.runs, *takewhile(lambda promised: promised != target, state.plans)}
        if beside is not None:
            models.add(beside)
        resident = sorted(models, key=state.position.__getitem__)
        return self._planner(target, resident, {model: self._loss(model) for model in resident})

    def _loss(self, model: str) -> float:
        run = self._state.runs.get(model)
        if run is None or run.stage is Stage.STARTING or run.stage is Stage.STUCK:
            return math.inf
        return 0.0 if run.ending else 1.0

    def _is_promised_to_another(self, target: str, plan: Plan) -> bool:
        """Whether an earlier plan that is not carried out yet and the target exclude each other."""
        earlier = takewhile(lambda promised: promised != target, self._state.plans)
        return any(
            other in plan.evict or target in self._plan(other, beside=target).evict for other in earlier
        )

    # Giving orders -----------------------------------------------------------

    def _start(self, target: str) -> None:
        state = self._state
        assert target not in state.runs, "a model has one run at a time"
        state.plans.pop(target, None)
        state.last_run += 1
        model = state.catalog.by_id[target]
        state.runs[target] = Run(model, state.last_run, state.now + model.start_timeout)
        self._commands.append(Start(target, state.last_run))
        # Once every caller's model is coming, it is the wishes' turn.
        self._unsettled = True

    def _end(self, run: Run, reason: StopReason, urgency: Urgency, limit: float) -> None:
        """Stop a run that an operator wants to end, or close it until its leases are over."""
        if run.ending:
            return
        if run.leases and urgency is Urgency.DRAIN:
            # An earlier promise to cut the leases holds.
            earlier = run.deadline if run.stage is Stage.DRAINING and run.deadline is not None else math.inf
            run.stage = Stage.DRAINING
            run.reason = reason
            run.deadline = min(earlier, self._state.now + limit)
        else:
            self._stop(run, reason)

    def _stop(self, run: Run, reason: StopReason, *, making_room_for: str | None = None) -> None:
        if reason is StopReason.EVICT:
            assert self._state.is_vacant(run), "a busy upstream is never evicted"
        run.stage = Stage.STOPPING
        run.reason = reason
        run.deadline = self._state.now + run.model.unload_timeout
        self._commands.append(Stop(run.model.id, run.number, reason, making_room_for=making_room_for))

    def _force(self, run: Run) -> None:
        run.stage = Stage.FORCED
        run.deadline = self._state.now + STUCK_AFTER
        self._commands.append(Stop(run.model.id, run.number, run.reason or StopReason.LOST, force=True))

    def _reject(self, number: int, refusal: Refusal, detail: str) -> None:
        self._commands.append(Reject(number, refusal, detail))

    def _reject_line(self, model: str, refusal: Refusal, detail: str) -> None:
        line = self._state.lines.pop(model, None)
        if line is not None:
            for waiting in line.everyone():
                self._state.tickets[waiting.ticket].waiting = None
                self._reject(waiting.ticket, refusal, detail)
            self._unsettled = True
