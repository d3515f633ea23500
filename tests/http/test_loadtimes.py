"""Tests of `swapcore_http.loadtimes`: is what loads took there after a restart, whatever became of it?"""

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import anyio.from_thread
import attrs
import pytest

from swapcore import Engine
from swapcore_http import loadtimes
from swapcore_http.config import Config, Loaded
from swapcore_http.loadtimes import read, remembered, write
from swapcore_http.serve import Server, make_engine, serving
from tests.http.serving import fake

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "swapcore" / loadtimes.NAME


@asynccontextmanager
async def server(config: Config, replaced: Config | None = None) -> AsyncIterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(config, listener, read=lambda: Loaded(replaced or config, ())) as one:
            yield one


async def ask(one: Server, model: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{one.base_url}/upstream/{model}/v1/models") as answer,
    ):
        assert answer.status == 200


def expected(engine: Engine, model: str) -> float | None:
    return engine._state.catalog.by_id[model].expected_load


async def test_what_a_load_took_is_expected_after_a_restart(path: Path) -> None:
    config = Config(models=[fake("a", flags={"load": 0.2}), fake("b")])
    async with server(config) as one:
        assert read(path) == {}, "nothing is known yet"
        await ask(one, "a")
        took = one.driver.snapshot().upstream("a").load_time
    assert took is not None
    found = await remembered(config)
    assert list(found.values()) == [pytest.approx(took, abs=1e-3)]
    engine = make_engine(config, found)
    assert expected(engine, "a") == pytest.approx(took, abs=1e-3)
    assert expected(engine, "b") is None
    assert list(found) == [config.catalog().by_id["a"].revision], "no command is kept, nor any name"

    renamed = Config(models=[attrs.evolve(config.as_written["a"], id="z")])
    other = Config(models=[fake("a", flags={"load": 0.3})])
    assert expected(make_engine(renamed, found), "z") == expected(engine, "a")
    assert expected(make_engine(other, found), "a") is None, "another command takes another time"


async def test_a_reload_expects_the_same(path: Path) -> None:
    a, b = fake("a"), fake("b")
    revision = Config(models=[a, b]).catalog().by_id["b"].revision
    path.parent.mkdir(mode=0o700)
    write(path, {revision: 7.0})
    async with server(Config(models=[a]), Config(models=[a, b])) as one:
        assert one.reloader is not None
        await one.reloader.reload()
        assert expected(one.driver._engine, "b") == 7.0


async def test_who_does_not_want_that_keeps_and_expects_nothing(path: Path) -> None:
    config = Config(models=[fake("a")], remember_loads=False)
    async with server(config) as one:
        await ask(one, "a")
    assert read(path) == {}
    path.parent.mkdir(mode=0o700)
    write(path, {"r": 1.0})
    assert await remembered(config) == {}


async def test_it_is_kept_from_time_to_time_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadtimes, "EVERY", 0.01)
    written = anyio.Event()
    monkeypatch.setattr(loadtimes, "_write_file", lambda _: anyio.from_thread.run_sync(written.set))
    async with server(Config(models=[fake("a")])) as one:
        await ask(one, "a")
        await written.wait()


async def test_a_folder_that_cannot_be_had_is_said_and_harms_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> str:
        raise PermissionError("it is not ours")

    monkeypatch.setattr(loadtimes, "lasting_folder", none)
    async with server(Config(models=[fake("a")])) as one:
        await ask(one, "a")
    assert "not remembered: it is not ours" in caplog.text
    assert "not kept: it is not ours" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"7", b'{"format": 1}', b'{"format": 1, "loads": [1]}', b"\xff", b"[" * 100_000),
        b'{"format": 2, "loads": {"r": 1.0}}',
        b'{"format": 1, "loads": {"r": "1", "s": -1, "t": NaN, "u": 1e9, "v": null, "w": []}}',
        b'{"format": 1, "loads": {"r": 1.0}}' + b" " * loadtimes.MOST_BYTES + b"x",
    ],
)
def test_what_makes_no_sense_is_left_out_and_begun_anew(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    found = read(path)
    assert found == ({"r": 1.0} if content.endswith(b"x") else {})
    write(path, {"n": 2.0})
    assert read(path) == {**found, "n": 2.0}


def test_the_latest_are_kept_when_there_are_too_many(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadtimes, "MOST", 3)
    path.parent.mkdir()
    for name in "abcad":
        write(path, {name: float(ord(name))})
    assert list(read(path)) == ["b", "c", "d"]
    write(path, {"b": 1.23456})
    assert list(read(path).items())[-1] == ("b", 1.235)


def test_what_is_known_already_is_not_written_again(path: Path) -> None:
    path.parent.mkdir()
    write(path, {"a": 1.0})
    before = path.stat().st_mtime_ns, path.stat().st_ino
    write(path, {"a": 1.0001})
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    write(path, {"a": 1.0})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=os.strerror(28)):
        write(path, {"b": 1.0})
    assert read(path) == {"a": 1.0}
    assert json.loads(path.read_text())["format"] == loadtimes.FORMAT
    assert [each.name for each in path.parent.iterdir()] == [loadtimes.NAME]
