"""Does a request go to the target that the selector's strategy says?"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest

from swapcore import Phase, Snapshot, UpstreamView
from swapcore_http.config import PeerModel, SelectorConfig
from swapcore_http.selectors import NoTargetError, Selectors, Standing, State, Target, standing_of

READY, COMING, COLD, AWAY = State


def selector(strategy: str, targets: Sequence[str] = ("a", "b", "c"), spillover: int = 1) -> SelectorConfig:
    return SelectorConfig("s", strategy=strategy, targets=tuple(targets), spillover=spillover)


def standing(*states: State | Standing) -> Callable[[Target], Standing]:
    table = dict(zip("abc", states, strict=True))

    def look(target: Target) -> Standing:
        found = table[str(target)]
        return found if isinstance(found, Standing) else Standing(found)

    return look


def choose(strategy: str, *states: State | Standing, spillover: int = 1) -> str:
    return "abc"[Selectors().choose(selector(strategy, spillover=spillover), "abc", standing(*states))]


@pytest.mark.parametrize("states", [(COLD, READY, READY), (AWAY, READY, COLD), (READY, COLD, COLD)])
def test_pin_is_always_the_first(states: tuple[State, ...]) -> None:
    assert choose("pin", *states) == "a"


@pytest.mark.parametrize(
    ("states", "chosen"),
    [
        ((COLD, COLD, COLD), "a"),
        ((COLD, READY, READY), "b"),
        ((COMING, COLD, READY), "c"),
        ((COLD, COMING, COMING), "b"),
        ((AWAY, COLD, COMING), "c"),
        ((AWAY, AWAY, AWAY), "a"),
    ],
)
def test_warm_is_what_is_up_or_comes(states: tuple[State, ...], chosen: str) -> None:
    assert choose("warm", *states) == chosen


def busy(count: int, state: State = READY) -> Standing:
    return Standing(state, count)


@pytest.mark.parametrize(
    ("states", "spillover", "chosen"),
    [
        ((COLD, COLD, COLD), 1, "a"),
        ((AWAY, COLD, COLD), 1, "b"),
        ((COLD, READY, COLD), 1, "b"),
        ((COLD, COMING, COLD), 1, "b"),
        ((busy(1), COLD, COLD), 1, "b"),
        ((busy(1), COLD, COLD), 2, "a"),
        ((busy(2), AWAY, COLD), 2, "c"),
        ((busy(2), busy(1), COLD), 2, "b"),
        ((busy(3), busy(2), COLD), 2, "c"),
        ((busy(3), busy(2), AWAY), 2, "b"),
        ((busy(3), busy(2, COMING), busy(9)), 1, "b"),
    ],
)
def test_spillover_fills_one_and_then_the_next(
    states: tuple[State | Standing, ...], spillover: int, chosen: str
) -> None:
    assert choose("spillover", *states, spillover=spillover) == chosen


def test_spillover_without_any_target_left() -> None:
    with pytest.raises(NoTargetError, match="no target of 's' takes requests now"):
        choose("spillover", AWAY, AWAY, AWAY)


def test_spillover_counts_what_it_has_sent() -> None:
    selectors, config = Selectors(), selector("spillover", spillover=2)
    look = standing(READY, COLD, COLD)
    with ExitStack() as sent:
        chosen = []
        for _ in range(6):
            place = selectors.choose(config, "abc", look)
            chosen.append("abc"[place])
            sent.enter_context(selectors.reserving(config, "abc"[place]))
        assert "".join(chosen) == "aabbcc"
        # All are full: the least busy, and equal ones in turn.
        more = []
        for _ in range(3):
            place = selectors.choose(config, "abc", look)
            more.append("abc"[place])
            sent.enter_context(selectors.reserving(config, "abc"[place]))
        assert sorted(more) == ["a", "b", "c"]
    # All are answered.
    assert "abc"[selectors.choose(config, "abc", look)] == "a"


def test_spillover_takes_equal_ones_in_turn() -> None:
    selectors, config = Selectors(), selector("spillover")
    look = standing(READY, READY, READY)
    assert [selectors.choose(config, "abc", look) for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_selectors_count_each_for_itself() -> None:
    selectors, one = Selectors(), selector("spillover")
    other = SelectorConfig("t", strategy="spillover", targets=("a", "b", "c"))
    with selectors.reserving(one, "a"):
        assert selectors.choose(one, "abc", standing(COLD, COLD, COLD)) == 1
        assert selectors.choose(other, "abc", standing(COLD, COLD, COLD)) == 0


def test_peers_models_are_counted_like_others() -> None:
    selectors, config = Selectors(), selector("spillover")
    targets = (PeerModel("p", "a"), "a")
    with selectors.reserving(config, targets[0]):
        assert selectors.choose(config, targets, lambda _: Standing(COLD)) == 1


def view(phase: Phase, **more: object) -> UpstreamView:
    fields: dict[str, object] = {
        **dict.fromkeys(("run", "idle_since", "cooling_until")),
        **dict.fromkeys(("leases", "waiting"), 0),
        **dict.fromkeys(("closed", "stuck"), False),
    }
    return UpstreamView(model="a", phase=phase, **{**fields, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "wishes", "expected"),
    [
        (view(Phase.STOPPED), (), Standing(COLD)),
        (view(Phase.STOPPED, waiting=2), (), Standing(COMING, 2)),
        (view(Phase.STOPPED), ("a",), Standing(COMING)),
        (view(Phase.STOPPED, cooling_until=9.0), (), Standing(AWAY)),
        (view(Phase.STARTING, waiting=1), (), Standing(COMING, 1)),
        (view(Phase.READY, leases=2, waiting=1), (), Standing(READY, 3)),
        (view(Phase.READY, leases=2, closed=True), (), Standing(AWAY, 2)),
        (view(Phase.STOPPING, waiting=1), (), Standing(AWAY, 1)),
        (view(Phase.STOPPING, stuck=True), (), Standing(AWAY)),
    ],
)
def test_how_a_model_stands(seen: UpstreamView, wishes: tuple[str, ...], expected: Standing) -> None:
    snapshot = Snapshot(now=0.0, upstreams=(seen,), tickets=(), wishes=wishes, shutting_down=False)
    assert standing_of(snapshot) == {"a": expected}
