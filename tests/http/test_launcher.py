"""The launcher: how a run of a real subprocess starts, or does not, and on which port."""

import logging
import os
import shlex
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from swapcore import BecameReady, Lost, Progressed
from swapcore_http import claiming, ports, progress
from swapcore_http.guard.table import MARK
from swapcore_http.ports import is_taken
from tests.http.fake_upstream import argv, command
from tests.http.launching import Launcher, free_port, leaving_nothing, listener
from tests.http.processes import called, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runs() -> AsyncIterator[Launcher]:
    async with leaving_nothing() as launcher:
        yield launcher


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], bool]:
    return listener(caplog)


async def test_a_run_is_ready_at_the_address_that_answers_and_stops_when_told(runs: Launcher) -> None:
    model = runs.model(cmd=runs.upstream())
    async with runs.run(model) as run:
        await run.ready()
        assert run.url == f"http://127.0.0.1:{model.port}"
        assert (await run.get("/v1/models"))["data"][0]["id"] == "m"
        run.stop()
        detail = await run.end()
    assert detail.startswith("stopped (evict): killed by SIGTERM after ")
    assert run.recorder.but_progress() == [BecameReady("m", 1)]


async def test_it_waits_for_an_upstream_that_loads(runs: Launcher, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    async with runs.run(cmd=runs.upstream(load_until=loaded, health_503=True)) as run:
        await run.recorder.wait_for(Progressed)
        assert run.recorder.but_progress() == []
        loaded.touch()
        await run.ready()
        run.stop()
        await run.end()


async def test_the_base_path_of_the_proxy_is_kept(runs: Launcher) -> None:
    proxy = "http://localhost:${PORT}/deep/base/"
    async with runs.run(cmd=runs.upstream(base="/deep/base"), proxy=proxy) as run:
        await run.ready()
        assert run.url.endswith("/deep/base")
        run.stop()
        await run.end()


async def test_a_check_endpoint_of_ones_own(runs: Launcher) -> None:
    settings: dict[str, Any] = {
        "cmd": runs.upstream(health_path="/ping"),
        "check_endpoint": "http://elsewhere/ping",
    }
    async with runs.run(**settings) as run:
        await run.ready()
        run.stop()
        await run.end()


async def test_without_a_check_it_is_ready_at_once(runs: Launcher) -> None:
    async with runs.run(cmd=runs.upstream(no_listen=True), check_endpoint=" none ") as run:
        await run.ready()
        assert run.url.startswith("http://localhost:")
        run.stop()
        await run.end()


async def test_an_upstream_that_floods_becomes_ready(runs: Launcher) -> None:
    async with runs.run(cmd=runs.upstream(flood=2_000_000)) as run:
        await run.ready()
        run.stop()
        await run.end()


async def test_progress_is_reported_at_a_bounded_rate(
    runs: Launcher, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], bool]
) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY", 1000.0)
    script = "echo one; sleep 0.02; echo two; sleep 0.02; echo three; exec sleep 100"
    async with runs.run(cmd=f"sh -c '{script}' ${{PORT}}") as run:
        await until(lambda: said("three"))
        assert run.recorder.events == [Progressed("m", 1)]
        run.stop()
        await run.end()


async def test_a_ready_run_reports_no_progress(
    runs: Launcher, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], bool], tmp_path: Path
) -> None:
    monkeypatch.setattr(progress, "REPORT_EVERY", 0.0)
    go = tmp_path / "go"
    script = f"until [ -e {go} ]; do sleep 0.01; done; echo awake; exec sleep 100"
    async with runs.run(cmd=f"sh -c '{script}' ${{PORT}}", check_endpoint="none") as run:
        await run.ready()
        go.touch()
        await until(lambda: said("awake"))
        assert run.recorder.events == [BecameReady("m", 1)]
        run.stop()
        await run.end()


async def test_the_environment_is_merged(runs: Launcher) -> None:
    settings: dict[str, Any] = {
        "cmd": "sh -c 'echo $GREETING; command -v sh' ${PORT}",
        "env": ("GREETING=hi",),
    }
    async with runs.run(**settings) as run:
        lost = await run.recorder.wait_for(Lost)
        assert "\nhi\n/" in lost.detail
        await run.end()


# Not starting


@pytest.mark.parametrize(
    ("cmd", "detail"),
    [
        (
            "no-such-program ${PORT}",
            "could not be started: 'no-such-program': no such file or directory",
        ),
        ("/etc/passwd ${PORT}", "could not be started: '/etc/passwd': permission denied"),
    ],
)
async def test_what_cannot_be_started(
    runs: Launcher, cmd: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with runs.run(cmd=cmd) as run:
        assert await run.end() == detail
    assert run.recorder.events == []
    assert not caplog.messages, "the driver's observer logs how a run ends"


async def test_an_empty_command(runs: Launcher) -> None:
    async with runs.run(cmd="", proxy="http://192.0.2.1:80") as run:
        assert await run.end() == "could not be started: its command is empty"


async def test_one_that_exits_at_once_is_lost_with_its_last_lines(runs: Launcher) -> None:
    lines = [f"line {number}" for number in range(30)]
    async with runs.run(cmd=runs.upstream(print=lines, exit_at_start=3)) as run:
        detail = await run.end()
    # The first line stands by itself: it is what callers are told until the next attempt.
    head, title, *shown = detail.splitlines()
    assert head.startswith("exited with status 3 after 0.")
    assert head.endswith(" s")
    assert title == "its last output:"
    assert shown == lines[-20:]
    assert run.recorder.but_progress() == [Lost("m", 1, detail)]


async def test_one_that_exits_in_silence(runs: Launcher) -> None:
    async with runs.run(cmd="true ${PORT}") as run:
        detail = await run.end()
    assert detail.startswith("exited with status 0 after ")
    assert "output" not in detail


async def test_one_that_exits_while_it_is_asked_for_its_health(
    runs: Launcher, said: Callable[[str], bool]
) -> None:
    async with runs.run(cmd=runs.upstream(hang_health=True, exit_after=0.1, exit_code=4)) as run:
        lost = await run.recorder.wait_for(Lost)
        assert lost.detail.startswith("exited with status 4 after ")
        await run.end()
    assert BecameReady("m", 1) not in run.recorder.events


# Ports


async def test_a_port_that_someone_else_has_is_not_used(
    runs: Launcher, caplog: pytest.LogCaptureFixture
) -> None:
    model = runs.model(cmd=runs.upstream())
    assert model.port is not None
    caplog.set_level(logging.INFO, "swapcore_http.ports")
    with socket.create_server(("127.0.0.1", model.port)):
        async with runs.run(model) as run:
            await run.ready()
            assert run.port != model.port
            assert (await run.get("/v1/models"))["data"][0]["id"] == "m"
            who = called(os.getpid())
            assert f"port {model.port} is taken by {who}: m uses {run.port}" in caplog.messages
            run.stop()
            await run.end()


async def test_two_runs_never_share_a_port_and_give_it_back(runs: Launcher) -> None:
    first = runs.model("a", cmd=runs.upstream())
    second = evolve(runs.model("b", cmd=runs.upstream()), port=first.port)
    runs.models["b"] = second
    assert first.port is not None
    async with runs.run(first) as one, runs.run(second) as two:
        await one.ready()
        await two.ready()
        assert one.port == first.port
        assert two.port != first.port
    async with runs.run(second) as three:
        await three.ready()
        assert three.port == first.port


async def test_a_fixed_port_that_its_command_names_must_be_free(runs: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        model = runs.model(cmd=command(port=port), proxy=f"http://localhost:{port}")
        async with runs.run(model) as run:
            assert await run.end() == (
                f"could not be started: port {port}, which its cmd names, is taken by {called(os.getpid())}"
            )
    assert run.recorder.events == []
    async with runs.run(model) as run:
        await run.ready()
        assert run.port == port


@asynccontextmanager
async def somebody_else(
    runs: Launcher, environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[int, int]]:
    """Run a server that is no child of ours, so to say: its pid and its port."""
    name, _, value = runs.marked.partition("=")
    env = {**os.environ, name: value, **(environment or {})}
    async with await anyio.open_process(argv(name="else"), env=env, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            said = await process.stderr.receive()
            yield process.pid, int(said.split()[-1])
        finally:
            process.kill()


async def test_a_service_that_always_runs_is_accepted_with_one_warning(
    runs: Launcher, caplog: pytest.LogCaptureFixture
) -> None:
    async with somebody_else(runs) as (pid, port):
        service, who = f"http://127.0.0.1:{port}", called(pid)
        model = runs.model("guest", cmd="sleep 100", proxy=service)
        for _ in range(2):
            async with runs.run(model) as run:
                await run.ready()
                assert run.url == service
                run.stop()
                await run.end()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"{who} listens on port {port} already" in warnings[0]


async def test_what_a_model_of_some_server_has_left_is_no_service(runs: Launcher) -> None:
    async with somebody_else(runs, {MARK: "0" * 32 + ".1"}) as (pid, port):
        settings: dict[str, Any] = {"cmd": "sleep 100", "proxy": f"http://localhost:{port}"}
        async with runs.run(**settings) as run:
            assert await run.end() == (
                f"could not be started: port {port} is taken by {called(pid)}, "
                "which belongs to a model of some server"
            )


async def test_who_belongs_to_another_run_does_not_count_as_the_upstream(
    runs: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It begins to listen after the look that is taken before the spawn.
    monkeypatch.setattr(claiming, "is_taken", lambda _: False)
    async with somebody_else(runs, {MARK: "0" * 32 + ".1"}) as (pid, port):
        settings: dict[str, Any] = {"cmd": "sleep 100", "proxy": f"http://127.0.0.1:{port}"}
        async with runs.run(**settings) as run:
            lost = await run.recorder.wait_for(Lost)
            assert lost.detail.startswith(f"{called(pid)}, which belongs to another run, answers at ")
            await run.end()
    assert run.recorder.but_progress() == [lost]


async def test_a_port_that_is_taken_while_it_starts_costs_only_a_second_try(
    runs: Launcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with somebody_else(runs, {MARK: "0" * 32 + ".1"}) as (_, port):
        # Looked at before the spawn it seems free, and then the upstream cannot bind it.
        looks = iter([False])
        monkeypatch.setattr(ports, "is_taken", lambda number: next(looks, None) is None and is_taken(number))
        model = evolve(runs.model(cmd=runs.upstream()), port=port)
        runs.models["m"] = model
        async with runs.run(model) as run:
            await run.ready()
            assert run.port != port
            assert (await run.get("/v1/models"))["data"][0]["id"] == "m"
            run.stop()
            await run.end()
    assert run.recorder.but_progress() == [BecameReady("m", 1)]
    assert "m: another program took its port: it is started again, on another one" in caplog.messages


async def test_one_that_dies_and_leaves_its_port_to_its_own_child_has_failed(
    runs: Launcher, tmp_path: Path
) -> None:
    script = f"{runs.upstream(hang_health=True)} & until [ -e {tmp_path}/go ]; do sleep 0.01; done; exit 3"
    async with runs.run(cmd=f"sh -c {shlex.quote(script)}") as run:
        await run.recorder.wait_for(Progressed)
        (tmp_path / "go").touch()
        lost = await run.recorder.wait_for(Lost)
        assert lost.detail.startswith("exited with status 3 after ")
        await run.end()
    assert run.recorder.but_progress() == [lost]


async def test_an_upstream_on_another_machine_is_accepted(runs: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        settings: dict[str, Any] = {
            "cmd": f"sh -c 'exec sleep 100' {port}",
            "proxy": f"http://192.0.2.1:{port}/",
        }
        async with runs.run(**settings, check_endpoint="none") as run:
            await run.ready()
            assert run.url == f"http://192.0.2.1:{port}"
            run.stop()
            await run.end()


async def test_a_fixed_port_is_lent_to_nobody_though_nothing_listens_yet(runs: Launcher) -> None:
    port = free_port()
    slow = runs.model("a", cmd=command(port=port, no_listen=True), proxy=f"http://localhost:{port}")
    numbered = evolve(runs.model("b", cmd=runs.upstream()), port=port)
    runs.models["b"] = numbered
    async with runs.run(slow) as first, runs.run(numbered) as second:
        await second.ready()
        assert second.port != port
        assert BecameReady("a", 1) not in first.recorder.events
