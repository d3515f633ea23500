"""Do the models of a served configuration live together as it says, and go first as it says?"""

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from swapcore import Phase, Policy, Settings
from swapcore_http.config import CollationConfig, Config, GroupConfig, MatrixConfig
from swapcore_http.serve import make_engine
from tests.http.serving import Served, fake, serving

pytestmark = pytest.mark.anyio


def up(served: Served) -> list[str]:
    return [view.model for view in served.driver.snapshot().upstreams if view.phase is Phase.READY]


async def asked(served: Served, model: str) -> list[str]:
    """Ask a model, and say which are up after that."""
    status, fields, _ = await served.chat(model)
    assert status == 200
    assert fields["X-Model"] == model.removesuffix("2")
    return up(served)


async def test_groups() -> None:
    groups = [GroupConfig("pair", members=["a2", "b"], swap=False)]
    async with serving(fake("a", aliases=["a2"]), fake("b"), fake("big"), groups=groups) as served:
        assert await asked(served, "a2") == ["a"]
        assert await asked(served, "b") == ["a", "b"]
        assert await asked(served, "a") == ["a", "b"]
        assert await asked(served, "big") == ["big"]
        assert await asked(served, "b") == ["b"]


async def test_matrix() -> None:
    matrix = MatrixConfig({"one": "a & (b | c)"}, evict_costs={"b": 2})
    async with serving(fake("a"), fake("b"), fake("c"), fake("big"), matrix=matrix) as served:
        assert await asked(served, "c") == ["c"]
        assert await asked(served, "a") == ["a", "c"]
        assert await asked(served, "b") == ["a", "b"]
        assert await asked(served, "big") == ["big"]


async def test_a_pinned_model_stays() -> None:
    matrix = MatrixConfig({"one": "a & b", "two": "b & c"})
    async with serving(fake("a", pinned=True), fake("b"), fake("c"), matrix=matrix) as served:
        assert await asked(served, "a") == ["a"]
        assert await asked(served, "b") == ["a", "b"]
        status, _, answer = await served.chat("c")
        assert status == 422, answer
        assert up(served) == ["a", "b"]


async def test_bounds_of_waiting(tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    slow: dict[str, Any] = {"flags": {"load_until": loaded}}
    config: dict[str, Any] = {"groups": [GroupConfig("all", members=["a", "b"], swap=False)], "max_queue": 2}
    async with (
        serving(fake("a", max_queue=1, **slow), fake("b", **slow), **config) as served,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(served.chat, "a")
        await served.until_waiting("a")
        status, _, answer = await served.chat("a")
        assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
        tasks.start_soon(served.chat, "b")
        await served.until_waiting("b")
        status, _, _ = await served.chat("b")
        assert status == 429
        loaded.touch()


DIALS: list[tuple[bool, dict[str, str], int, float | None]] = [
    # Whether headers count, which ones, and the priority and the patience that a caller then has.
    (False, {"X-Swap-Priority": "7", "X-Swap-Patience": "1000"}, 3, 500.0),
    (False, {"X-Swap-Priority": "high", "X-Swap-Patience": ""}, 3, 500.0),
    (True, {}, 3, 500.0),
    (True, {"X-Swap-Priority": "7"}, 7, 500.0),
    (True, {"x-swap-priority": "-1000", "x-swap-patience": "0"}, -1000, 0.0),
    (True, {"X-Swap-Priority": "+1000", "X-Swap-Patience": "1000.5"}, 1000, 1000.5),
    (True, {"X-Swap-Patience": "inf"}, 3, None),
]


@pytest.mark.parametrize(("allowed", "headers", "priority", "patience"), DIALS)
async def test_what_callers_arrive_with(
    *, allowed: bool, headers: dict[str, str], priority: int, patience: float | None, tmp_path: Path
) -> None:
    loaded = tmp_path / "loaded"
    async with (
        serving(
            fake("a", flags={"load_until": loaded}, patience=500, aliases=["a2"]),
            priorities={"a2": 3},
            caller_headers=allowed,
            # With nobody else waiting the last term is nothing, whatever has been learned.
            collation=CollationConfig(load_factor=0),
        ) as served,
        anyio.create_task_group() as tasks,
    ):
        for path in ("/v1/completions", "/upstream/a2/echo"):
            tasks.start_soon(partial(served.ask, "POST", path, {"model": "a"}, headers=headers))
        await served.until_waiting("a", 2)
        for ticket in served.driver.snapshot().tickets:
            assert ticket.priority == priority
            if patience is None:
                assert ticket.due is None
            else:
                # The time that its model needs to come in comes off, but never makes it due before it came.
                arrived = served.driver.snapshot().now - ticket.waited
                assert ticket.due is not None
                assert patience - 60 <= ticket.due - arrived <= patience + 1
        loaded.touch()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(
            ("X-Swap-Priority", value, "a whole number from -1000 to 1000")
            for value in ("1001", "-1001", "1.5", "high", "", "1_0", "٣", "9" * 4000)
        ),
        *(
            ("X-Swap-Patience", value, "seconds, 0 or more, or inf")
            for value in ("-1", "-0.5", "nan", "-inf", "1e9", "soon", "", "9" * 4000)
        ),
    ],
)
async def test_what_nobody_gets(name: str, value: str, expected: str) -> None:
    async with serving(fake("a"), caller_headers=True) as served:
        for path in ("/v1/completions", "/upstream/a/echo"):
            status, _, answer = await served.ask("POST", path, {"model": "a"}, headers={name: value})
            assert status == 400
            assert answer["error"]["message"] == f"{name} is {value[:50]!r}; expected {expected}"
        assert served.view("a").phase is Phase.STOPPED


def test_the_fields_of_a_configuration_reach_the_engine() -> None:
    config = Config(
        patience=5,
        max_queue=7,
        shutdown_timeout=9,
        reload_drain_timeout=3,
        collation=CollationConfig(choice="work"),
    )
    settings = make_engine(config)._state.settings
    assert (
        settings
        == config.engine_settings()
        == Settings(
            policy=Policy(patience=5, choice="work"), max_queue=7, shutdown_timeout=9, reload_drain_timeout=3
        )
    )
    assert make_engine(Config())._state.settings == Settings()


@pytest.mark.parametrize("allowed", [False, True])
async def test_the_dials_are_not_for_the_upstream(*, allowed: bool) -> None:
    headers = {"X-Swap-Priority": "7", "x-swap-PATIENCE": "5", "X-Swap-Other": "1"}
    async with serving(fake("a"), caller_headers=allowed) as served:
        _, _, answer = await served.ask("POST", "/upstream/a/echo", {}, headers=headers)
    assert [name for name, _ in answer["headers"] if name.lower().startswith("x-swap")] == ["X-Swap-Other"]
