"""The launcher: however a run of a real subprocess ends, nothing of its group is left."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from swapcore import BecameReady, Engine, Event, Lost, Progressed, Start, StopReason
from swapcore_http.config import Config, ModelConfig
from swapcore_http.driver import Driver
from swapcore_http.launcher import process_launch
from swapcore_http.ports import Ports
from swapcore_http.process import Process
from tests.http.fake_upstream import command
from tests.http.launching import Launcher, Run, free_port, leaving_nothing, listener
from tests.http.processes import is_alive, strays, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def runs() -> AsyncIterator[Launcher]:
    async with leaving_nothing() as launcher:
        yield launcher


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], bool]:
    return listener(caplog)


# Stopping


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param({"no_listen": True}, id="before-it-listens"),
        pytest.param({"hang_health": True}, id="health-check-hangs"),
        pytest.param({"never_ready": True}, id="never-ready"),
    ],
)
async def test_a_start_that_times_out_is_stopped_and_tells_what_it_said(
    runs: Launcher, flags: dict[str, object]
) -> None:
    async with runs.run(cmd=runs.upstream(print="reading weights", **flags)) as run:
        await run.recorder.wait_for(Progressed)
        run.stop(StopReason.START_TIMEOUT)
        detail = await run.end()
    assert detail.startswith("stopped (start_timeout): killed by SIGTERM after ")
    assert "\nits last output:\nreading weights" in detail
    assert run.recorder.but_progress() == []


async def test_stopped_before_its_task_even_ran(runs: Launcher) -> None:
    model = runs.model(cmd=runs.upstream())
    run = Run(model)
    run.stop()
    detail = await runs.launch(Start("m", 1), run.control)
    assert detail.startswith("stopped (evict): ")
    assert run.recorder.but_progress() == []


async def test_an_orderly_exit_after_the_stop_is_no_loss(runs: Launcher) -> None:
    async with runs.run(cmd=runs.upstream(exit_on_sigterm=7)) as run:
        await run.ready()
        run.stop(StopReason.TTL)
        detail = await run.end()
    assert detail.startswith("stopped (ttl): exited with status 7 after ")
    assert run.recorder.but_progress() == [BecameReady("m", 1)]


async def test_an_exit_that_crosses_the_stop_is_no_loss_and_needs_no_asking(
    runs: Launcher, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], bool]
) -> None:
    real = Process.wait

    async with runs.run(cmd=runs.upstream(exit_at_start=3), cmd_stop="sh -c 'echo asked'") as run:

        async def wait(process: Process) -> None:
            await real(process)
            run.stop()

        monkeypatch.setattr(Process, "wait", wait)
        detail = await run.end()
    assert detail.startswith("stopped (evict): exited with status 3 after ")
    assert run.recorder.but_progress() == []
    assert not said("asked")


async def test_one_that_ignores_sigterm_is_killed_when_forced(
    runs: Launcher, said: Callable[[str], bool]
) -> None:
    async with runs.run(cmd=runs.upstream(ignore_sigterm=True)) as run:
        await run.ready()
        run.stop(StopReason.UNLOAD)
        await until(lambda: said("ignoring SIGTERM"))
        assert not run.over.is_set()
        run.stop(StopReason.UNLOAD, force=True)
        detail = await run.end()
    assert detail.startswith("stopped (unload): killed by SIGKILL after ")


async def test_a_grandchild_that_ignores_sigterm_goes_with_its_leader(runs: Launcher, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    async with runs.run(cmd=runs.upstream(fork_grandchild=pid_file)) as run:
        await run.ready()
        grandchild = int(pid_file.read_text())
        assert is_alive(grandchild)
        run.stop()
        await run.end()
        assert not is_alive(grandchild)


async def test_a_wrapper_that_forks_is_stopped_with_what_it_wraps(runs: Launcher) -> None:
    async with runs.run(cmd=f"sh -c '\"$@\"; exit 0' sh {runs.upstream()}") as run:
        await run.ready()
        pid = (await run.get("/events"))["pid"]
        run.stop()
        await run.end()
        assert not is_alive(pid)


# Dying by itself


async def test_killed_from_outside_it_is_lost(runs: Launcher) -> None:
    async with runs.run(cmd=runs.upstream()) as run:
        await run.ready()
        os.kill((await run.get("/events"))["pid"], signal.SIGKILL)
        detail = await run.end()
    assert detail.startswith("killed by SIGKILL after ")
    assert "\nits last output:\nlistening on " in detail
    assert run.recorder.but_progress() == [BecameReady("m", 1), Lost("m", 1, detail)]


async def test_the_loss_is_told_before_the_rest_of_the_group_is_dealt_with(
    runs: Launcher, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    alive: list[bool] = []
    async with runs.run(cmd=runs.upstream(fork_grandchild=pid_file)) as run:
        await run.ready()
        grandchild = int(pid_file.read_text())

        def look(event: Event) -> None:
            if isinstance(event, Lost):
                alive.append(is_alive(grandchild))

        run.recorder.at_report = look
        os.kill((await run.get("/events"))["pid"], signal.SIGKILL)
        await run.end()
        assert not is_alive(grandchild)
    assert alive == [True]


# cmdStop


async def test_cmd_stop_is_used_instead_of_sigterm(runs: Launcher) -> None:
    settings: dict[str, Any] = {
        "cmd": runs.upstream(exit_on_sigterm=7),
        "cmd_stop": "sh -c 'echo $GREETING for ${PID} >&2; kill -INT ${PID}'",
        "env": ("GREETING=bye",),
    }
    async with runs.run(**settings) as run:
        await run.ready()
        run.stop()
        detail = await run.end()
    assert detail.startswith("stopped (evict): killed by SIGINT after ")


async def test_what_cmd_stop_says_is_logged(runs: Launcher, said: Callable[[str], bool]) -> None:
    settings: dict[str, Any] = {
        "cmd": runs.upstream(),
        "cmd_stop": "sh -c 'echo $GREETING for ${PID} >&2; kill -INT ${PID}'",
        "env": ("GREETING=bye",),
    }
    async with runs.run(**settings) as run:
        await run.ready()
        pid = (await run.get("/events"))["pid"]
        run.stop()
        await run.end()
    assert said(f"m: bye for {pid}")


async def test_a_run_is_not_over_before_its_cmd_stop_is(runs: Launcher, tmp_path: Path) -> None:
    # As `docker stop` is, which returns when what the container held is free.
    go, done = tmp_path / "go", tmp_path / "done"
    script = f"kill ${{PID}}; until [ -e {go} ]; do sleep 0.01; done; touch {done}"
    async with runs.run(cmd=runs.upstream(), cmd_stop=f"sh -c '{script}'") as run:
        await run.ready()
        pid = (await run.get("/events"))["pid"]
        run.stop()
        await until(lambda: not is_alive(pid))
        assert not run.over.is_set()
        go.touch()
        await run.end()
        assert done.exists()


async def test_a_cmd_stop_that_hangs_is_killed_by_force_after_the_run(
    runs: Launcher, monkeypatch: pytest.MonkeyPatch, said: Callable[[str], bool]
) -> None:
    killed: list[int] = []
    real = Process.kill

    def kill(process: Process) -> None:
        killed.append(process.pid)
        real(process)

    monkeypatch.setattr(Process, "kill", kill)
    cmd_stop = "sh -c 'echo thinking; sleep 1000 & wait'"
    async with runs.run(cmd=runs.upstream(), cmd_stop=cmd_stop) as run:
        await run.ready()
        run.stop()
        await until(lambda: said("m: thinking"))
        assert not run.over.is_set()
        pid = (await run.get("/events"))["pid"]
        run.stop(force=True)
        detail = await run.end()
    assert killed[0] == pid
    assert detail.startswith("stopped (evict): killed by SIGKILL after ")


async def test_a_cmd_stop_that_fails_is_warned_of_and_left_to_force(
    runs: Launcher, said: Callable[[str], bool]
) -> None:
    async with runs.run(cmd=runs.upstream(), cmd_stop="sh -c 'echo no; exit 3'") as run:
        await run.ready()
        run.stop()
        await until(lambda: said("m: cmdStop exited with status 3 after "))
        assert not run.over.is_set()
        run.stop(force=True)
        await run.end()


async def test_a_cmd_stop_that_cannot_be_started_leaves_the_signal(
    runs: Launcher, said: Callable[[str], bool]
) -> None:
    async with runs.run(cmd=runs.upstream(), cmd_stop="no-such-program ${PID}") as run:
        await run.ready()
        run.stop()
        detail = await run.end()
    assert said("m: cmdStop could not be started, SIGTERM is sent instead: ")
    assert detail.startswith("stopped (evict): killed by SIGTERM after ")


# The end of the driver


@pytest.mark.parametrize("stopping", [False, True])
async def test_cancellation_kills(
    runs: Launcher,
    tmp_path: Path,
    stopping: bool,  # noqa: FBT001 - a table.
    said: Callable[[str], bool],
) -> None:
    pid_file = tmp_path / "pid"
    cmd_stop = "sh -c 'echo thinking; sleep 1000 & wait'"
    async with runs.run(cmd=runs.upstream(fork_grandchild=pid_file), cmd_stop=cmd_stop) as run:
        await run.ready()
        if stopping:
            run.stop()
            await until(lambda: said("thinking"))
        assert len(strays(runs.marked)) >= 2
    assert run.detail is None
    assert strays(runs.marked) == []


async def test_driven_by_a_real_engine_models_are_swapped(runs: Launcher) -> None:
    models = [ModelConfig(name, cmd=command(port="${PORT}", name=name), env=(runs.marked,)) for name in "ab"]
    config = Config(models=models)
    launch = process_launch(lambda name: evolve(config.models[name], port=free_port()), ports=Ports())
    answers = []
    async with Driver(Engine(config.catalog()), launch) as driver:
        for name in "abba":
            with anyio.fail_after(60):
                async with driver.lease(name) as lease:
                    run = Run(config.models[name])
                    run.control._url = lease.url
                    answers.append((await run.get("/v1/models"))["data"][0]["id"])
                    assert len(strays(runs.marked)) == 1
    assert answers == list("abba")
