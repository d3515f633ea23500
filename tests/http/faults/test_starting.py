"""T-21, T-22, T-26, T-28, T-29, T-31 to T-33: a start goes wrong; callers are told, and others served."""

import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from swapcore import Phase
from swapcore_http import progress
from swapcore_http.config import ModelConfig
from tests.http.fake_upstream import command
from tests.http.processes import until
from tests.http.serving import Answer, Served, fake, serving

pytestmark = pytest.mark.anyio


async def chats(served: Served, model: str, count: int, then: Any = None) -> list[Answer]:
    """Ask so many times at once; when all of them wait do something."""
    answers: list[Answer] = []

    async def one() -> None:
        answers.append(await served.chat(model))

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
        if then is not None:
            await served.until_waiting(model, count)
            then()
    return answers


async def test_t21_death_while_loading_tells_everyone_why_at_once(tmp_path: Path) -> None:
    die, load = tmp_path / "die", tmp_path / "load"
    lines = [f"line {number}" for number in range(30)]
    flags: dict[str, object] = {"load_until": load, "die_when": die, "exit_code": 7, "print": lines}
    async with serving(fake("a", flags=flags)) as served:
        for status, _, answer in await chats(served, "a", 3, die.touch):
            assert status == 502
            message = answer["error"]["message"]
            assert "exited with status 7" in message
            assert message.splitlines()[-20:] == lines[-20:]
        # It cools down: the next caller is refused at once.
        status, fields, answer = await served.chat("a")
        assert (status, fields["Retry-After"]) == (503, "10")
        assert "exited with status 7" in answer["error"]["message"]
        # An unload forgives.
        die.unlink()
        load.touch()
        assert (await served.ask("POST", "/api/models/unload/a"))[0] == 200
        assert (await served.chat("a"))[0] == 200


async def test_t22_death_while_its_health_is_asked_for(tmp_path: Path) -> None:
    die = tmp_path / "die"
    async with serving(fake("a", flags={"hang_health": True, "die_when": die})) as served:
        (answer,) = await chats(served, "a", 1, die.touch)
        assert answer[0] == 502


async def test_t22_death_while_it_stops(tmp_path: Path) -> None:
    die = tmp_path / "die"
    async with serving(
        fake("a", flags={"ignore_sigterm": True, "die_when": die}, unload_timeout=1)
    ) as served:
        assert (await served.chat("a"))[0] == 200
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(served.ask, "POST", "/api/models/unload/a")
            await served.until_phase("a", Phase.STOPPING)
            die.touch()
            await served.until_phase("a", Phase.STOPPED)
        die.unlink()
        assert (await served.chat("a"))[0] == 200


async def test_t26_a_foreign_listener_is_never_taken_for_the_upstream() -> None:
    async with serving(fake("a")) as served:
        port = served.config.models["a"].port
        assert port is not None
        with socket.create_server(("127.0.0.1", port)):
            status, fields, _ = await served.chat("a")
            assert (status, fields["X-Model"]) == (200, "a")
            assert served.url("a") != f"http://127.0.0.1:{port}"


async def test_t26_a_fixed_port_that_is_taken_is_said_with_who_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        model = ModelConfig("a", cmd=command(port=port, name="a"), proxy=f"http://127.0.0.1:{port}")
        async with serving(model) as served:
            status, _, answer = await served.chat("a")
            assert status == 502
            assert f"port {port}, which its cmd names, is taken by process " in answer["error"]["message"]


async def test_t28_a_broken_model_is_not_started_by_every_request(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    cmd = f"sh -c 'echo x >> {starts}; exit 1' ${{PORT}}"
    async with serving(ModelConfig("a", cmd=cmd)) as served:
        statuses = [(await served.chat("a"))[0] for _ in range(5)]
    assert statuses == [502, 503, 503, 503, 503]
    assert starts.read_text() == "x\n"


async def test_t29_a_load_that_fails_leaves_others_loadable() -> None:
    async with serving(fake("a"), fake("broken", flags={"exit_at_start": 1})) as served:
        for model, expected in (("a", 200), ("broken", 502), ("a", 200), ("broken", 503), ("a", 200)):
            assert (await served.chat(model))[0] == expected


@pytest.mark.parametrize("status", [204, 302, 401, 404, 500])
async def test_t33_only_200_is_ready(status: int) -> None:
    model = fake("a", flags={"health_status": status}, health_check_timeout=1)
    async with serving(model) as served:
        refused, _, answer = await served.chat("a")
        assert refused == 502, answer


async def test_t33_a_check_that_hangs_is_asked_again() -> None:
    async with serving(fake("a", flags={"hang_first": 2}, probe_timeout=0.1)) as served:
        assert (await served.chat("a"))[0] == 200


async def test_t33_without_a_check_it_is_ready_as_soon_as_it_runs() -> None:
    async with serving(fake("a", flags={"health_status": 500}, check_endpoint="none")) as served:
        # Whether it listens already is not asked.
        served.driver.load(["a"])
        await served.until_phase("a", Phase.READY)


@pytest.mark.parametrize("extends", [False, True])
async def test_progress_extends_a_start_if_it_may(extends: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001 - a table.
    caplog.set_level("INFO", "swapcore_http.progress")
    flags: dict[str, object] = {"load": 1.7, "chatter": 0.1}
    model = fake("a", flags=flags, health_check_timeout=1, start_progress_extends=extends)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "LOG_EVERY", 0.4)
        async with serving(model) as served:
            status, _, _ = await served.chat("a")
    assert status == (200 if extends else 502)
    assert "a (run 1) is starting, for 0 s now: 'still at it'" in caplog.messages


async def test_t31_a_flood_neither_blocks_the_writer_nor_the_server() -> None:
    flags: dict[str, object] = {"flood": 5_000_000, "chatter": 0.0001}
    async with serving(fake("a", flags=flags)) as served:
        assert (await served.chat("a"))[0] == 200


async def test_t31_an_upstream_whose_output_nobody_can_read_is_served(tmp_path: Path) -> None:
    cmd = f"sh -c 'exec \"$@\" >&- 2>/dev/null' sh {command(port='${PORT}', name='a')}"
    async with serving(ModelConfig("a", cmd=cmd, proxy="http://127.0.0.1:${PORT}")) as served:
        assert (await served.chat("a"))[0] == 200


async def test_t32_a_program_that_is_no_server_fails_in_time(tmp_path: Path) -> None:
    cmd = f"{sys.executable} -I -S -c 'import time; time.sleep(100)' ${{PORT}}"
    async with serving(ModelConfig("a", cmd=cmd, health_check_timeout=1)) as served:
        assert (await served.chat("a"))[0] == 502
        await until(lambda: served.view("a").phase is Phase.STOPPED)


@pytest.mark.parametrize("name", ["a", "another"])
async def test_t32_one_that_serves_another_model_than_it_is_to_has_failed(name: str) -> None:
    cmd = command(port="${PORT}", name=name)
    async with serving(ModelConfig("a", cmd=cmd, check_model="${MODEL_ID}")) as served:
        status, _, answer = await served.chat("a")
        if name == "a":
            assert status == 200
            return
        assert status == 502
        assert "it serves 'another' instead of 'a', as GET /v1/models says" in answer["error"]["message"]
        await until(lambda: served.view("a").phase is Phase.STOPPED)
