"""Tests of `swapcore.testing.arrivals`."""

import random
from collections import Counter

import pytest

from swapcore.testing import Ask, Phase, agent, bursty, poisson


def test_the_same_seed_gives_the_same_traffic() -> None:
    def draw(seed: int) -> list[list[Ask]]:
        chance = random.Random(seed)
        return [
            list(poisson(chance, rate=1.0, weights={"a": 1, "b": 2}, count=20)),
            list(bursty(chance, [Phase(50.0, 0.5, {"a": 1})])),
            list(agent(chance, ["a", "b"], rounds=5)),
        ]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_poisson_has_the_rate_the_tastes_and_the_services_it_is_given() -> None:
    asks = list(poisson(random.Random(3), rate=0.5, weights={"a": 3, "b": 1}, count=20_000, service=4.0))
    assert sum(ask.after for ask in asks) / len(asks) == pytest.approx(2.0, rel=0.05)
    assert sum(ask.service for ask in asks) / len(asks) == pytest.approx(4.0, rel=0.05)
    assert Counter(ask.model for ask in asks)["a"] / len(asks) == pytest.approx(0.75, rel=0.05)


def test_phases_follow_each_other_and_keep_to_their_times() -> None:
    phases = [Phase(1000.0, 2.0, {"a": 1}), Phase(500.0, 0.0, {}), Phase(1000.0, 0.5, {"b": 1, "c": 1})]
    now = 0.0
    times: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for ask in bursty(random.Random(5), phases, service=3.0):
        assert ask.after >= 0
        now += ask.after
        times[ask.model].append(now)
    assert 0 < min(times["a"]) < max(times["a"]) < 1000
    late = sorted(times["b"] + times["c"])
    assert 1500 < late[0] < late[-1] < 2500
    assert len(times["a"]) == pytest.approx(2000, rel=0.1)
    assert len(late) == pytest.approx(500, rel=0.2)
    assert times["b"]
    assert times["c"]


def test_an_agent_asks_its_models_in_turn_within_the_spread() -> None:
    asks = list(agent(random.Random(7), ["a", "b"], rounds=1001, service=10.0, gap=2.0, spread=0.5))
    assert [ask.model for ask in asks[:4]] == ["a", "b", "a", "b"]
    assert len(asks) == 1001
    assert all(5 <= ask.service <= 15 and 1 <= ask.after <= 3 for ask in asks)
    assert max(ask.service for ask in asks) > 14
    assert min(ask.after for ask in asks) < 1.1
