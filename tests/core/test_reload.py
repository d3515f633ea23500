"""Tests of what a new catalog, and an operator's unload, leave as it was and what they do not."""

import math

import pytest

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Exited,
    Forward,
    LoadRequested,
    Model,
    Phase,
    Plan,
    Policy,
    Refusal,
    Reject,
    Released,
    Settings,
    Start,
    Stop,
    StopReason,
    Tick,
    UnloadRequested,
)
from swapcore.planning import Group, Groups
from tests.core.driven import Driven, ready, together

RELOAD = StopReason.RELOAD


def replaced(*models: Model | str, reload_drain_timeout: float = math.inf) -> CatalogReplaced:
    catalog = Catalog(model if isinstance(model, Model) else Model(model) for model in models)
    return CatalogReplaced(catalog, None, Settings(reload_drain_timeout=reload_drain_timeout))


def refusals(driven: Driven, ticket: int, model: str) -> list[Refusal]:
    commands = driven.tell(Arrived(ticket, model), after=0.0)
    return [one.refusal for one in commands if isinstance(one, Reject)]


def failed_once(*models: Model | str) -> Driven:
    """The first model's only start has failed just now."""
    driven = Driven(*models)
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(Exited("a", 1, "boom"), at=1.0)
    driven.tell(Released(1), at=1.0)
    return driven


# Unload ------------------------------------------------------------------------


def test_an_unload_takes_a_wish_back() -> None:
    driven = ready("a", "b")
    driven.tell(Arrived(2, "a"))
    driven.tell(LoadRequested(("b",)))
    driven.tell(UnloadRequested(("b",)))
    assert driven.engine.snapshot().wishes == ()
    assert driven.tell(Released(2)) == ()


def test_an_unload_forgives_a_failure_and_of_no_other_model() -> None:
    driven = failed_once("a", "b")
    assert refusals(driven, 2, "a") == [Refusal.COOLING_DOWN]
    driven.tell(UnloadRequested(("b",)))
    assert refusals(driven, 3, "a") == [Refusal.COOLING_DOWN]
    driven.tell(UnloadRequested(("a",)))
    assert driven.tell(Arrived(4, "a")) == (Start("a", 2),)


def test_a_second_drain_does_not_lengthen_the_first() -> None:
    driven = Driven(Model("a", unload_timeout=5.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=0.0)
    driven.tell(UnloadRequested(("a",)), at=10.0)
    driven.tell(UnloadRequested(("a",)), at=13.0)
    assert driven.tell(Tick(), at=15.0) == (Stop("a", 1, StopReason.UNLOAD),)


def test_the_time_to_live_of_an_idle_model_is_no_limit_of_a_later_drain() -> None:
    driven = ready(Model("a", ttl=3.0, unload_timeout=50.0))
    driven.tell(Arrived(2, "a"), at=2.0)
    driven.tell(UnloadRequested(("a",)), at=2.5)
    assert driven.due() == 52.5


# A new catalog -----------------------------------------------------------------


def test_wishes_outlive_a_reload_where_their_models_do() -> None:
    driven = ready("a", "b", "c")
    driven.tell(Arrived(2, "a"))
    driven.tell(LoadRequested(("b", "c")))
    driven.tell(replaced("a", "c"))
    assert driven.engine.snapshot().wishes == ("c",)


def test_a_failure_is_forgotten_with_its_revision_and_not_before() -> None:
    driven = failed_once("a", "b")
    driven.tell(replaced("b", "a"))
    assert refusals(driven, 2, "a") == [Refusal.COOLING_DOWN]
    driven.tell(replaced("b", Model("a", revision="2")))
    assert driven.tell(Arrived(3, "a")) == (Start("a", 2),)


@pytest.mark.parametrize("revision", ["", "2"])
def test_an_aborted_load_is_forgotten_with_its_revision(revision: str) -> None:
    driven = Driven("a", "b")
    driven.tell(Arrived(1, "a"))
    driven.tell(Released(1))
    assert driven.tell(Arrived(2, "b")) == (Stop("a", 1, StopReason.ABANDONED, making_room_for="b"),)
    driven.tell(Exited("a", 1))
    driven.tell(replaced(Model("a", revision=revision), "b"))
    driven.tell(BecameReady("b", 2))
    driven.tell(Released(2))
    driven.tell(Arrived(3, "a"))
    driven.tell(Exited("b", 2))
    driven.tell(Released(3))
    commands = driven.tell(Arrived(4, "b"))
    assert bool(commands) == bool(revision), "the next load of a model that was aborted is finished"


def test_the_new_limit_of_a_start_holds_for_one_that_has_begun() -> None:
    driven = Driven(Model("a", start_timeout=50.0))
    driven.tell(Arrived(1, "a"), at=10.0)
    driven.tell(replaced(Model("a", start_timeout=20.0)), at=15.0)
    assert driven.due() == 30.0
    driven.tell(replaced(Model("a", start_timeout=90.0)), at=16.0)
    assert driven.due() == 100.0
    commands = driven.tell(replaced(Model("a", start_timeout=2.0)), at=17.0)
    assert Stop("a", 1, StopReason.START_TIMEOUT) in commands, "its time is over already"


def test_the_new_time_to_live_counts_from_when_an_idle_model_became_idle() -> None:
    driven = ready(Model("a", ttl=50.0))
    driven.tell(replaced(Model("a", ttl=20.0)), at=10.0)
    assert driven.due() == 20.0
    driven.tell(replaced("a"), at=11.0)
    assert driven.due() is None
    driven.tell(Arrived(2, "a"), at=12.0)
    driven.tell(replaced(Model("a", ttl=5.0)), at=13.0)
    assert driven.due() is None, "one that serves does not age"


@pytest.mark.parametrize("used_last", ["served", "waited for", "idle"])
def test_of_two_that_may_not_live_together_any_more_the_one_used_last_stays(used_last: str) -> None:
    models = (Model("a", concurrency_limit=1), Model("b", concurrency_limit=1))
    driven = Driven(*models, planner=together("ab"))
    for ticket, name in enumerate("ab", 1):
        driven.tell(Arrived(ticket, name))
        driven.tell(BecameReady(name, ticket))
    driven.tell(Released(2), at=10.0)
    if used_last == "idle":
        driven.tell(Released(1), at=11.0)
    elif used_last == "waited for":
        driven.tell(Arrived(3, "a"), at=11.0)
    commands = driven.tell(CatalogReplaced(Catalog(models), together("a", "b")), at=20.0)
    assert commands == (Stop("b", 2, RELOAD),)


def test_what_may_not_stay_after_a_reload_drains_within_its_limit() -> None:
    driven = Driven("a", "b", planner=together("ab"))
    for ticket, name in enumerate("ab", 1):
        driven.tell(Arrived(ticket, name))
        driven.tell(BecameReady(name, ticket))
    limits = Settings(reload_drain_timeout=7.0)
    # Both are being served, so the definition order decides.
    driven.tell(CatalogReplaced(Catalog([Model("a"), Model("b")]), together("a", "b"), limits), at=20.0)
    snapshot = driven.engine.snapshot()
    assert (snapshot.upstream("a").closed, snapshot.upstream("b").closed) == (False, True)
    assert driven.due() == 27.0
    assert driven.tell(Tick(), at=27.0) == (Stop("b", 2, RELOAD),)


def test_a_planner_is_told_of_the_residents_of_a_reload_in_definition_order() -> None:
    told: list[tuple[str, ...]] = []
    keep = together("abc")

    def plan(target: str, resident: tuple[str, ...], loss: dict[str, float], /) -> Plan:
        told.append(tuple(resident))
        assert all(0 < loss[one] < 1e9 for one in resident)
        return keep(target, resident, loss)

    driven = Driven("a", "b", "c", planner=together("abc"))
    for ticket, name in enumerate("cab", 1):
        driven.tell(Arrived(ticket, name))
        driven.tell(BecameReady(name, ticket))
    told.clear()
    driven.tell(CatalogReplaced(Catalog([Model("b"), Model("c"), Model("a")]), plan))  # type: ignore[arg-type]
    assert ("b", "c", "a") in told
    assert {tuple(one for one in "bca" if one in resident) for resident in told} == set(told)


def test_a_reload_makes_no_promise_of_the_old_catalog_good() -> None:
    driven = ready(Model("a", concurrency_limit=1), "b", policy=Policy(patience=5.0, quantum=0.0))
    driven.tell(Arrived(2, "a"), at=1.0)
    driven.tell(Arrived(3, "b"), at=1.0)
    driven.tell(Tick(), at=100.0)
    assert driven.engine.snapshot().upstream("a").closed
    commands = driven.tell(
        CatalogReplaced(Catalog([Model("a", concurrency_limit=1), Model("b")]), together("ab")), at=101.0
    )
    assert commands == (Start("b", 2),)
    assert not driven.engine.snapshot().upstream("a").closed
    driven.tell(Arrived(4, "a"), at=102.0)
    assert driven.tell(Released(2), at=103.0) == (Forward(4, "a", 1),)


def test_when_the_caller_leaves_who_made_a_model_due_others_need_not_wait_for_it() -> None:
    driven = Driven("a", "b", "c", planner=together("ac", "b"), policy=Policy(load_factor=0.0, quantum=99.0))
    driven.tell(Arrived(1, "a"), at=0.0)
    driven.tell(BecameReady("a", 1), at=10.0)
    driven.tell(Arrived(2, "b", patience=20.0), at=11.0)
    driven.tell(Arrived(3, "b", patience=500.0), at=11.0)
    driven.tell(Tick(), at=31.0)
    # a may go on for a while, and then it is the turn of b, which c may not live with.
    assert driven.tell(Arrived(4, "c"), at=32.0) == ()
    assert driven.tell(Released(2), at=33.0) == (Start("c", 2),)


ONE_WAY = Groups([Group("big", ["a"]), Group("small", ["b"], exclusive=False)], ["a", "b", "c"])
"""b comes in beside a, and leaves when a comes in."""


@pytest.mark.parametrize("last", ["a", "b"])
def test_what_came_in_by_a_one_way_rule_stays_when_something_else_changes(last: str) -> None:
    driven = Driven("a", "b", "c", planner=ONE_WAY)
    for ticket, model in enumerate(("a", "b"), 1):
        driven.tell(Arrived(ticket, model), after=1.0)
        driven.tell(BecameReady(model, ticket), after=1.0)
    for ticket in (1, 2) if last == "b" else (2, 1):
        driven.tell(Released(ticket), after=1.0)
    unrelated = Catalog([Model("a"), Model("b"), Model("c", revision="2")])
    assert driven.tell(CatalogReplaced(unrelated, ONE_WAY), after=1.0) == ()
    assert [view.phase for view in driven.engine.snapshot().upstreams[:2]] == [Phase.READY, Phase.READY]
    apart = Groups([Group("one", ["a", "b"])], ["a", "b", "c"])
    other = {"a": "b", "b": "a"}[last]
    assert driven.tell(CatalogReplaced(unrelated, apart), after=1.0) == (
        Stop(other, {"a": 1, "b": 2}[other], RELOAD),
    )
