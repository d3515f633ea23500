"""T-25, T-30: however the server dies, what it has started goes with it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import psutil
import pytest

from swapcore_http.guard.table import MARK
from tests.http import fake_upstream
from tests.http.leaving import Surroundings
from tests.http.processes import is_alive, strays, until
from tests.http.programs import Program, serving

pytestmark = pytest.mark.anyio

WITHIN = 2.0
"""Seconds in which everything is gone."""

SLACK = 3.0
"""Seconds more that a machine may take that is busy with something else."""


async def up(server: Program, *models: str) -> None:
    """Have these models serve."""
    for model in models:
        async with server.chat(model) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()


def kill(server: Program) -> None:
    server.signal(signal.SIGKILL)


def watchdogs_of(server: Program) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if any("guard.watchdog" in word for word in child.cmdline())]


def watchdog_of(server: Program) -> psutil.Process:
    (watchdog,) = watchdogs_of(server)
    return watchdog


async def all_gone(around: Surroundings) -> float:
    """Wait until no process is left, and say how long that took."""
    begun = anyio.current_time()
    await until(lambda: not strays(around.marked))
    return anyio.current_time() - begun


async def test_t25_kill_9_of_the_server_leaves_no_child(around: Surroundings, tmp_path: Path) -> None:
    forked, away = tmp_path / "forked", tmp_path / "away"
    flags: dict[str, Any] = {"ignore_sigterm": True, "fork_grandchild": forked, "setsid_grandchild": away}
    async with serving(tmp_path, a=flags) as server:
        await up(server, "a")
        pids = [int(forked.read_text()), int(away.read_text())]
        assert all(is_alive(pid) for pid in pids)
        assert os.getsid(pids[1]) == pids[1]
        kill(server)
        assert await all_gone(around) < WITHIN + SLACK


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT])
async def test_t25_a_crash_leaves_no_child(
    around: Surroundings, tmp_path: Path, number: signal.Signals
) -> None:
    async with serving(tmp_path, a={}) as server:
        await up(server, "a")
        server.signal(number)
        assert await all_gone(around) < WITHIN + SLACK


async def test_t25_an_upstream_that_can_end_in_order_is_let(around: Surroundings, tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f'sh -c \'trap "touch {told}" TERM; "$@" & wait\' sh '
    cmd = script + fake_upstream.command(port="${PORT}", name="a")
    async with serving(tmp_path, a={"_cmd": cmd}) as server:
        await up(server, "a")
        kill(server)
        await all_gone(around)
    assert told.exists()


async def test_t25_killed_while_a_model_loads(around: Surroundings, tmp_path: Path) -> None:
    async with serving(tmp_path, a={"load_until": tmp_path / "never"}, b={}) as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hopeless, server, "a")
            await server.until_said("is process")
            kill(server)
        assert await all_gone(around) < WITHIN + SLACK


async def hopeless(server: Program, model: str) -> None:
    try:
        async with server.chat(model) as answer:
            await answer.read()
    except aiohttp.ClientError:
        return


async def test_t30_cmd_stop_runs_first_and_what_it_leaves_is_killed(
    around: Surroundings, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    stop = f"sh -c 'echo $SECRET ${{PID}} > {asked}.new; mv {asked}.new {asked}'"
    model = {"ignore_sigterm": True, "_cmdStop": stop, "_env": ["SECRET=hush"]}
    async with serving(tmp_path, a=model) as server:
        await up(server, "a")
        upstream = int((await fetch(server, "a", "/events"))["pid"])
        (life,) = around.runtime.rglob("*.json")
        assert "hush" not in life.read_text()
        assert life.stat().st_mode & 0o077 == life.parent.stat().st_mode & 0o077 == 0
        kill(server)
        await all_gone(around)
        assert asked.read_text() == f"hush {upstream}\n"


async def test_t30_a_cmd_stop_that_hangs_is_bounded(around: Surroundings, tmp_path: Path) -> None:
    model = {"_cmdStop": "sleep 1000", "_unloadTimeout": 1}
    async with serving(tmp_path, a=model) as server:
        await up(server, "a")
        kill(server)
        await all_gone(around)


async def fetch(server: Program, model: str, path: str) -> Any:
    async with server.client.get(await server.upstream(model) + path) as answer:
        return json.loads(await answer.read())


async def test_two_servers_of_one_user_leave_each_other_alone(around: Surroundings, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    other = {"_startPort": 10_000 + os.getpid() % 10_000}
    async with (
        serving(tmp_path / "one", a={}) as one,
        serving(tmp_path / "two", top=other, a={}) as two,
    ):
        await up(one, "a")
        await up(two, "a")
        before = (await fetch(two, "a", "/events"))["pid"]
        mine = (await fetch(one, "a", "/events"))["pid"]
        kill(one)
        await until(lambda: not is_alive(mine))
        await until(lambda: len(list(around.runtime.rglob("*.json"))) == 1)
        # A third one sweeps when it comes up.
        async with serving(tmp_path / "one", a={}) as three:
            await up(three, "a")
            await up(two, "a")
            assert (await fetch(two, "a", "/events"))["pid"] == before
            three.signal()
            assert await three.ends() == 0
        two.signal()
        assert await two.ends() == 0


async def test_what_server_and_watchdog_leave_the_next_server_sweeps_up(
    around: Surroundings, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    async with serving(tmp_path, a={"setsid_grandchild": away, "ignore_sigterm": True}) as server:
        await up(server, "a")
        upstream = (await fetch(server, "a", "/events"))["pid"]
        watchdog = watchdog_of(server)
        watchdog.suspend()
        kill(server)
        watchdog.kill()
        await server.ends()
        left = strays(around.marked)
        assert {upstream, int(away.read_text())} <= set(left)
        # The same port is free for the same model again.
        async with serving(tmp_path, a={}) as next_one:
            await next_one.until_said("that an earlier server had left running")
            assert not any(is_alive(pid) for pid in left)
            await up(next_one, "a")
            next_one.signal()
            assert await next_one.ends() == 0
        assert f"uses {20_000}" not in next_one.log


async def test_a_watchdog_that_dies_is_replaced(around: Surroundings, tmp_path: Path) -> None:
    async with serving(tmp_path, a={}) as server:
        await up(server, "a")
        first = watchdog_of(server)
        first.kill()
        await server.until_said("the watchdog has died")
        await until(lambda: watchdogs_of(server))
        await up(server, "a")
        kill(server)
        assert await all_gone(around) < WITHIN + SLACK


async def test_a_registry_that_cannot_be_written_stops_nothing(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "HOME", "TMPDIR"):
        monkeypatch.setenv(name, "/proc/nowhere")
    (tmp_path / "blocked").mkdir()
    async with serving(tmp_path, a={}) as server:
        await up(server, "a")
        kill(server)
        assert await all_gone(around) < WITHIN + SLACK


async def test_a_server_that_ends_takes_its_watchdog_and_its_note_along(
    around: Surroundings, tmp_path: Path
) -> None:
    async with serving(tmp_path, a={}) as server:
        await up(server, "a")
        watchdog = watchdog_of(server)
        assert watchdog.environ().get(MARK) is None
        assert watchdog.memory_info().rss <= 15e6
        server.signal()
        assert await server.ends() == 0
        assert not watchdog.is_running()
        assert not list(around.runtime.rglob("*.json"))
