"""What must hold of what an engine was told and what it ordered, judged from outside?

The judge reads nothing but the log. It keeps a picture of its own of who is
resident, ready, leased and waiting, in the dumbest way there is, so that a
fault in the engine's own counters cannot hide itself.
"""

import math
from collections import Counter

from attrs import define, field

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Command,
    Event,
    Exited,
    Forward,
    Lost,
    Planner,
    Refusal,
    Reject,
    Released,
    ShutdownRequested,
    Start,
    Stop,
    StopReason,
)


@define
class RunRecord:
    """What the log says of one run."""

    model: str
    ready: bool = False
    lost: bool = False
    stopped: bool = False
    forced: bool = False
    served: int = 0
    batch: set[int] = field(factory=set)
    leases: list[int] = field(factory=list)
    revision: str = ""
    outdated: bool = False

    @property
    def may_serve(self) -> bool:
        return self.ready and not self.lost and not self.stopped


@define
class Judge:
    """Follows a log, event by event, and asserts the invariants of the design."""

    catalog: Catalog
    planner: Planner
    runs: dict[int, RunRecord] = field(factory=dict)
    waiting: list[Arrived] = field(factory=list)
    open_tickets: set[int] = field(factory=set)
    answered: set[int] = field(factory=set)
    last_run: int = 0
    now: float = -math.inf
    shutting_down: bool = False
    aborted: set[str] = field(factory=set)
    turns: Counter[tuple[int, str | None]] = field(factory=Counter)
    """How often since a ticket began to wait its own caller had a turn before it, and others overtook it."""

    def see(self, now: float, event: Event, commands: tuple[Command, ...]) -> None:
        assert now >= self.now
        self.now = now
        self.take(event)
        for command in commands:
            self.judge(command)

    def take(self, event: Event) -> None:
        match event:
            case Arrived(ticket):
                self.open_tickets.add(ticket)
                self.waiting.append(event)
            case Released(ticket):
                self.open_tickets.remove(ticket)
                self.answered.discard(ticket)
                self.waiting = [one for one in self.waiting if one.ticket != ticket]
                for run in self.runs.values():
                    if ticket in run.leases:
                        run.leases.remove(ticket)
            case BecameReady(_, number) if number in self.runs:
                run = self.runs[number]
                if not run.stopped and not run.lost and not run.ready:
                    run.ready = True
                    run.batch = {one.ticket for one in self.waiting if one.model == run.model}
                    self.aborted.discard(run.model)
            case Lost(_, number) if number in self.runs:
                self.runs[number].lost = True
            case Exited(_, number):
                self.runs.pop(number, None)
            case ShutdownRequested():
                self.shutting_down = True
            case CatalogReplaced(catalog, planner):
                for model in tuple(self.aborted):
                    before, after = self.catalog.by_id.get(model), catalog.by_id.get(model)
                    if before is None or after is None or before.revision != after.revision:
                        self.aborted.remove(model)
                self.catalog = catalog
                self.planner = planner or self.planner
                for run in self.runs.values():
                    present = catalog.by_id.get(run.model)
                    run.outdated = run.outdated or present is None or present.revision != run.revision
            case _:
                pass

    def judge(self, command: Command) -> None:
        match command:
            case Start(model, number):
                self.judge_start(model, number)
            case Stop():
                self.judge_stop(command)
            case Forward(ticket, model, number):
                self.judge_forward(ticket, model, number)
            case Reject(ticket, refusal):
                self.judge_answer(ticket)
                asked = next(one for one in self.waiting if one.ticket == ticket)
                known = asked.model in self.catalog.by_id
                assert (refusal is Refusal.UNKNOWN_MODEL) == (not known) or self.shutting_down
                if refusal in {Refusal.STUCK, Refusal.CANNOT_FIT}:
                    self.judge_hopeless(asked.model)
                self.waiting.remove(asked)

    def judge_hopeless(self, model: str) -> None:
        """Only who could not come in even if all that may leave did may be refused for want of room."""
        pinned = {one.id for one in self.catalog if one.pinned}
        resident = [run for run in self.runs.values() if run.forced or run.model in pinned]
        names = [run.model for run in resident]
        plan = self.planner(model, names, dict.fromkeys(names, math.inf))
        # What is not of this catalog has to leave in any case.
        hopeless = model in names or plan.evict or any(run.outdated for run in resident)
        assert hopeless, f"{model} was refused, but could come in beside {names}"

    def judge_start(self, model: str, number: int) -> None:
        assert number > self.last_run, "runs are numbered upwards"
        assert not self.shutting_down
        self.last_run = number
        resident = [run.model for run in self.runs.values()]
        assert model not in resident, f"{model} has a run already"
        plan = self.planner(model, resident, dict.fromkeys(resident, 1.0))
        assert not plan.evict, f"{model} was started beside {plan.evict}, which must leave for it"
        assert not [run for run in self.runs.values() if run.outdated], "what a reload changed leaves first"
        self.runs[number] = RunRecord(model, revision=self.catalog.by_id[model].revision)

    def judge_stop(self, stop: Stop) -> None:
        run = self.runs[stop.run]
        assert run.model == stop.model
        if stop.force:
            assert run.stopped or run.lost, "a run is asked before it is forced"
            assert not run.forced, "a run is forced once"
            run.stopped = run.forced = True
            return
        assert not run.stopped, "a run is asked to stop once"
        assert not run.lost, "a run that died need not be asked to stop"
        if stop.reason not in {StopReason.UNLOAD, StopReason.SHUTDOWN, StopReason.RELOAD}:
            assert not run.leases, f"{stop.model} was stopped while it served ({stop.reason})"
        if stop.reason is StopReason.EVICT:
            assert run.ready, "a run that loads is not evicted"
            assert stop.making_room_for is not None
            assert not self.catalog.by_id[stop.model].pinned, f"{stop.model} is pinned"
            owed = [one for one in self.waiting if one.ticket in run.batch]
            assert not owed, f"{stop.model} was evicted before it served {owed}"
        elif stop.reason is StopReason.ABANDONED:
            assert not run.ready
            assert stop.making_room_for is not None
            assert not [one for one in self.waiting if one.model == stop.model]
            assert stop.model not in self.aborted, "a load is not aborted twice running"
            self.aborted.add(stop.model)
        else:
            assert stop.making_room_for is None
        run.stopped = True

    def judge_forward(self, ticket: int, model: str, number: int) -> None:
        self.judge_answer(ticket)
        run = self.runs[number]
        assert run.model == model
        assert run.may_serve, f"ticket {ticket} was forwarded to a run that does not serve"
        run.leases.append(ticket)
        run.served += 1
        assert len(run.leases) <= self.catalog.by_id[model].concurrency_limit
        asked = next(one for one in self.waiting if one.ticket == ticket)
        assert asked.model == model, "a caller was given another model"
        self.judge_turn(asked)
        self.waiting.remove(asked)

    def judge_turn(self, asked: Arrived) -> None:
        """Nobody overtakes within a priority but by turns: once, and once more for each turn of the other."""
        place = self.waiting.index(asked)
        for nth, one in enumerate(self.waiting):
            if (one.model, one.priority) != (asked.model, asked.priority):
                continue
            if one.caller == asked.caller:
                assert nth >= place, f"{asked} overtook {one}"
                self.turns[one.ticket, one.caller] += 1
            elif nth < place:
                self.turns[one.ticket, asked.caller] += 1
                had = self.turns[one.ticket, one.caller]
                assert self.turns[one.ticket, asked.caller] <= had + 1, f"{asked} overtook {one} out of turn"

    def judge_answer(self, ticket: int) -> None:
        assert ticket in self.open_tickets, "nothing is said to a caller who has gone"
        assert ticket not in self.answered, "a caller is answered once"
        self.answered.add(ticket)
