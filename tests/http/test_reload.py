"""Tests of `swapcore_http.reload`: what another configuration changes, and what it leaves alone."""

import asyncio
import logging
import threading
from functools import partial
from typing import Any

import anyio
import pytest

from swapcore import Phase
from swapcore_http.config import (
    Config,
    ConfigError,
    GroupConfig,
    Loaded,
    ModelConfig,
    PerformanceConfig,
    Problem,
    Severity,
    StoreConfig,
)
from swapcore_http.reload import Difference
from tests.http.serving import Wire, fake, serving

pytestmark = pytest.mark.anyio

ALL = GroupConfig("all", members=("a", "b"), swap=False)


def broken(message: str = "it is broken") -> Any:
    def read() -> Loaded:
        raise ConfigError([Problem(Severity.ERROR, "models.a.cmd", message, "my.yaml", 3, 5)])

    return read


async def test_what_does_not_change_keeps_its_process_its_port_and_its_streams() -> None:
    async with serving(fake("b"), fake("c")) as served, Wire.to(served) as wire:
        await wire.post("/v1/chat/completions", {"model": "b", "stream": True, "fake": {"gate": "go"}})
        await served.until_leased("b")
        url, run = served.url("b"), served.view("b").run
        assert url.endswith(f":{served.config.models['b'].port}")
        # A model that comes before all others would take the first number.
        difference = await served.replace(fake("a"), fake("b", ttl=500), fake("c", flags={"load": 0}))
        assert difference == Difference(added=("a",), restarted=("c",), adjusted=("b",))
        assert served.url("b") == url
        assert served.config.models["b"].port == int(url.rpartition(":")[2])
        assert served.config.models["a"].port == served.config.start_port + 1
        await served.open_gate("b", "go", 3)
        assert " 200 " in (await wire.head())[0]
        assert b"".join(await wire.chunks()).endswith(b"data: [DONE]\n\n")
        status, _, answer = await served.chat("b")
        assert (status, answer["model"]) == (200, "b")
        assert served.view("b").run == run
        _, _, running = await served.ask("GET", "/running")
        assert [(row["model"], row["ttl"], row["proxy"]) for row in running["running"]] == [("b", 500, url)]
        await served.chat("a")
        assert served.url("a").endswith(f":{served.config.start_port + 1}")


async def test_a_changed_model_finishes_what_it_serves_and_comes_back_changed_on_its_port() -> None:
    async with serving(fake("a")) as served:
        streaming = asyncio.create_task(served.chat("a", gate="go"))
        await served.until_leased("a")
        old = served.url("a")
        assert await served.replace(fake("a", env=["NEW=1"])) == Difference(restarted=("a",))
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_waiting("a")
        _, _, running = await served.ask("GET", "/running")
        assert [row["state"] for row in running["running"]] == ["ready"]
        await served.open_gate("a", "go")
        assert (await streaming)[0] == 200
        assert (await waiting)[0] == 200
        assert served.view("a").run == 2
        assert served.url("a") == old


async def test_a_removed_model_finishes_what_it_serves_and_takes_nobody_else() -> None:
    async with serving(fake("a", concurrency_limit=1), fake("b")) as served:
        streaming = asyncio.create_task(served.chat("a", gate="go"))
        await served.until_leased("a")
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_waiting("a")
        assert await served.replace(fake("b")) == Difference(removed=("a",))
        status, _, answer = await waiting
        assert status == 404
        assert answer["error"]["message"] == "a was removed from the configuration"
        assert (await served.chat("a"))[0] == 404
        _, _, running = await served.ask("GET", "/running")
        (row,) = running["running"]
        assert (row["model"], row["proxy"], row["ttl"]) == ("a", served.url("a"), 0)
        assert "--name=a" in row["cmd"]
        following = asyncio.create_task(served.chat("b"))
        await served.until_waiting("b")
        await served.open_gate("a", "go")
        assert (await streaming)[0] == 200
        assert (await following)[0] == 200


async def test_a_limit_cuts_who_outlasts_a_reload() -> None:
    async with serving(fake("a")) as served:
        streaming = asyncio.create_task(served.chat("a", gate="never"))
        await served.events_once_leased("a", "request")
        await served.replace(fake("b"), reload_drain_timeout=0)
        status, _, answer = await streaming
        assert status == 502
        assert answer["error"]["message"].endswith("a is being stopped (reload)")


async def test_a_model_removed_while_it_starts_is_stopped_and_one_that_comes_back_is_started_anew() -> None:
    never = fake("a", flags={"no_listen": True})
    async with serving(never) as served:
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_phase("a", Phase.STARTING)
        await served.replace()
        assert (await waiting)[0] == 404
        await served.replace(fake("a"))
        assert (await served.chat("a"))[0] == 200
        assert served.view("a").run == 2


async def test_what_is_removed_before_it_could_be_launched_never_is(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(fake("a")) as served:
        served.driver.load(["a"])
        # The task that launches it has not had its turn yet.
        served.present.replace(Config())
        served.driver.replace(Config().catalog(), Config().planner(), Config().engine_settings())
        await served.until(lambda snapshot: not snapshot.upstreams)
    assert "Traceback" not in caplog.text


async def test_settings_hold_from_the_reload_on() -> None:
    async with serving(fake("a", concurrency_limit=1)) as served:
        streaming = asyncio.create_task(served.chat("a", gate="go"))
        await served.until_leased("a")
        difference = await served.replace(
            fake("a", concurrency_limit=1, aliases=["alias"]), max_queue=0, caller_headers=True
        )
        assert difference == Difference(adjusted=("a",), settings=("maxQueue", "callerHeaders"))
        assert (await served.chat("alias"))[0] == 429
        headers = {"X-Swap-Priority": "high"}
        status, _, _ = await served.ask("POST", "/upstream/a/echo", {}, headers=headers)
        assert status == 400
        await served.open_gate("a", "go")
        assert (await streaming)[0] == 200


async def test_only_what_is_newly_listed_is_preloaded() -> None:
    together: dict[str, Any] = {"groups": [ALL]}
    async with serving(fake("a"), fake("b"), preload=["a"], **together) as served:
        await served.replace(fake("a"), fake("b", ttl=9), preload=["a"], **together)
        assert served.view("a").phase is Phase.STOPPED, "nobody has preloaded it in this test"
        await served.replace(fake("a"), fake("b", ttl=9), preload=["a", "b"], **together)
        await served.until_phase("b", Phase.READY)
        assert served.view("a").phase is Phase.STOPPED


async def test_nothing_is_told_to_the_engine_that_is_nothing_to_it() -> None:
    async with serving(fake("a"), fake("b")) as served:
        seen = []
        tell = served.driver.replace
        served.driver.replace = lambda *now: (seen.append(now), tell(*now))  # type: ignore[method-assign, assignment, func-returns-value]
        assert await served.replace(fake("a"), fake("b")) == Difference()
        assert await served.replace(fake("a", name="A"), fake("b"), log_level="debug") == Difference(
            adjusted=("a",), settings=("logLevel",)
        )
        assert not seen
        await served.replace(fake("a", name="A", ttl=3), fake("b"))
        assert len(seen) == 1
        await served.replace(fake("b"), fake("a", name="A", ttl=3))
        assert len(seen) == 2, "the order settles ties"


async def test_what_cannot_be_used_changes_nothing_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(fake("a")) as served:
        await served.chat("a")
        before = served.config
        served.read = broken()
        status, _, answer = await served.ask("POST", "/api/config/reload")
        assert status == 422
        assert answer["error"]["message"] == "my.yaml:3:5: models.a.cmd: it is broken"
        (problem,) = answer["problems"]
        assert (problem["file"], problem["line"], problem["column"]) == ("my.yaml", 3, 5)
        assert (problem["severity"], problem["path"]) == ("error", "models.a.cmd")
        assert served.config is before
        assert served.view("a").run == 1
        assert (await served.chat("a"))[0] == 200
        _, fields, text = await served.ask("POST", "/api/config/reload", headers={"Accept": "text/plain"})
        assert fields["Content-Type"].startswith("text/plain")
        assert b"my.yaml:3:5" in text
    assert "the configuration is not reloaded, the one before holds:\nmy.yaml:3:5" in caplog.text


async def test_a_bug_in_reading_changes_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(fake("a")) as served:

        def read() -> Loaded:
            raise ZeroDivisionError

        served.read = read
        status, _, answer = await served.ask("POST", "/api/config/reload")
        assert status == 422
        assert "the server's log says more" in answer["error"]["message"]
        assert await served.replace(fake("a"), fake("b")) == Difference(added=("b",))
    assert "ZeroDivisionError" in caplog.text


async def test_it_says_what_it_changed_and_what_is_odd() -> None:
    async with serving(fake("a")) as served:
        odd = Problem(Severity.WARNING, "models.b", "it is odd", "my.yaml", 7, 1)
        config = Config([fake("a"), fake("b")], start_port=served.config.start_port, patience=1)
        served.read = partial(Loaded, config, (odd,))
        status, _, answer = await served.ask("POST", "/api/config/reload")
        assert status == 200
        assert answer["msg"] == "ok"
        assert answer["changes"] == {
            "added": ["b"],
            "removed": [],
            "restarted": [],
            "adjusted": [],
            "settings": ["patience"],
            "next_start": [],
        }
        assert [(one["severity"], one["line"]) for one in answer["problems"]] == [("warning", 7)]


async def test_what_waits_for_the_next_start_is_named_until_it_is_as_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    waiting = ("logToStdout", "logTimeFormat", "metricsMaxInMemory", "store", "performance", "otel.enabled")
    async with serving(fake("a")) as served:
        changed: dict[str, Any] = {
            "log_to_stdout": "both",
            "log_time_format": "rfc3339",
            "metrics_max_in_memory": 7,
            "store": StoreConfig(path="x.db"),
            "performance": PerformanceConfig(disabled=True),
            "otel": True,
        }
        difference = await served.replace(fake("a"), **changed)
        assert difference.settings == ()
        assert sorted(difference.next_start) == sorted(waiting)
        assert "reloaded the configuration: not before the next start metricsMaxInMemory, " in caplog.text
        # Nothing of them changes again, and they wait all the same.
        again = await served.replace(fake("a"), **changed, patience=1)
        assert (again.settings, again.next_start) == (("patience",), difference.next_start)
        assert (await served.replace(fake("a"), patience=1)).next_start == ()


async def test_a_configuration_that_was_read_from_nowhere_is_not_read_again() -> None:
    async with serving(fake("a")) as served:
        served.reloader = None  # type: ignore[assignment] # As an embedder leaves it.
        from swapcore_http.routes.context import CONTEXT  # noqa: PLC0415

        served.runner.app[CONTEXT].reloader = None
        status, _, answer = await served.ask("POST", "/api/config/reload")
        assert status == 409
        assert "was not read from anywhere" in answer["error"]["message"]


async def test_several_at_once_are_one_after_the_other_and_the_last_of_them_holds() -> None:
    """T-43: what is asked for while a reload is on its way is neither dropped nor meets it."""
    async with serving(fake("a")) as served:
        reading, goes_on = threading.Event(), threading.Event()
        reads: list[str] = []

        def read(model: ModelConfig) -> Loaded:
            reads.append(model.id)
            reading.set()
            assert goes_on.wait(20)
            return Loaded(Config([model], start_port=served.config.start_port), ())

        served.read = partial(read, fake("b"))
        first = asyncio.create_task(served.reloader.reload())
        await anyio.to_thread.run_sync(reading.wait)
        # It is reading already: whatever is written now, it may not see.
        served.read = partial(read, fake("c"))
        others = [asyncio.create_task(served.reloader.reload()) for _ in range(3)]
        hung_up = asyncio.create_task(served.ask("POST", "/api/config/reload"))
        await asyncio.sleep(0)
        others[0].cancel()
        hung_up.cancel()
        goes_on.set()
        assert (await first).difference == Difference(added=("b",), removed=("a",))
        assert (await others[1]).difference == Difference(added=("c",), removed=("b",))
        assert await others[1] is await others[2]
        assert list(served.config.models) == ["c"]
        assert reads == ["b", "c"], "who asks meanwhile is answered together"


async def test_who_wants_to_know_is_told() -> None:
    async with serving(fake("a")) as served:
        told: list[Config] = []
        served.present.on_replaced(told.append)
        await served.replace(fake("b"))
        served.read = broken()
        await served.reloader.reload()
        assert told == [served.config]


async def test_a_long_list_of_models_is_cut_short() -> None:
    difference = Difference(added=tuple(f"m{number}" for number in range(25)), settings=("patience",))
    assert str(difference) == (
        "added " + ", ".join(f"m{number}" for number in range(20)) + " and 5 more; settings patience"
    )
    assert str(Difference()) == "no change"
