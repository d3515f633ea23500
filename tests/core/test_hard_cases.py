"""Does what went wrong in llama-swap and its peers go right here?

One test for each case of reference/hard-cases.md that can be proved without
I/O. Its id is the beginning of the test's name; the races, R1 to R20, stand in
test_races.py.

    T-01  a request while the time to live stops the model        T-11  over the capacity
    T-02  evicted between ready and its first request             T-12  can never fit
    T-03  a request to a dying child                              T-13  two runs of one model
    T-04  two waiters, one freed slot                             T-14  starvation
    T-05  the victim revived                                      T-15  leaked leases
    T-06  ping-pong                                               T-16  leases reaped early
    T-07  evicting a loading model                                T-17  a cancelled waiter
    T-08  a victim busy for ever                                  T-18  a pinned model freed
    T-09  a busy victim picked again and again                    T-19  what the time to live counts from
    T-10  the limit changed while a model loads
    T-21  dies while loading        T-22  dies while stopping, twice, while probed
    T-24  one stop deadline         T-28  retry storm
    T-29  a failure poisons others  T-44  two catalogs' models at once      T-48  groups' one-way rule

    R1   a closing model takes new callers    R11  many cold requests at once
    R2   draining under continuous traffic    R12  time to live against a request
    R3   a ready model waits for a swap       R13  ten for a, one for b
    R4   exit with requests in flight         R14  a flood over equal costs
    R5   a swap while a stream is in flight   R15  one load for many callers
    R6   evicted before it served             R16  the victim is dead already
    R7   a loading victim                     R17  a victim busy for long
    R8   two cold requests, one idle victim   R18  skewed demand, unequal costs
    R9   ready, but another evicts it first   R19  a request while its model is evicted
    R10  stopping taken for ready             R20  the first caller leaves, others wait

Left out: T-20 (sleep) and the replicas of T-13, which the core does not have; T-47,
which is tested in planning/; T-23 to T-46 otherwise, which are about processes,
sockets and files and stand in tests/http.
"""

import itertools
import random
import re

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Event,
    Exited,
    Forward,
    LoadRequested,
    Lost,
    Model,
    Phase,
    Policy,
    Refusal,
    Reject,
    Released,
    Start,
    Stop,
    StopReason,
    Tick,
    UnloadRequested,
    Urgency,
    one_at_a_time,
)
from swapcore.planning import Group, Groups
from swapcore.testing import Fate, Simulator
from tests.core import test_races
from tests.core.driven import Driven, evict, ready, together
from tests.core.oracle import Judge

CASES = {
    *("t01", "t02", "t03", "t04", "t05", "t06", "t07", "t08", "t09", "t10", "t11", "t12", "t13"),
    *("t14", "t15", "t16", "t17", "t18", "t19", "t21", "t22", "t24", "t28", "t29", "t44", "t48"),
    *("r01", "r02", "r03", "r04", "r05", "r06", "r07", "r08", "r09", "r10"),
    *("r11", "r12", "r13", "r14", "r15", "r16", "r17", "r18", "r19", "r20"),
}


def test_every_case_has_a_test() -> None:
    tested = {
        match[1] for name in (*globals(), *vars(test_races)) if (match := re.match(r"test_([rt]\d\d)_", name))
    }
    assert tested == CASES


def refusals(commands: tuple[object, ...]) -> dict[int, Refusal]:
    return {one.ticket: one.refusal for one in commands if isinstance(one, Reject)}


# T: pitfalls --------------------------------------------------------------------


def test_t01_a_request_while_the_time_to_live_stops_its_model_gets_the_next_run() -> None:
    driven = ready(Model("a", ttl=5.0), "b")
    assert driven.tell(Tick(), at=5.0) == (Stop("a", 1, StopReason.TTL),)
    assert driven.tell(Arrived(2, "a"), at=5.0) == ()
    assert driven.tell(Exited("a", 1), at=6.0) == (Start("a", 2),)
    assert driven.tell(BecameReady("a", 2), at=7.0) == (Forward(2, "a", 2),)


def test_t02_who_caused_a_load_is_let_through_before_anything_can_evict_it() -> None:
    driven = Driven("a", "b", policy=Policy(patience=0.0, load_factor=0.0, quantum=0.0))
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "b"))
    assert driven.tell(BecameReady("a", 1)) == (Forward(1, "a", 1),)
    assert driven.tell(Released(1)) == (evict("a", 1, "b"),)


@pytest.mark.parametrize("end", [UnloadRequested(("a",), Urgency.NOW), Lost("a", 1), Arrived(2, "b")])
def test_t03_a_run_that_is_leaving_is_given_nobody(end: UnloadRequested | Lost | Arrived) -> None:
    driven = ready(Model("a"), "b")
    driven.tell(end)
    assert driven.engine.snapshot().upstream("a").phase is Phase.STOPPING
    assert driven.tell(Arrived(3, "a")) == ()


def test_t04_many_cold_models_at_once_are_all_served_with_one_slot() -> None:
    names = "abcdefgh"
    simulator = Simulator(Catalog(Model(name) for name in names), fates={"a": Fate(load=3.0, stop=1.0)})
    for name in names:
        simulator.ask(name, at=0.0, service=2.0)
    simulator.run()
    assert [type(caller.answer) for caller in simulator.callers.values()] == [Forward] * len(names)
    assert sum(isinstance(command, Start) for step in simulator.log for command in step.commands) == len(
        names
    )


def test_t05_a_victim_that_is_asked_for_again_drains_all_the_same() -> None:
    driven = Driven("a", "b", policy=Policy(patience=5.0, quantum=0.0, load_factor=0.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(Arrived(2, "b"), at=2.0)
    driven.tell(Tick(), at=10.0)
    for ticket in range(3, 20):
        assert driven.tell(Arrived(ticket, "a"), at=11.0) == (), "the victim is closed"
    assert driven.tell(Released(1), at=12.0) == (evict("a", 1, "b"),)


def test_t06_two_models_do_not_evict_each_other_before_they_served() -> None:
    models = [Model(name, concurrency_limit=1) for name in "ab"]
    policy = Policy(patience=0.0, load_factor=0.0, quantum=0.0)
    simulator = Simulator(Catalog(models), policy=policy, fates={"a": Fate(load=5.0), "b": Fate(load=5.0)})
    for nth in range(20):
        simulator.ask("ab"[nth % 2], at=float(nth), service=0.5)
    simulator.run()
    commands = [command for step in simulator.log for command in step.commands]
    for before, after in itertools.pairwise(commands):
        assert not (isinstance(before, Start) and isinstance(after, Stop)), "nobody was served"
    assert sum(isinstance(command, Start) for command in commands) <= 6


def test_t07_a_loading_model_takes_room_and_is_not_evicted() -> None:
    driven = Driven("a", "b", policy=Policy(patience=0.0, load_factor=0.0, quantum=0.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    assert driven.tell(Arrived(2, "b"), at=1.0) == ()
    assert driven.tell(Tick(), at=50.0) == ()
    assert driven.engine.snapshot().upstream("a").phase is Phase.STARTING


def test_t08_an_unload_of_a_model_that_is_busy_for_ever_holds_nobody_up() -> None:
    driven = Driven(Model("a", unload_timeout=5.0), "b", "c", planner=together("ac", "b"))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=0.0)
    driven.tell(UnloadRequested(("a",)), at=1.0)
    assert driven.tell(Arrived(2, "c"), at=2.0) == (Start("c", 2),)
    assert driven.tell(Tick(), at=6.0) == (Stop("a", 1, StopReason.UNLOAD),)


def test_t09_a_busy_victim_is_not_picked() -> None:
    driven = Driven("a", "b", "c", planner=together("ab", "ac", "bc"))
    for ticket, name in ((1, "a"), (2, "b")):
        driven.tell(Arrived(ticket, name), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(BecameReady("b", 2), at=90.0)
    driven.tell(Released(2), at=91.0)
    # b cost a hundred times more to load, but a is busy.
    assert driven.tell(Arrived(3, "c"), at=91.0) == (evict("b", 2, "c"),)


def test_t10_a_limit_lowered_while_a_model_loads_holds_when_it_is_ready() -> None:
    driven = Driven(Model("a", concurrency_limit=4), "b", planner=together("ab"))
    for ticket in range(1, 5):
        driven.tell(Arrived(ticket, "a"))
    driven.tell(Arrived(5, "b"))
    lower = Catalog([Model("a", concurrency_limit=1), Model("b")])
    assert driven.tell(CatalogReplaced(lower)) == ()
    assert driven.tell(BecameReady("a", 1)) == (Forward(1, "a", 1),)
    apart = driven.engine.handle(CatalogReplaced(lower, one_at_a_time), driven.now)
    assert apart == (Stop("b", 2, StopReason.RELOAD),), "what no longer fits converges"


def test_t11_the_capacity_is_kept_whatever_is_asked_for() -> None:
    """The judge plans anew over all who are resident at every start."""
    chance = random.Random(11)
    catalog = Catalog(Model(name, concurrency_limit=2) for name in "abcde")
    planner = together("ab", "bc", "cd", "de", "ea")
    fates = {name: Fate(load=chance.uniform(1, 9), stop=chance.uniform(0, 3)) for name in "abcde"}
    simulator = Simulator(catalog, planner, fates=fates)
    for _ in range(300):
        simulator.ask(chance.choice("abcde"), at=chance.uniform(0, 400), service=chance.expovariate(0.5))
    simulator.run()
    judge = Judge(catalog, planner)
    for step in simulator.log:
        judge.see(step.now, step.event, step.commands)
        assert len(judge.runs) <= 2
    assert all(isinstance(caller.answer, Forward) for caller in simulator.callers.values())


def test_t12_what_can_never_fit_is_refused_at_once_and_evicts_nothing() -> None:
    driven = ready(Model("a", pinned=True), "b")
    commands = driven.tell(Arrived(2, "b"))
    assert refusals(commands) == {2: Refusal.CANNOT_FIT}
    assert len(commands) == 1


def test_t13_reloads_preloads_and_time_to_live_never_make_a_second_run() -> None:
    driven = ready(Model("a", ttl=5.0), "b", planner=together("ab"))
    assert driven.tell(LoadRequested(("a",)), at=1.0) == (), "it is up"
    assert driven.tell(Tick(), at=5.0) == (Stop("a", 1, StopReason.TTL),)
    assert driven.tell(LoadRequested(("a",)), at=5.0) == (), "the old run holds its room"
    assert driven.tell(Arrived(2, "a"), at=5.0) == ()
    changed = Catalog([Model("a", revision="2"), Model("b")])
    assert driven.tell(CatalogReplaced(changed), at=5.0) == ()
    assert driven.tell(Exited("a", 1), at=6.0) == (Start("a", 2),)
    assert driven.tell(LoadRequested(("a", "a")), at=6.0) == ()
    assert driven.tell(BecameReady("a", 2), at=7.0) == (Forward(2, "a", 2),)


def test_t14_nobody_starves_behind_a_busy_model() -> None:
    simulator = Simulator(Catalog([Model("a", concurrency_limit=2), Model("b")]), fates={"a": Fate(load=5.0)})
    for second in range(500):
        simulator.ask("a", at=float(second), service=1.5)
    rare = simulator.ask("b", at=10.0)
    simulator.run(max_steps=5_000)
    waited = simulator.callers[rare].waited
    assert waited is not None
    assert waited <= 60.0 + 1.5 + 5.0


@pytest.mark.parametrize("leaves_at", [0.0, 0.5, 3.0, 5.0, 5.5, 8.0])
def test_t15_no_lease_is_left_over_wherever_a_caller_leaves(leaves_at: float) -> None:
    """Before it is admitted, queued, loading, granted, while it is served, at the very end."""
    simulator = Simulator(Catalog([Model("a", concurrency_limit=1), Model("b")]), fates={"a": Fate(load=5.0)})
    first = simulator.ask("a", at=0.0, service=3.0, gives_up_after=leaves_at)
    simulator.ask("a", at=0.0, service=3.0, gives_up_after=leaves_at)
    simulator.ask("b", at=1.0, service=1.0)
    if leaves_at >= 5.0:
        simulator.run(leaves_at)
        if simulator.callers[first].released_at is None:
            simulator.tell(Released(first))
    simulator.run()
    assert all(view.leases == view.waiting == 0 for view in simulator.engine.snapshot().upstreams)
    assert simulator.callers[3].waited is not None


def test_t16_a_lease_is_never_given_back_by_time() -> None:
    driven = Driven("a", "b", policy=Policy(patience=1.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=1.0)
    driven.tell(Arrived(2, "b"), at=2.0)
    for day in range(1, 4):
        assert driven.tell(Tick(), at=day * 86_400.0) == ()
    assert driven.engine.snapshot().upstream("a").leases == 1


def test_t17_a_cancelled_waiter_is_an_ordinary_event_in_every_state() -> None:
    moments: dict[str, list[Event]] = {
        "loading": [],
        "swapping": [BecameReady("b", 1), Released(1)],
        "gone": [BecameReady("b", 1), Released(1), Exited("b", 1)],
        "lost": [Lost("b", 1)],
        "closed": [BecameReady("b", 1), Tick()],
    }
    for moment, events in moments.items():
        driven = Driven("b", "a", policy=Policy(patience=0.0, load_factor=0.0, quantum=0.0))
        driven.tell(Arrived(1, "b"))
        driven.tell(Arrived(2, "a"))
        for event in events:
            driven.tell(event)
        driven.tell(Released(2))
        snapshot = driven.engine.snapshot()
        assert snapshot.upstream("a").waiting == 0, moment
        assert not snapshot.upstream("b").closed, moment


def test_t18_a_pin_overrides_time_to_live_and_need_of_room() -> None:
    driven = ready(Model("a", pinned=True, ttl=1.0), "b", planner=together("a", "b"))
    assert driven.due() is None
    assert driven.tell(Tick(), at=3600.0) == ()
    assert refusals(driven.tell(Arrived(2, "b"))) == {2: Refusal.CANNOT_FIT}
    driven.tell(LoadRequested(("b",)))
    assert driven.engine.snapshot().upstream("a").phase is Phase.READY


def test_t19_the_time_to_live_counts_from_ready_or_the_end_of_the_last_lease() -> None:
    driven = Driven(Model("a", ttl=10.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Released(1), at=1.0)
    driven.tell(BecameReady("a", 1), at=60.0)
    assert driven.due() == 70.0, "from ready, not from the request"
    driven.tell(Arrived(2, "a"), at=65.0)
    assert driven.due() is None, "while it serves nothing counts"
    driven.tell(Arrived(3, "a"), at=66.0)
    driven.tell(Released(2), at=80.0)
    assert driven.due() is None
    driven.tell(Released(3), at=90.0)
    assert driven.due() == 100.0


@pytest.mark.parametrize("fact", [Lost("a", 1, "killed"), Exited("a", 1, "killed")])
def test_t21_death_while_loading_refuses_everyone_who_waits_at_once(fact: Lost | Exited) -> None:
    driven = Driven("a")
    driven.tell(Arrived(1, "a"))
    driven.tell(Arrived(2, "a"))
    commands = driven.tell(fact)
    assert refusals(commands) == {1: Refusal.START_FAILED, 2: Refusal.START_FAILED}
    assert all("killed" in one.detail for one in commands if isinstance(one, Reject))


def test_t22_death_is_one_event_whatever_the_run_is_doing() -> None:
    moments: list[list[Event]] = [
        [],
        [BecameReady("a", 1)],
        [UnloadRequested(("a",), Urgency.NOW)],
        [Lost("a", 1)],
    ]
    for before in moments:
        driven = Driven("a")
        driven.tell(Arrived(1, "a"))
        for event in before:
            driven.tell(event)
        driven.tell(Lost("a", 1))
        driven.tell(Exited("a", 1))
        assert driven.tell(Exited("a", 1)) == (), "a second report of the same exit means nothing"
        assert driven.engine.snapshot().upstream("a").phase is Phase.STOPPED


@pytest.mark.parametrize("path", ["evict", "ttl", "unload", "start_timeout", "reload"])
def test_t24_every_stop_has_its_model_s_one_deadline(path: str) -> None:
    driven = Driven(Model("a", unload_timeout=3.0, start_timeout=50.0, ttl=7.0), "b")
    driven.tell(Arrived(1, "a"), at=0.0)
    if path != "start_timeout":
        driven.tell(BecameReady("a", 1), at=0.0)
        driven.tell(Released(1), at=0.0)
    at = {"ttl": 7.0, "start_timeout": 50.0}.get(path, 1.0)
    what: dict[str, Event] = {
        "evict": Arrived(2, "b"),
        "unload": UnloadRequested(("a",)),
        "reload": CatalogReplaced(Catalog([Model("a", revision="2"), Model("b")])),
    }
    commands = driven.tell(what.get(path, Tick()), at=at)
    assert StopReason(path) in {one.reason for one in commands if isinstance(one, Stop)}
    assert driven.due() == at + 3.0
    (forced,) = driven.tell(Tick(), at=at + 3.0)
    assert isinstance(forced, Stop)
    assert forced.force
    driven.tell(Tick(), at=at + 13.0)
    assert driven.engine.snapshot().upstream("a").stuck, "its end is not waited for without end"


def test_t28_a_broken_model_is_not_started_for_every_request() -> None:
    models = Catalog([Model("a")])
    simulator = Simulator(models, fates={"a": Fate(load=5.0, fails_after=0.1)})
    for second in range(600):
        simulator.ask("a", at=float(second))
    simulator.run()
    starts = [step.now for step in simulator.log for command in step.commands if isinstance(command, Start)]
    # 10, 20, 40, 80, 160, 300 s after the failures, or when somebody asks next.
    gaps = [round(after - before) for before, after in itertools.pairwise(starts)]
    assert gaps == [11, 21, 41, 81, 161]
    assert all(isinstance(caller.answer, Reject) for caller in simulator.callers.values())
    assert all(caller.released_at == caller.answered_at for caller in simulator.callers.values())


def test_t29_a_failed_load_leaves_the_others_loadable() -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "b"))
    driven.tell(Exited("a", 1))
    driven.tell(Arrived(3, "a"))
    commands = driven.tell(Exited("b", 2, "no such file"))
    assert refusals(commands) == {2: Refusal.START_FAILED}
    assert commands[-1] == Start("a", 3)


def test_t44_what_a_new_catalog_starts_waits_for_what_the_old_one_leaves() -> None:
    driven = ready("a", "b", planner=together("ab"))
    driven.tell(Arrived(2, "a"))
    new = Catalog([Model("a", revision="2"), Model("b")])
    driven.tell(CatalogReplaced(new))
    assert driven.tell(LoadRequested(("b", "a"))) == ()
    assert driven.tell(Arrived(3, "a")) == ()
    assert driven.tell(Released(2)) == (Stop("a", 1, StopReason.RELOAD),)
    assert driven.tell(Exited("a", 1))[0] == Start("a", 2)


def test_t48_groups_evict_one_way_so_that_order_matters() -> None:
    groups = Groups([Group("x", ["a"]), Group("y", ["b"], exclusive=False)], ["a", "b"])
    first_a = ready("a", "b", planner=groups)
    assert first_a.tell(Arrived(2, "b")) == (Start("b", 2),), "b comes in beside a"
    first_b = ready("b", "a", planner=groups)
    assert first_b.tell(Arrived(2, "a")) == (evict("b", 1, "a"),), "a does not beside b"
