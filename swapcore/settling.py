"""What should happen now?

Everything that starts, closes or evicts for somebody's sake is decided here,
from the whole state, whatever event made it matter.
"""

import math
from collections.abc import Collection, Iterable
from itertools import chain

from attrs import define, field

from swapcore.collation import in_turn
from swapcore.commands import Refusal, StopReason
from swapcore.estimates import seconds_for
from swapcore.orders import Orders
from swapcore.planning.plan import BUSY, Plan
from swapcore.state import Run, Stage, State

__all__ = ["settle"]

ABANDONED_AFTER = 0.5
"""Seconds nobody must have waited for a load before it may be aborted."""


def settle(state: State, orders: Orders) -> None:
    """Bring in the models that callers, then the operator's wishes, call for."""
    state.unsettled = False
    state.wake = math.inf
    if state.shutdowns:
        return
    _keep_one_way_rule(state, orders)
    if not state.lines and not state.wishes and not state.plans:
        return
    coming = {model for model, run in state.runs.items() if run.coming}
    wanted = state.lines.keys() - coming
    wish = None
    if not wanted and state.wishes:
        # A wish gives way to any caller who waits for room, with what it was promised too.
        wish = _next_wish(state)
    state.turns.refresh(state.lines)
    settling = Settling(state, orders)
    if state.plans:
        for target in tuple(state.plans):
            if target not in wanted and target != wish:
                orders.drop_plan(target)
        settling.ahead += state.plans
        for target in tuple(state.plans):
            if target in state.plans:
                settling.bring_in(target, due=_is_due(state, target))
    if wanted:
        settling.bring_in_all(wanted)
    for due, model in state.turns.to_fall_due(state.now):
        if due >= state.wake:
            break
        if model in wanted and not state.is_coming(model):
            state.wake = due
    if wish is not None and wish not in settling.seen and not state.is_coming(wish):
        settling.bring_in(wish, due=False)


def _next_wish(state: State) -> str | None:
    """Return the first model wished for that is not being left alone after failures."""
    for model in state.wishes:
        failures = state.failures.get(model)
        if failures is None or failures.until <= state.now:
            return model
        _wake_at(state, failures.until)
    return None


def _others(state: State) -> Iterable[str]:
    """Return the models of those lines that are not due in the order of their turns."""
    choice = state.settings.policy.choice
    if choice == "oldest":
        return state.turns.not_due(state.now)
    lines = [state.lines[model] for model in state.turns.not_due(state.now) if model in state.lines]
    return [line.model for line in in_turn(lines, state.now, choice, lambda line: seconds_for(state, line))]


def _is_due(state: State, target: str) -> bool:
    line = state.lines.get(target)
    return line is not None and line.due <= state.now


def _wake_at(state: State, at: float) -> None:
    if state.now < at < state.wake:
        state.wake = at


def _keep_one_way_rule(state: State, orders: Orders) -> None:
    """Stop what a ready model's callers have asked to go, once it has nothing more to do."""
    asked = state.asked_to_go
    for model in [model for model in state.runs if model in asked] if asked else ():
        run, target = state.runs[model], asked[model]
        if not state.is_coming(target):
            del asked[model]
        elif state.is_vacant(run):
            orders.stop(run, StopReason.EVICT, making_room_for=target)


@define(eq=False, repr=False)
class Settling:
    """One pass over the targets, the most urgent first."""

    state: State
    orders: Orders
    ahead: list[str] = field(factory=list)
    """Targets that room is promised to, or that are due: nothing that they exclude may start before them."""

    seen: set[str] = field(factory=set)
    """Targets looked at. Only ever tested for membership."""

    due: set[str] = field(factory=set)
    """Models that are waited for by somebody who is due. Only ever tested for membership."""

    exposed: set[str] = field(factory=set)
    """Targets that something stuck or pinned is in the way of. Only ever tested for membership."""

    def bring_in_all(self, wanted: Collection[str]) -> None:
        """Bring in these models that callers wait for, the most urgent first, as far as that can be done now.

        One that has to wait for a target ahead of it, or, as long as it is not
        due, for a resident that stays, is not looked at any further; and all
        is done once that holds of all that are left. It is what a plan would
        say as well, only cheaper: of many models that want the same room the
        first alone costs anything.
        """
        state = self.state
        # All that is done with sets here is to compare them: their order means nothing.
        undecided = set(wanted) - self.seen
        due = state.turns.due(state.now)
        self.due = set(due)
        for run in state.runs.values():
            if run.stage is Stage.STUCK or run.model.pinned:
                # Callers of what it is in the way of may have to be refused, whoever is ahead.
                self.exposed |= undecided & state.evictors(run.model.id, undecided)
        for other in self.ahead:
            self._set_aside_for_target(undecided, other)
        for run in state.runs.values():
            self._set_aside_for_resident(undecided, run)
        if not undecided:
            return
        for target in chain(due, _others(state)):
            if not undecided:
                break
            if target in undecided:
                undecided.remove(target)
                if target not in state.lines:
                    continue
                self.bring_in(target, due=target in self.due)
                if target in state.runs:
                    self._set_aside_for_resident(undecided, state.runs[target])
            elif target in self.due and target in wanted and target not in self.seen:
                self.ahead.append(target)
            if self.ahead and self.ahead[-1] == target:
                self._set_aside_for_target(undecided, target)

    def _set_aside_for_target(self, undecided: set[str], other: str) -> None:
        """Take out of the undecided what has to wait for this target, which is ahead of it."""
        state = self.state
        if undecided and not state.is_coming(other):
            undecided -= state.excluded(other, undecided) - self.exposed

    def _set_aside_for_resident(self, undecided: set[str], run: Run) -> None:
        """Take out of the undecided what is not due and waits for this resident, if that stays for now."""
        state = self.state
        if run.stage is Stage.STARTING:
            # If nobody waits for it, it may be given up.
            stays = run.abandoned_at is None or run.model.id in state.aborted
        else:
            stays = run.stage is Stage.READY and not state.is_vacant(run)
        if stays and (candidates := undecided - self.exposed - self.due):
            undecided -= candidates & state.evictors(run.model.id, candidates)

    def bring_in(self, target: str, *, due: bool) -> None:
        """Start the target, or make room for it, or leave it waiting."""
        self.seen.add(target)
        state = self.state
        earlier = self._earlier(target)
        plan = self._plan(target, earlier)
        leaving = [state.runs[model] for model in plan.evict if model in state.runs]
        committed = state.plans.get(target)
        if leaving and committed is not None:
            # The plan is kept as long as any of it is still to be carried out.
            kept = [state.runs[model] for model in committed.evict if model in state.runs]
            leaving = kept or leaving
        if self._need_not_wait(target, plan):
            leaving = []
        leaving += [run for run in state.runs.values() if run.outdated and run not in leaving]
        own = state.runs.get(target)
        if own is not None and own not in leaving:
            # Its older run has to be gone first, and nothing else may take that room meanwhile.
            leaving.append(own)
        if self._is_held_up(target, leaving):
            return
        if any(other in plan.evict or self._takes(other, target) for other in earlier):
            if due:
                self.ahead.append(target)
            return
        if not leaving:
            self.orders.start(target)
            return
        # Each is asked, so that all which are in the way of a due target are closed.
        free = [self._is_free(run, target, plan, due=due) for run in leaving]
        if all(free):
            state.plans.setdefault(target, plan)
            for run in leaving:
                self._evict(run, target)
        if target in state.plans or due:
            self.ahead.append(target)

    def _earlier(self, target: str) -> list[str]:
        """Return those ahead of the target: the ones before it, if it is among them itself."""
        earlier = self.ahead[: self.ahead.index(target)] if target in self.ahead else self.ahead
        return [other for other in earlier if not self.state.is_coming(other)]

    def _plan(self, target: str, beside: Iterable[str]) -> Plan:
        """Ask the planner, counting as resident also who was promised room before the target."""
        state = self.state
        # Runs of another catalog leave in every plan, so the planner need not know them.
        models = {model for model, run in state.runs.items() if not run.outdated}
        models.update(beside)
        resident = sorted(models, key=state.position.__getitem__)
        return state.planner(target, resident, {model: self._loss(model) for model in resident})

    def _need_not_wait(self, target: str, plan: Plan) -> bool:
        """Whether all that the plan evicts is leaving already, and the target fits before it is gone.

        Then whoever is ahead of the target finds its room all the same: the
        plan leaves those alone, and what the target fits beside is theirs to
        wait for.
        """
        runs = self.state.runs
        going = [runs[model] for model in plan.evict if model in runs]
        if not going or [run for run in going if not run.ending and run.stage is not Stage.DRAINING]:
            return False
        resident = sorted(
            (run.model.id for run in runs.values() if not run.outdated), key=self.state.position.__getitem__
        )
        return not self.state.planner(target, resident, dict.fromkeys(resident, 1.0)).evict

    def _loss(self, model: str) -> float:
        """Return what it costs if this resident leaves: see `Planner`."""
        state = self.state
        run = state.runs.get(model)
        if run is None or run.stage is Stage.STUCK:
            return math.inf
        if run.ending or run.stage is Stage.DRAINING:
            return 0.0
        if run.model.pinned or (run.stage is Stage.STARTING and not self._may_abort(run)):
            return math.inf
        idle = 0.0 if run.idle_since is None else state.now - run.idle_since
        cost = state.experience.loss(model, idle)
        return cost if state.is_vacant(run) or run.stage is Stage.STARTING else BUSY + cost

    def _takes(self, other: str, target: str) -> bool:
        """Whether an earlier target excludes this one."""
        if self.state.evicts(other, target):
            return True
        return target in self._plan(other, (*self._earlier(other), target)).evict

    def _is_held_up(self, target: str, leaving: list[Run]) -> bool:
        """Whether something has to leave that will not; those who wait are refused if no other would do."""
        state = self.state
        held = [run for run in leaving if run.firm and (run.stage is Stage.STUCK or run.model.id != target)]
        if not held:
            return False
        firm = [run.model.id for run in state.runs.values() if run.firm and not run.outdated]
        known = sorted(firm, key=state.position.__getitem__)
        never = state.planner(target, known, dict.fromkeys(known, math.inf)).evict
        for_good = [run for run in held if run.model.id in never or run.model.id == target or run.outdated]
        if not for_good:
            # Another plan may do, once what is in its way is free to leave.
            self.orders.drop_plan(target)
            return True
        stuck = [f"{run.model.id} (run {run.number})" for run in for_good if run.stage is Stage.STUCK]
        if stuck:
            detail = f"{target} needs the room of {', '.join(stuck)}, which was killed and is not gone"
            self.orders.reject_line(target, Refusal.STUCK, detail)
        else:
            names = ", ".join(run.model.id for run in for_good)
            detail = f"{target} does not fit beside {names}, which is pinned"
            self.orders.reject_line(target, Refusal.CANNOT_FIT, detail)
        if target in state.wishes:
            del state.wishes[target]
            state.unsettled = True
        return True

    def _is_free(self, run: Run, target: str, plan: Plan, *, due: bool) -> bool:
        """Whether the run can leave now; one in the way of a due target is closed when its time has come."""
        state = self.state
        if run.ending:
            return True
        if run.stage is Stage.STARTING:
            return self._may_abort(run)
        if run.stage is not Stage.READY:
            return False
        if due and run.closed_for is None:
            quantum = state.settings.policy.quantum * state.experience.overhead(run.model.id)
            if state.now < run.ready_at + quantum and not state.is_vacant(run):
                _wake_at(state, run.ready_at + quantum)
                return False
            if not state.is_vacant(run):
                state.plans.setdefault(target, plan)
                self.orders.close(run, target)
        return state.is_vacant(run)

    def _may_abort(self, run: Run) -> bool:
        """Whether a starting run may be given up: nobody waits any more, and its last load was finished."""
        if run.abandoned_at is None or run.model.id in self.state.aborted:
            return False
        ripe = run.abandoned_at + ABANDONED_AFTER
        _wake_at(self.state, ripe)
        return ripe <= self.state.now

    def _evict(self, run: Run, target: str) -> None:
        if run.ending:
            return
        if run.stage is Stage.STARTING:
            self.state.aborted[run.model.id] = None
            self.orders.stop(run, StopReason.ABANDONED, making_room_for=target)
        else:
            self.orders.stop(run, StopReason.EVICT, making_room_for=target)
