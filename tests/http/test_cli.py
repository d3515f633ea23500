"""Tests of `swapcore_http.cli`: what is said, and with which exit status."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swapcore import SwapcoreError, Tick
from swapcore_http import arguments, cli, serve
from swapcore_http import config as config_package
from swapcore_http.driver import EngineFailedError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(f"models:\n  a:\n    cmd: {sys.executable} --port ${{PORT}}\n")
    return path


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Undo what serving does to this process's log."""
    loggers = [logging.getLogger(name) for name in ("", "swapcore_http", "aiohttp.server")]
    before = [(each, each.level, list(each.handlers), list(each.filters)) for each in loggers]
    yield
    for each, level, handlers, filters in before:
        each.setLevel(level)
        each.handlers[:], each.filters[:] = handlers, filters


def test_a_right_configuration_passes_in_silence(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", str(config)]) == 0
    assert capsys.readouterr() == ("", "")


def test_warnings_are_said_and_pass(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "    colour: blue\n")
    assert cli.main(["check", "-config", str(config)]) == 0
    assert f"{config}:4:5: warning: models.a.colour: " in capsys.readouterr().err


def test_errors_are_said_and_fail(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("models:\n  a: 5\n")
    assert cli.main(["check", "--config", str(config)]) == 1
    assert f"{config}:2:6: models.a: " in capsys.readouterr().err


def test_what_it_comes_to_is_explained(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(
        config.read_text() + "    env: [A=hidden]\n    patience: .inf\n  b: {cmd: 'nowhere ${PORT}'}\n"
    )
    assert cli.main(["check", "--config", str(config), "--explain"]) == 0
    out = capsys.readouterr().out
    assert f"    cmd: {sys.executable} --port 5800\n" in out
    assert "    - A=***\n" in out
    assert "  a:\n    group: (default)\n    together: []\n    evicts:\n    - b\n" in out

    assert cli.main(["check", "--config", str(config), "--explain", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert answer["effective"]["models"]["a"]["patience"] == ".inf"
    assert answer["effective"]["x-company"]["a"]["evictedBy"] == ["b"]

    config.write_text("models: 5\n")
    assert cli.main(["check", "--config", str(config), "--explain"]) == 1
    assert cli.main(["check", "--config", str(config), "--explain", "--json"]) == 1
    assert "effective" not in json.loads(capsys.readouterr().out)


def test_what_is_said_can_be_had_as_data(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "    colour: blue\n    ttl: ${t}\nmacros: {t: soon}\n")
    assert cli.main(["check", "--config", str(config), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "ok": False,
        "problems": [
            {
                "severity": "warning",
                "path": "models.a.colour",
                "message": "unknown key, ignored",
                "file": str(config),
                "line": 4,
                "column": 5,
                "source": "    colour: blue",
                "notes": [],
            },
            {
                "severity": "error",
                "path": "models.a.ttl",
                "message": "'soon' is not a whole number; expected seconds, 0 for never, or -1 for globalTTL",
                "file": str(config),
                "line": 5,
                "column": 10,
                "source": "    ttl: ${t}",
                "notes": [
                    {
                        "message": "the macro t is declared here",
                        "file": str(config),
                        "line": 6,
                        "column": 10,
                        "source": "macros: {t: soon}",
                    }
                ],
            },
        ],
    }
    config.write_text("models: {}")
    assert cli.main(["check", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_a_directory_belongs_to_the_configuration(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = config.parent / "more"
    folder.mkdir()
    (folder / "b.yaml").write_text("models:\n  b:\n    cmd: ''\n")
    assert cli.main(["check", "-config", str(config), "-config-dir", str(folder)]) == 1
    assert f"{folder / 'b.yaml'}:2:3: models.b: has neither cmd nor proxy" in capsys.readouterr().err
    assert cli.main(["check", "--config-dir", str(folder)]) == 1


def test_a_program_that_is_not_there_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("models:\n  a:\n    cmd: no-such-program ${PORT}\n")
    assert cli.main(["check", "--config", str(config)]) == 0
    said = "warning: models.a.cmd: 'no-such-program' is no program on PATH; expected one that can be started"
    assert f"{config}:3:10: {said}" in capsys.readouterr().err


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--config", str(tmp_path / "none.yaml")]) == 1
    said = capsys.readouterr().err
    assert "none.yaml" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["check"], "there is nothing to check: expected --config, --config-dir or both"),
        (["serve"], "there is nothing to serve: expected --config, --config-dir or both, or --demo"),
        (["serve", "--demo", "--config", "x"], "not allowed with argument --demo"),
        (["serve", "--demo", "--config-dir", "x"], "not allowed with argument --demo"),
        (["serve", "--demo", "--listen", "8080"], "'8080' is no address; expected HOST:PORT"),
        (["serve", "--demo", "--listen", "h:99999"], "'h:99999' is no address"),
        (["serve", "--demo", "--listen", "h:٣"], "is no address"),
        (["serve", "--demo", "--listen", "::1:80"], "IPv6 address without brackets; expected [HOST]:PORT"),
    ],
)
def test_wrong_usage_is_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        (":80", ("", 80)),
        ("[::1]:0", ("::1", 0)),
        ("box:9", ("box", 9)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert arguments.address(text) == address


def test_check_needs_neither_aiohttp_nor_an_event_loop_nor_the_engine(config: Path) -> None:
    code = (
        "import sys; from swapcore_http import cli; "
        f"assert cli.main(['check', '--config', {str(config)!r}]) == 0; "
        "print(sorted({'aiohttp', 'anyio', 'asyncio', 'difflib', 'swapcore.engine'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("log_as_before")
@pytest.mark.parametrize("nested", [False, True])
def test_a_failed_engine_is_reported_with_its_last_events(
    nested: bool,  # noqa: FBT001
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def fail(*_: object, **__: object) -> None:
        failure: Exception = EngineFailedError([(12.5, Tick())])
        if nested:
            failure = ExceptionGroup("inner", [failure])
        raise ExceptionGroup("outer", [failure])

    monkeypatch.setattr(serve, "serve", fail)
    assert cli.main(["serve", "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert "the engine failed; please report this, with its last events:" in said
    assert "12.500000 Tick()" in said


@pytest.mark.usefixtures("log_as_before")
def test_another_failure_is_not_taken_for_the_engine_s(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("outer", [EngineFailedError([]), SwapcoreError("something else")])

    monkeypatch.setattr(serve, "serve", fail)
    with pytest.raises(ExceptionGroup):
        cli.main(["serve", "--config", str(config)])


def test_ctrl_c_before_the_server_is_up_is_no_traceback(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(config_package, "load", interrupt)
    assert cli.main(["serve", "--config", str(config)]) == 130


@pytest.mark.parametrize("command", [["schema"], ["check", "--json", "--config", "/nowhere.yaml"]])
def test_a_reader_who_has_enough_is_no_traceback(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-c", "from swapcore_http.cli import main; raise SystemExit(main())", *command],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device is full here")
@pytest.mark.parametrize(
    "command",
    [
        ["schema"],
        ["schema", "--markdown"],
        ["check", "--json", "--config", "/nowhere.yaml"],
        ["init", "--config", "-"],
        ["--version"],
    ],
)
def test_an_output_that_is_full_is_said_in_a_line(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-c", "from swapcore_http.cli import main; raise SystemExit(main())", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    said = "swapcore-http: the output cannot be written: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (1, said)


def test_an_output_that_is_closed_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["schema"]) == 0


def test_serving_raises_the_limit_of_open_files(config: Path) -> None:
    code = (
        "import resource; from swapcore_http import cli, serve\n"
        "async def report(*_, **__): print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)); serve.serve = report\n"
        f"cli.main(['serve', '--config', {str(config)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 64


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out.startswith("swapcore 0.")
