"""Faults of configurations that change under a running server."""

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from swapcore_http.replay import replay
from tests.http.programs import Program, program, serving, write

pytestmark = pytest.mark.anyio

RELOADED = "reloaded the configuration"
KEPT = "the configuration is not reloaded, the one before holds"


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Program]:
    async with program("serve", "--config", str(path), "--listen", "127.0.0.1:0", "--watch-config") as server:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        yield server


async def ask(server: Program, model: str) -> tuple[int, str]:
    """Ask a model for a short answer: the status, and the answer's text or what went wrong."""
    async with server.client.post(
        f"{server.base_url}/v1/chat/completions", json={"model": model}
    ) as response:
        answer = await response.json()
    if response.status != 200:
        return response.status, answer["error"]["message"]
    return response.status, answer["choices"][0]["message"]["content"]


async def running(server: Program) -> list[dict[str, Any]]:
    async with server.client.get(f"{server.base_url}/running") as response:
        rows: list[dict[str, Any]] = (await response.json())["running"]
        return rows


async def hang_up(server: Program, path: Path, **models: Mapping[str, object]) -> str:
    """Write another configuration, send SIGHUP, and return what the server says about it."""
    write(path, **models)
    server.signal(signal.SIGHUP)
    return await server.until_said("the configuration")


async def test_sighup_reloads_and_a_stream_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, b={}) as server, server.chat("b", chunks=3, gate="go") as answer:
        url = await server.upstream("b")
        server.signal(signal.SIGHUP)
        await server.until_said("SIGHUP: reading the configuration again")
        await server.until_said(f"{RELOADED}: no change")
        assert "added a" in await _hup(server, tmp_path, a={}, b={})
        assert await server.upstream("b") == url
        async with server.client.post(f"{url}/gate/go?n=3") as gate:
            assert gate.status == 200
        assert (await answer.text()).endswith("data: [DONE]\n\n")
        status, text = await ask(server, "a")
        assert (status, text[:2]) == (200, "a ")
        server.signal()
        assert await server.ends() == 0
    assert "run 3" not in server.log, "each came up once"


async def _hup(server: Program, path: Path, **models: Mapping[str, object]) -> str:
    write(path, **models)
    server.signal(signal.SIGHUP)
    return await server.until_said(RELOADED)


async def test_T43_of_reloads_in_quick_succession_the_last_written_holds(tmp_path: Path) -> None:  # noqa: N802
    async with serving(tmp_path, a={}) as server:
        assert (await ask(server, "a"))[0] == 200
        for number in range(30):
            write(tmp_path, a={}, **{f"m{number}": {}})
            server.signal(signal.SIGHUP)
            async with server.client.post(f"{server.base_url}/api/config/reload") as response:
                assert response.status == 200
        async with server.client.get(f"{server.base_url}/v1/models") as response:
            names = {row["id"] for row in (await response.json())["data"]}
        assert names == {"a", "m29"}
        assert [row["model"] for row in await running(server)] == ["a"]
        server.signal()
        assert await server.ends() == 0
    assert server.log.count("starting a ") == 1, "a reload restarts nothing that it does not change"


async def test_T44_nothing_is_resident_twice_across_a_reload(tmp_path: Path) -> None:  # noqa: N802
    """A model that is changed while its old process is deaf: the new one comes up after it is gone."""
    deaf: dict[str, object] = {"ignore_sigterm": True, "_unloadTimeout": 1}
    top: dict[str, object] = {"_hooks": {"on_startup": {"preload": ["a", "b"]}}}
    async with serving(tmp_path, a=deaf) as server:
        assert (await ask(server, "a"))[0] == 200
        (old,) = [row["proxy"] for row in await running(server)]
        await _hup(server, tmp_path, top=top, a=deaf | {"_env": ["NEW=1"]}, b={})
        async with anyio.create_task_group() as tasks:
            answers = []

            async def once(model: str) -> None:
                answers.append(await ask(server, model))

            tasks.start_soon(once, "a")
            tasks.start_soon(once, "b")
        assert {status for status, _ in answers} == {200}
        server.signal()
        assert await server.ends() == 0
    assert "is taken" not in server.log, "each has its port for itself"
    assert old.endswith(str(20_000 + os.getpid() % 10_000))
    alive: set[str] = set()
    for line in server.log.splitlines():
        words = line.partition("] ")[2].split()
        if words[:1] == ["starting"]:
            alive.add(words[1])
            assert len(alive) == 1, "there is room for one"
        if words[3:5] == ["is", "over:"]:
            alive.discard(words[0])


async def test_T45_a_broken_configuration_changes_nothing_and_is_said_with_its_line(  # noqa: N802
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, a={}) as server, server.chat("a", chunks=2, gate="go") as answer:
        url = await server.upstream("a")
        config = tmp_path / "config.yaml"
        config.write_text("models:\n  a:\n    cmd: [1]\n    nonsense: 5\n")
        server.signal(signal.SIGHUP)
        await server.until_said(KEPT)
        await server.until_said(f"{config}:3:10: ")
        async with server.client.post(f"{server.base_url}/api/config/reload") as response:
            assert response.status == 422
            problems = (await response.json())["problems"]
        assert (problems[0]["file"], problems[0]["line"]) == (str(config), 3)
        config.unlink()
        async with server.client.post(f"{server.base_url}/api/config/reload") as response:
            assert response.status == 422
        async with server.client.post(f"{url}/gate/go?n=2") as gate:
            assert gate.status == 200
        assert (await answer.text()).endswith("data: [DONE]\n\n")
        assert (await ask(server, "a"))[0] == 200
        assert await server.upstream("a") == url
        server.signal()
        assert await server.ends() == 0


def edit(path: Path, text: str) -> None:
    path.write_text(text)


def rename_over(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


def remove_and_write(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)


@pytest.mark.parametrize("change", [edit, rename_over, remove_and_write])
async def test_T46_an_edit_is_noticed_within_two_seconds(  # noqa: N802
    tmp_path: Path, change: Callable[[Path, str], None]
) -> None:
    config = write(tmp_path, a={})
    text = write(tmp_path, a={}, b={}).read_text()
    write(tmp_path, a={})
    async with watching(config) as server:
        assert (await ask(server, "a"))[0] == 200
        began = time.monotonic()
        change(config, text)
        assert "added b" in await server.until_said(RELOADED)
        # The two seconds are for a machine that has nothing else to do.
        assert time.monotonic() - began < 10
        assert [row["model"] for row in await running(server)] == ["a"]
        server.signal()
        assert await server.ends() == 0


async def test_T46_a_link_that_is_swapped_is_noticed(tmp_path: Path) -> None:  # noqa: N802
    """As Kubernetes mounts a ConfigMap: the file is a link through a link that is replaced at once."""
    for name, models in (("one", ("a",)), ("two", ("a", "b"))):
        (tmp_path / name).mkdir()
        write(tmp_path / name, **{model: {} for model in models})
    (tmp_path / "..data").symlink_to("one")
    config = tmp_path / "config.yaml"
    config.symlink_to("..data/config.yaml")
    async with watching(config) as server:
        (tmp_path / "..new").symlink_to("two")
        (tmp_path / "..new").replace(tmp_path / "..data")
        assert "added b" in await server.until_said(RELOADED)
        server.signal()
        assert await server.ends() == 0


async def test_T46_a_file_that_is_mounted_is_noticed(tmp_path: Path) -> None:  # noqa: N802
    outside = tmp_path / "outside"
    outside.mkdir()
    source = write(outside, a={})
    mounted = tmp_path / "mounted.yaml"
    mounted.touch()
    if (await anyio.run_process(["mount", "--bind", str(source), str(mounted)], check=False)).returncode:
        pytest.skip("mounting needs privileges")
    try:
        async with watching(mounted) as server:
            write(outside, a={}, b={})
            assert "added b" in await server.until_said(RELOADED)
            server.signal()
            assert await server.ends() == 0
    finally:
        await anyio.run_process(["umount", str(mounted)])


async def test_a_broken_edit_is_said_once_and_mended_by_the_next(tmp_path: Path) -> None:
    config = write(tmp_path, a={})
    async with watching(config) as server:
        config.write_text("models: [a]\n")
        await server.until_said(KEPT)
        write(tmp_path, a={}, b={})
        await server.until_said(RELOADED)
        server.signal()
        assert await server.ends() == 0
    assert server.log.count(KEPT) == 1


async def test_the_log_level_follows(tmp_path: Path) -> None:
    async with serving(tmp_path, a={}) as server:
        await _hup(server, tmp_path, top={"_logLevel": "debug"}, a={})
        assert (await ask(server, "a"))[0] == 200
        await server.until_said("forwarding request 1 to a (run 1)")
        server.signal()
        assert await server.ends() == 0


async def test_sighup_without_a_configuration_file_is_said() -> None:
    async with program("serve", "--demo", "--listen", "127.0.0.1:0") as server:
        await server.until_said("listening on")
        server.signal(signal.SIGHUP)
        await server.until_said("SIGHUP: there is no configuration to read again")
        server.signal()
        assert await server.ends() == 0


async def test_a_journal_of_a_server_that_was_reloaded_can_be_replayed(tmp_path: Path) -> None:
    config = write(tmp_path, a={}, b={})
    journal = tmp_path / "journal.jsonl"
    arguments = ["--config", str(config), "--listen", "127.0.0.1:0", "--journal", str(journal)]
    async with program("serve", *arguments) as server:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        assert (await ask(server, "a"))[0] == 200
        groups = {"all": {"members": ["a", "c"], "swap": False}}
        await _hup(server, tmp_path, top={"_groups": groups, "_patience": 5}, a={}, c={})
        assert (await ask(server, "c"))[0] == 200
        assert {row["model"] for row in await running(server)} == {"a", "c"}
        server.signal()
        assert await server.ends() == 0
    events = [json.loads(line)[1] for line in journal.read_text().splitlines()[1:]]
    assert "CatalogReplaced" in events
    verdict = replay([journal])
    assert verdict.ok, verdict.text
