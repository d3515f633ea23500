"""Does the engine keep its promises in every order of everything that can happen in small worlds?

The suite covers the worlds of `SUITE`, some 250 000 events; `SMALL_WORLDS=large` adds those of
`LARGE`, which take minutes each, and `SMALL_WORLDS=tiny` searches those of `TINY` alone, which
together take a few seconds: mutants are tried on them (`python -m tests.bench.mutation`). The
figures are the states visited, so that a change which makes part of a world unreachable is
noticed as well.
"""

import os

import pytest
from attrs import evolve, fields

from swapcore import Model, one_at_a_time
from swapcore.orders import Orders
from tests.core.driven import together
from tests.core.small_worlds import COMPARED, Node, Scope, World, explore, longest_calm


def model(name: str, *, limit: int = 1, ttl: float | None = None, pinned: bool = False) -> Model:
    return Model(
        name, concurrency_limit=limit, start_timeout=50.0, unload_timeout=4.0, ttl=ttl, pinned=pinned
    )


# The first caller's model is called a, the next other one b: they are alike but for ties.
TWO, THREE, FOUR = ("a", "ab"), ("a", "ab", "abc"), ("a", "ab", "abc", "abc")
SINGLE = Scope(models=(model("a"), model("b"), model("c")), planner=one_at_a_time, asks=THREE)
PAIRS = evolve(SINGLE, planner=together("ab", "bc"))
TWO_OF_THREE = evolve(SINGLE, planner=together("ab", "bc", "ac"))
MORTAL = evolve(
    PAIRS, models=(model("a", ttl=0.0), model("b", limit=2, ttl=5.0), model("c", pinned=True)), asks=TWO
)
ROOMY = tuple(model(name, limit=2) for name in "abc")

SUITE = {
    "one slot": (evolve(SINGLE, asks=FOUR), 20_000),
    "one slot, runs fail": (evolve(SINGLE, faults=1), 8_000),
    "one slot, callers leave, late timer": (evolve(SINGLE, cancels=2, late_ticks=1), 15_000),
    "one slot, unload, two served at once": (
        evolve(SINGLE, models=ROOMY, asks=TWO, unloads=1, cancels=1),
        1_000,
    ),
    "one slot, wishes, runs fail": (evolve(SINGLE, asks=TWO, loads=1, faults=1), 4_000),
    "one slot, three callers take turns": (
        evolve(SINGLE, asks=("a", "ab", "ab", "ab"), callers="xxyz", cancels=1),
        10_000,
    ),
    "one slot, shutdown": (evolve(SINGLE, asks=TWO, shutdowns=2, faults=1, cancels=1), 9_000),
    "pairs": (evolve(PAIRS, cancels=1), 10_000),
    "pairs, unload": (evolve(PAIRS, asks=TWO, unloads=1), 1_500),
    "two of three": (evolve(TWO_OF_THREE, cancels=1), 10_000),
    "one slot, a never dies": (evolve(SINGLE, asks=TWO, unloads=1, immortal="a"), 700),
    "pairs, a never dies": (evolve(PAIRS, immortal="a"), 3_500),
    "two of three, b never dies": (evolve(TWO_OF_THREE, immortal="b"), 5_000),
    "time to live and a pin": (evolve(MORTAL, faults=1, cancels=1), 5_000),
}
LARGE = {
    "one slot, anything": (evolve(SINGLE, faults=1, cancels=3, unloads=1), 100_000),
    "one slot, wishes and unloads": (
        evolve(SINGLE, asks=TWO, faults=1, cancels=1, unloads=1, loads=1),
        100_000,
    ),
    "one slot, four callers, runs fail": (evolve(SINGLE, asks=FOUR, faults=1, cancels=1), 100_000),
    "pairs, four callers": (evolve(PAIRS, asks=FOUR), 40_000),
    "two of three, four callers": (evolve(TWO_OF_THREE, asks=FOUR), 60_000),
    "two of three, runs fail": (evolve(TWO_OF_THREE, faults=1, cancels=1), 100_000),
    "time to live, three callers": (evolve(MORTAL, asks=THREE, faults=1), 60_000),
}
TINY = {
    "tiny: callers leave": (evolve(SINGLE, asks=TWO, cancels=1, late_ticks=1), 650),
    "tiny: runs fail": (evolve(SINGLE, asks=TWO, faults=1), 500),
    "tiny: callers take turns": (evolve(SINGLE, asks=("a", "ab", "a"), callers="xxy"), 600),
    "tiny: a never dies": (evolve(SINGLE, asks=TWO, unloads=1, immortal="a"), 700),
    "tiny: unloads": (evolve(SINGLE, models=ROOMY, asks=TWO, unloads=1, cancels=1), 1_000),
    "tiny: wishes": (evolve(SINGLE, asks=("a", "b"), loads=1), 500),
    "tiny: shutdown": (evolve(SINGLE, asks=("a", "b"), shutdowns=2), 1_000),
    "tiny: two of three": (evolve(TWO_OF_THREE, asks=("a", "b", "c"), starts=1), 500),
    "tiny: pairs, a never dies": (evolve(PAIRS, asks=TWO, immortal="a"), 250),
    "tiny: time to live and a pin": (evolve(MORTAL, cancels=1), 1_200),
}
WORLDS = {
    "tiny": TINY,
    "large": {**SUITE, **LARGE},
}.get(os.environ.get("SMALL_WORLDS", ""), SUITE)


# A search takes up to twenty seconds of a processor, of which it may get little.
@pytest.mark.timeout(3600 if len(WORLDS) > len(SUITE) else 600)
@pytest.mark.parametrize("name", WORLDS)
def test_every_order_of_events_keeps_every_invariant_and_leads_to_rest(name: str) -> None:
    scope, least = WORLDS[name]
    found = explore(scope)
    print(f"{name}: {found}")
    assert found.states >= least
    assert found.longest_calm <= 5 * len(scope.asks) + 5


def test_the_search_sees_a_gate_without_the_batch_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = Orders.serve
    monkeypatch.setattr(
        Orders, "serve", lambda orders, run: serve(orders, run) if run.closed_for is None else None
    )
    with pytest.raises(AssertionError, match=r"Arrived\(ticket=1"):
        explore(evolve(SINGLE, asks=FOUR))


def test_the_search_sees_who_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapcore.settling.Settling.bring_in", lambda *_, **__: None)
    with pytest.raises(AssertionError, match="nothing will ever happen"):
        explore(evolve(SINGLE, asks=TWO))


def test_the_search_sees_a_livelock() -> None:
    one, other = Node(0, 0), Node(1, 1)
    one.calm, other.calm = other, one
    with pytest.raises(AssertionError, match="round in a circle"):
        longest_calm([one, other])


@pytest.mark.parametrize("cls", COMPARED)
def test_every_field_of_the_state_has_been_thought_through(cls: type) -> None:
    """Two states that a new field tells apart must not be taken for one by `World.picture`."""
    assert {one.name for one in fields(cls)} == set(COMPARED[cls].split())


def test_a_forked_world_lives_its_own_life() -> None:
    world = World.begin(SINGLE)
    before = world.picture()
    event, seconds, budget = next(iter(world.events()))
    after = world.after(event, seconds, budget)
    assert world.picture() == before != after.picture()
    assert after.fork().picture() == after.picture()
