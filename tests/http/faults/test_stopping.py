"""T-23, T-24, T-27, T-30: every stop ends, within one limit, with nothing of the upstream left."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from swapcore import Phase
from swapcore_http import process
from tests.http.processes import is_alive, until
from tests.http.serving import Served, fake, serving

pytestmark = pytest.mark.anyio


async def unload(served: Served, model: str) -> None:
    status, _, answer = await served.ask("POST", f"/api/models/unload/{model}")
    assert status == 200, answer


@pytest.mark.parametrize("kind", ["fork_grandchild", "setsid_grandchild"])
@pytest.mark.parametrize("wrapper", ["", "sh -c '\"$@\"; exit 0' sh ", "sh -c '\"$@\" & wait' sh "])
async def test_t23_no_grandchild_outlives_its_run(tmp_path: Path, kind: str, wrapper: str) -> None:
    pid_file = tmp_path / "pid"
    model = fake("a", flags={kind: pid_file})
    async with serving(model.__class__("a", cmd=wrapper + model.cmd, proxy=model.proxy)) as served:
        assert (await served.chat("a"))[0] == 200
        grandchild = int(pid_file.read_text())
        upstream = (await served.events("a"))["pid"]
        assert is_alive(grandchild)
        await unload(served, "a")
        assert not is_alive(grandchild)
        assert not is_alive(upstream)


@pytest.mark.parametrize("way", ["evict", "ttl", "unload", "shutdown"])
async def test_t24_one_limit_on_every_path(way: str) -> None:
    deaf = fake("a", flags={"ignore_sigterm": True}, unload_timeout=1, ttl=1 if way == "ttl" else 0)
    async with serving(deaf, fake("b")) as served:
        assert (await served.chat("a"))[0] == 200
        pid = (await served.events("a"))["pid"]
        begun = anyio.current_time()
        if way == "evict":
            assert (await served.chat("b"))[0] == 200
        elif way == "ttl":
            await served.until_phase("a", Phase.STOPPING)
            begun = anyio.current_time()
            await served.until_phase("a", Phase.STOPPED)
        elif way == "unload":
            await unload(served, "a")
        else:
            await served.driver.shutdown()
        took = anyio.current_time() - begun
        assert not is_alive(pid)
        # Far from the 120 s that a start may take, and from the 10 s of other models.
        assert 0.9 < took < 6


async def test_t24_what_does_not_die_is_stuck_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapcore.orders.STUCK_AFTER", 0.2)
    dies = False
    real = process._kill_rest
    monkeypatch.setattr(process, "_kill_rest", lambda *group: real(*group) or not dies)
    matrix: Any = {"groups": [], "patience": 1.0}
    async with serving(fake("a", unload_timeout=1), fake("b"), **matrix) as served:
        assert (await served.chat("a"))[0] == 200
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(served.ask, "POST", "/api/models/unload/a")
            await served.until(lambda snapshot: snapshot.upstream("a").stuck)
            # Its room is not back, so that who needs it is refused at once.
            for model in ("a", "b"):
                status, _, answer = await served.chat(model)
                assert status == 503, answer
            dies = True
            await served.until_phase("a", Phase.STOPPED)
        assert (await served.chat("b"))[0] == 200


async def test_t30_a_container_whose_client_is_killed_is_stopped_all_the_same(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    async with serving(fake("a", cmd_stop=f"touch {asked}")) as served:
        assert (await served.chat("a"))[0] == 200
        await served.tell_to_die("a")
        await until(asked.exists)
        await served.until_phase("a", Phase.STOPPED)


async def test_t30_nobody_is_asked_to_stop_a_process_that_is_gone(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    model = fake("a", cmd_stop=f"sh -c 'touch {asked}; kill ${{PID}}'")
    async with serving(model) as served:
        assert (await served.chat("a"))[0] == 200
        await served.tell_to_die("a")
        await served.until_phase("a", Phase.STOPPED)
        assert not asked.exists()
        assert (await served.chat("a"))[0] == 200


async def test_t30_a_cmd_stop_that_hangs_is_cut_off_within_the_limit() -> None:
    async with serving(fake("a", cmd_stop="sleep 1000", unload_timeout=1)) as served:
        assert (await served.chat("a"))[0] == 200
        await unload(served, "a")


async def test_room_is_free_when_after_stop_says_so(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    check = f"sh -c 'echo ${{PID}} >> {tries}; [ $(wc -l < {tries}) -ge 3 ]'"
    async with serving(fake("a", after_stop=check), fake("b")) as served:
        assert (await served.chat("a"))[0] == 200
        pid = (await served.events("a"))["pid"]
        assert (await served.chat("b"))[0] == 200
        assert tries.read_text() == f"{pid}\n" * 3


async def test_after_stop_is_not_waited_for_longer_than_its_time(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    model = fake("a", after_stop="sh -c 'echo 900 MiB used; exit 1'", after_stop_timeout=0.6)
    async with serving(model, fake("b")) as served:
        assert (await served.chat("a"))[0] == 200
        assert (await served.chat("b"))[0] == 200
    (said,) = [message for message in caplog.messages if "afterStop" in message]
    assert "has not succeeded within 0.6 s" in said
    assert said.endswith("900 MiB used")


async def test_an_after_stop_that_hangs_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(fake("a", after_stop="sleep 1000", after_stop_timeout=0.3), fake("b")) as served:
        assert (await served.chat("a"))[0] == 200
        assert (await served.chat("b"))[0] == 200
    assert "afterStop has not succeeded within 0.3 s" in caplog.text


async def test_an_after_stop_that_cannot_be_started_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(fake("a", after_stop="no-such-program"), fake("b")) as served:
        assert (await served.chat("a"))[0] == 200
        assert (await served.chat("b"))[0] == 200
    assert "a: afterStop could not be started: " in caplog.text


async def test_nobody_asks_for_room_when_the_server_ends(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    async with serving(fake("a", after_stop=f"touch {asked}")) as served:
        assert (await served.chat("a"))[0] == 200
        await served.driver.shutdown()
        assert not asked.exists()
