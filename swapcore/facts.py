"""What does each fact change?"""

import math
from collections.abc import Container, Iterable
from typing import assert_never

from swapcore.catalog import Catalog
from swapcore.collation import Line, Waiting
from swapcore.commands import Refusal, StopReason
from swapcore.estimates import due_at, seconds_until_served
from swapcore.events import (
    Arrived,
    BecameReady,
    CatalogReplaced,
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
from swapcore.orders import Orders
from swapcore.planning import Planner
from swapcore.state import Failures, Run, Stage, State, Ticket

__all__ = ["absorb", "expire"]

COOL_DOWN, LONGEST_COOL_DOWN = 10.0, 300.0
"""Seconds after the first failed start in which no other is tried, doubling up to the longest."""

PROVEN_AFTER = 30.0
"""Seconds a run has to be ready for its model's earlier failures to be forgotten."""

LONGEST_DETAIL = 300
"""Characters kept of what a model failed of."""

CUT, KILL = 2, 3
"""How often, or how urgently, a shutdown is asked for until leases are cut and runs forced."""


def absorb(state: State, orders: Orders, event: Event) -> None:
    """Record a fact, and do what follows from it alone."""
    match event:
        case Arrived():
            _arrive(state, orders, event)
        case Released():
            _release(state, orders, event.ticket)
        case BecameReady(model, number):
            run = state.current(model, number)
            if run is not None and run.stage is Stage.STARTING:
                _become_ready(state, orders, run)
        case Progressed(model, number):
            run = state.current(model, number)
            if run is not None and run.stage is Stage.STARTING and run.model.progress_extends_start:
                state.deadlines[model] = state.now + run.model.start_timeout
        case Lost(model, number, detail):
            run = state.current(model, number)
            if run is not None and not run.ending:
                _fail(state, orders, run, detail)
                run.stage = Stage.STOPPING
                run.reason = StopReason.LOST
                run.ended_at = state.now
                run.closed_for = None
                state.deadlines[model] = state.now + run.model.unload_timeout
                state.unsettled = True
        case Exited(model, number, detail):
            run = state.current(model, number)
            if run is not None:
                _exit(state, orders, run, detail)
        case LoadRequested(models):
            _wish_for(state, models)
        case UnloadRequested(models, urgency):
            for model in models:
                _unload(state, orders, model, urgency)
        case CatalogReplaced():
            _replace_catalog(state, orders, event)
        case ShutdownRequested(urgency):
            _shut_down(state, orders, urgency)
        case Tick():
            pass
        case _:
            assert_never(event)


def expire(state: State, orders: Orders) -> bool:
    """Do what is due, and say whether anything was."""
    if state.wake <= state.now:
        state.wake = math.inf
        state.unsettled = True
    if not state.deadlines or min(state.deadlines.values()) > state.now:
        return False
    for model in [model for model in state.runs if state.deadlines.get(model, math.inf) <= state.now]:
        run = state.runs[model]
        match run.stage:
            case Stage.STARTING:
                _fail(state, orders, run, f"not ready within {run.model.start_timeout:g} s")
                orders.stop(run, StopReason.START_TIMEOUT)
            case Stage.READY:
                orders.stop(run, StopReason.TTL)
            case Stage.DRAINING:
                orders.stop(run, run.reason or StopReason.UNLOAD)
            case Stage.STOPPING:
                orders.force(run)
            case Stage.FORCED:
                run.stage = Stage.STUCK
                del state.deadlines[model]
                state.unsettled = True
            case Stage.STUCK | Stage.OVER:
                raise AssertionError(f"nothing can be due for a run that is {run.stage.name}")
            case _:
                assert_never(run.stage)
    return True


# Callers ---------------------------------------------------------------------


def _arrive(state: State, orders: Orders, arrived: Arrived) -> None:
    model = arrived.model
    state.tickets[arrived.ticket] = ticket = Ticket(model)
    if model in state.position:
        state.experience.learn_arrival(model, state.now)
    run = state.open_place(model)
    if run is not None:
        orders.forward(arrived.ticket, ticket, run)
        if arrived.evicts:
            _mark_evicted(state, run)
        return
    run, line = state.runs.get(model), state.lines.get(model)
    if (run is None or not run.coming) and _is_refused(state, orders, arrived):
        return
    if line is None:
        line = state.lines[model] = Line(model)
    state.arrivals += 1
    waiting = ticket.waiting = Waiting(
        arrived.ticket, arrived.priority, state.now, state.arrivals, arrived.caller
    )
    state.join(line, waiting)
    if run is not None:
        run.abandoned_at = None
    full = _is_one_too_many(state, line, arrived)
    if full is not None:
        _leave_line(state, ticket)
        orders.reject(arrived.ticket, Refusal.QUEUE_FULL, full, seconds_until_served(state, model))
        return
    due = due_at(state, line, _patience(state, arrived))
    earlier = due < line.due
    if due < math.inf:
        line.set_due(waiting, due)
    # Who joins further back changes nothing about whose turn it is.
    if earlier or line.first(state.now) is waiting:
        state.unsettled = True


def _is_refused(state: State, orders: Orders, arrived: Arrived) -> bool:
    """Refuse a caller for whom nothing can be done at present, and say whether that was so."""
    model = arrived.model
    if state.shutdowns:
        orders.reject(arrived.ticket, Refusal.SHUTTING_DOWN, "the server is shutting down")
        return True
    if model not in state.position:
        orders.reject(arrived.ticket, Refusal.UNKNOWN_MODEL, f"no model is called {model!r}")
        return True
    failures = state.failures.get(model)
    if failures is not None and failures.until > state.now:
        seconds = failures.until - state.now
        orders.reject(arrived.ticket, Refusal.COOLING_DOWN, _cooling(model, failures, seconds), seconds)
        return True
    return False


def _is_one_too_many(state: State, line: Line, arrived: Arrived) -> str | None:
    """Say why a ticket that has joined this line may not wait in it, if that is so."""
    model, caller = arrived.model, arrived.caller
    most, most_in_all = state.catalog.by_id[model].max_queue, state.settings.max_queue
    if len(line) > most or state.waiting > most_in_all:
        return f"{len(line) - 1} requests wait for {model} and {state.waiting - 1} in all; no more may"
    share = state.settings.caller_share if arrived.share is None else arrived.share
    if caller is None or share == 1.0:
        return None
    own = line.held_by(caller)
    in_all = state.held[caller]
    if own > max(1.0, share * most) or in_all > max(1.0, share * most_in_all):
        return f"{own - 1} requests of this caller wait for {model} and {in_all - 1} in all; no more may"
    return None


def _patience(state: State, arrived: Arrived) -> float:
    """Return the caller's own patience, or its model's, or everybody's."""
    if arrived.patience is not None:
        return arrived.patience
    own = state.catalog.by_id[arrived.model].patience
    return state.settings.policy.patience if own is None else own


def _mark_evicted(state: State, run: Run) -> None:
    """A caller of a ready model asks for what that model's rules evict to go, once it is idle."""
    for model in state.evicted_beside(run.model.id):
        other = state.runs[model]
        if other.stage is Stage.READY and not other.model.pinned and model not in state.asked_to_go:
            state.asked_to_go[model] = run.model.id
            state.unsettled = True


def _release(state: State, orders: Orders, number: int) -> None:
    ticket = state.tickets.pop(number)
    if ticket.waiting is not None:
        _leave_line(state, ticket)
    elif ticket.run is not None:
        run = ticket.run
        run.leases.discard(number)
        # One lease left open over night says nothing about the usual one, and must not stretch patience.
        seconds = min(state.now - ticket.forwarded_at, state.settings.policy.patience)
        state.experience.learn_service(ticket.model, seconds)
        if not run.leases:
            state.become_idle(run, state.now)
            if state.lines or state.plans or state.wishes or state.asked_to_go:
                state.unsettled = True
        orders.serve(run)


def _leave_line(state: State, ticket: Ticket) -> None:
    waiting = ticket.waiting
    assert waiting is not None
    model = ticket.model
    line = state.lines[model]
    state.leave(line, waiting)
    ticket.waiting = None
    if waiting.due < line.due:
        # Those who stay fall due later: it may be another model's turn until then.
        state.unsettled = True
    if not line:
        del state.lines[model]
        state.unsettled = True
        run = state.runs.get(model)
        if run is not None and run.stage is Stage.STARTING:
            run.abandoned_at = state.now


# Runs ------------------------------------------------------------------------


def _become_ready(state: State, orders: Orders, run: Run) -> None:
    model = run.model.id
    state.experience.learn_load(model, state.now - run.started_at)
    run.stage = Stage.READY
    run.ready_at = state.now
    run.batch = state.arrivals
    run.abandoned_at = None
    state.become_idle(run, state.now)
    state.wishes.pop(model, None)
    state.aborted.pop(model, None)
    orders.serve(run)
    if run.leases:
        _mark_evicted(state, run)
    state.unsettled = True


def _exit(state: State, orders: Orders, run: Run, detail: str) -> None:
    if not run.ending:
        _fail(state, orders, run, detail)
    ended_at = state.now if run.ended_at is None else run.ended_at
    if ended_at - run.ready_at >= PROVEN_AFTER:
        state.failures.pop(run.model.id, None)
    if run.stage is Stage.STOPPING and run.reason is not StopReason.LOST:
        # One that had to be killed says nothing about the usual stop.
        state.experience.learn_stop(state.now - ended_at)
    run.stage = Stage.OVER
    run.closed_for = None
    model = run.model.id
    del state.runs[model]
    state.deadlines.pop(model, None)
    state.asked_to_go.pop(model, None)
    state.beside.clear()
    state.unsettled = True


def _fail(state: State, orders: Orders, run: Run, detail: str) -> None:
    """Take note that a run ended by itself, and refuse those who waited for it to become ready."""
    model = run.model.id
    starting = run.stage is Stage.STARTING
    if not starting and state.now - run.ready_at >= PROVEN_AFTER:
        state.failures.pop(model, None)
        return
    failures = state.failures.setdefault(model, Failures())
    # Whom the first early crash of a ready run leaves waiting is served by a restart at once.
    if starting or failures.count:
        failures.until = state.now + min(COOL_DOWN * 2.0 ** min(failures.count, 10), LONGEST_COOL_DOWN)
    failures.count += 1
    failures.detail = detail.partition("\n")[0][:LONGEST_DETAIL]
    state.wishes.pop(model, None)
    if starting:
        orders.reject_line(model, Refusal.START_FAILED, detail)
    elif failures.until > state.now:
        seconds = failures.until - state.now
        orders.reject_line(model, Refusal.COOLING_DOWN, _cooling(model, failures, seconds), seconds)


def _cooling(model: str, failures: Failures, seconds: float) -> str:
    times = "once" if failures.count == 1 else f"{failures.count} times in a row"
    last = f" ({failures.detail})" if failures.detail else ""
    return f"{model} has failed {times}{last}; it is tried again in {seconds:.0f} s"


# The operator ----------------------------------------------------------------


def _wish_for(state: State, models: Iterable[str]) -> None:
    for model in models:
        run = state.runs.get(model)
        if not state.shutdowns and (run is None or run.stage is not Stage.READY):
            state.wishes[model] = None
    state.unsettled = True


def _unload(state: State, orders: Orders, model: str, urgency: Urgency) -> None:
    state.wishes.pop(model, None)
    state.failures.pop(model, None)
    orders.reject_line(model, Refusal.UNLOADED, f"{model} was unloaded while this request waited for it")
    run = state.runs.get(model)
    if run is not None:
        orders.end(run, StopReason.UNLOAD, urgency, run.model.unload_timeout)
    state.unsettled = True


def _replace_catalog(state: State, orders: Orders, replaced: CatalogReplaced) -> None:
    """Go over to a new catalog: what it does not change is not touched."""
    old, catalog = state.catalog, replaced.catalog
    old_planner, planner = state.planner, replaced.planner or state.planner
    for target in tuple(state.plans):
        orders.drop_plan(target)
    state.adopt(catalog, planner, replaced.settings or state.settings)
    state.wishes = {model: None for model in state.wishes if model in state.position}
    for model in tuple(state.lines):
        if model not in state.position:
            orders.reject_line(model, Refusal.UNKNOWN_MODEL, f"{model} was removed from the configuration")
    for before in old:
        after = catalog.by_id.get(before.id)
        if after is None or after.revision != before.revision:
            state.failures.pop(before.id, None)
            state.aborted.pop(before.id, None)
    limit = state.settings.reload_drain_timeout
    for run in tuple(state.runs.values()):
        present = catalog.by_id.get(run.model.id)
        if run.outdated or present is None or present.revision != run.model.revision:
            run.outdated = True
            orders.end(run, StopReason.RELOAD, Urgency.DRAIN, limit)
        else:
            _adopt_model(state, run)
    # Whoever of the rest was used last has the first say on who may stay beside it.
    rest = [run for run in state.runs.values() if run.coming]
    rest.sort(key=lambda run: (-_last_used(state, run), state.position[run.model.id]))
    for run in rest:
        if run.coming:
            target = run.model.id
            beside = {other.model.id for other in rest if other.coming}
            once = _evicted(old_planner, old, target, beside)
            for model in _evicted(planner, catalog, target, beside):
                # By a one-way rule it has come in beside the target, and still might.
                might = model in once and target not in _evicted(planner, catalog, model, beside)
                if not might:
                    orders.end(state.runs[model], StopReason.RELOAD, Urgency.DRAIN, limit)
    for run in tuple(state.runs.values()):
        orders.serve(run)
    state.unsettled = True


def _evicted(planner: Planner, catalog: Catalog, target: str, beside: Container[str]) -> tuple[str, ...]:
    """Ask a planner who of these leaves for the target if all cost the same."""
    resident = [model.id for model in catalog if model.id in beside]
    return planner(target, resident, dict.fromkeys(resident, 1.0)).evict


def _adopt_model(state: State, run: Run) -> None:
    """Let the new limits of an unchanged model hold for its run."""
    run.model = state.catalog.by_id[run.model.id]
    if run.stage is Stage.STARTING:
        state.deadlines[run.model.id] = max(state.now, run.started_at + run.model.start_timeout)
    elif run.stage is Stage.READY and run.idle_since is not None:
        state.become_idle(run, run.idle_since)


def _last_used(state: State, run: Run) -> float:
    if run.leases or run.model.id in state.lines or run.idle_since is None:
        return state.now
    return run.idle_since


def _shut_down(state: State, orders: Orders, urgency: Urgency) -> None:
    state.shutdowns = max(state.shutdowns + 1, CUT if urgency is Urgency.NOW else 1)
    state.wishes.clear()
    for model in tuple(state.lines):
        orders.reject_line(model, Refusal.SHUTTING_DOWN, "the server is shutting down")
    state.plans.clear()
    state.wake = math.inf
    manner = Urgency.NOW if state.shutdowns >= CUT else Urgency.DRAIN
    for run in tuple(state.runs.values()):
        run.closed_for = None
        if state.shutdowns >= KILL and run.stage is Stage.STOPPING:
            orders.force(run)
        orders.end(run, StopReason.SHUTDOWN, manner, state.settings.shutdown_timeout)
