"""How is each order given, and what changes with it?"""

import math

from attrs import define, field

from swapcore.commands import Command, Forward, Refusal, Reject, Start, Stop, StopReason
from swapcore.events import Urgency
from swapcore.state import Run, Stage, State, Ticket

__all__ = ["STUCK_AFTER", "Orders"]

STUCK_AFTER = 10.0
"""Seconds after a forced stop at which a run that is not gone counts as stuck."""


@define(eq=False, repr=False)
class Orders:
    """Collects the commands of one event, and changes the state as each is given."""

    state: State
    given: list[Command] = field(factory=list)

    def start(self, target: str) -> None:
        """Start a run of the target, for which there is room."""
        state = self.state
        assert target not in state.runs, "a model has one run at a time"
        if state.plans.pop(target, None) is not None:
            self._reopen(target)
        state.last_run += 1
        model = state.catalog.by_id[target]
        run = Run(model, state.last_run, state.now)
        if target not in state.lines:
            run.abandoned_at = state.now
        state.runs[target] = run
        state.deadlines[target] = state.now + model.start_timeout
        state.beside.clear()
        self.given.append(Start(target, run.number))
        if state.wishes or model.pinned:
            # Once every caller's model is coming, it is their turn; and who does not fit beside what
            # is pinned is told so.
            state.unsettled = True

    def serve(self, run: Run) -> None:
        """Let callers through to this run, or stop it if its last lease was all it stayed for."""
        state = self.state
        if run.stage is Stage.DRAINING and not run.leases:
            self.stop(run, run.reason or StopReason.UNLOAD)
        model = run.model.id
        line = state.lines.get(model)
        if line is None:
            return
        places = run.model.concurrency_limit - len(run.leases) if run.stage is Stage.READY else 0
        while places > 0 and line:
            places -= 1
            if run.closed_for is None:
                waiting = line.first(state.now)
            else:
                waiting = line.oldest()
                if waiting.order > run.batch:
                    break
            line.leave(waiting, served=True)
            state.count_out(waiting)
            ticket = state.tickets[waiting.ticket]
            ticket.waiting = None
            self.forward(waiting.ticket, ticket, run)
        state.change(line)
        if not line:
            del state.lines[model]

    def forward(self, number: int, ticket: Ticket, run: Run) -> None:
        """Let one caller through, who is in no line, to a run that has a place."""
        ticket.run = run
        ticket.forwarded_at = self.state.now
        self.state.lend(run, number)
        self.given.append(Forward(number, run.model.id, run.number))

    def end(self, run: Run, reason: StopReason, urgency: Urgency, limit: float) -> None:
        """Stop a run that an operator wants to end, or close it until its leases are over."""
        if run.ending:
            return
        if run.leases and urgency is Urgency.DRAIN:
            # An earlier promise to cut the leases holds.
            deadlines, model = self.state.deadlines, run.model.id
            earlier = deadlines.get(model, math.inf) if run.stage is Stage.DRAINING else math.inf
            cut_at = min(earlier, self.state.now + limit)
            run.stage = Stage.DRAINING
            run.closed_for = None
            run.reason = reason
            deadlines.pop(model, None)
            if cut_at < math.inf:
                deadlines[model] = cut_at
        else:
            self.stop(run, reason)

    def stop(self, run: Run, reason: StopReason, *, making_room_for: str | None = None) -> None:
        """Ask a run to end."""
        if reason is StopReason.EVICT:
            assert self.state.is_vacant(run), "a busy upstream is never evicted"
        run.stage = Stage.STOPPING
        run.reason = reason
        run.ended_at = self.state.now
        run.closed_for = None
        self.state.deadlines[run.model.id] = self.state.now + run.model.unload_timeout
        self.given.append(Stop(run.model.id, run.number, reason, making_room_for=making_room_for))
        self.state.unsettled = True

    def force(self, run: Run) -> None:
        """Kill a run that was asked to end, or died, and is not gone."""
        run.stage = Stage.FORCED
        self.state.deadlines[run.model.id] = self.state.now + STUCK_AFTER
        self.given.append(Stop(run.model.id, run.number, run.reason or StopReason.LOST, force=True))

    def reject(self, number: int, refusal: Refusal, detail: str, retry_after: float | None = None) -> None:
        """Refuse one caller, who is in no line."""
        self.given.append(Reject(number, refusal, detail, retry_after))

    def reject_line(
        self, model: str, refusal: Refusal, detail: str, retry_after: float | None = None
    ) -> None:
        """Refuse all who wait for a model, and give up what was promised them."""
        state = self.state
        line = state.lines.pop(model, None)
        if line is not None:
            state.change(line)
            for waiting in line.everyone(state.now):
                state.count_out(waiting)
                state.tickets[waiting.ticket].waiting = None
                self.reject(waiting.ticket, refusal, detail, retry_after)
            state.unsettled = True
        self.drop_plan(model)

    def close(self, run: Run, target: str) -> None:
        """Let no new callers in to a run that is in the way of a due target."""
        run.closed_for = target

    def drop_plan(self, target: str) -> None:
        """Forget a promise, and open again what was closed for it."""
        state = self.state
        if state.plans.pop(target, None) is None:
            return
        self._reopen(target)
        # What nothing is promised to any more leaves the room to others.
        state.unsettled = True

    def _reopen(self, target: str) -> None:
        """Let callers in again where they were kept out for this target's sake."""
        for run in tuple(self.state.runs.values()):
            if run.closed_for == target:
                run.closed_for = None
                self.serve(run)
                self.state.unsettled = True
