"""uvloop: the server runs on it where it is installed, and does all the same there."""

import importlib.util
import signal
from pathlib import Path

import pytest

from swapcore_http import cli
from tests.http.programs import Program, program, write

pytestmark = pytest.mark.anyio


def runs_on_uvloop(server: Program) -> bool:
    return "/uvloop/" in Path(f"/proc/{server.process.pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded is not shown")
@pytest.mark.parametrize("loop", ["auto", "uvloop", "asyncio"])
async def test_it_starts_swaps_streams_and_ends_on_either_loop(loop: str, tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    path = write(tmp_path, a={}, b={}, c={"_cmd": "/no/such/program --port ${PORT}"})
    async with program("serve", "--config", str(path), "--listen", "127.0.0.1:0", "--loop", loop) as server:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        assert runs_on_uvloop(server) == (loop != "asyncio")
        for model in ("a", "b", "a"):
            async with server.chat(model, count=3) as answer:
                assert answer.status == 200
                assert (await answer.read()).endswith(b"data: [DONE]\n\n")
        async with server.chat("c") as answer:
            assert answer.status == 502
            assert "'/no/such/program': no such file or directory" in await answer.text()
        server.signal(signal.SIGTERM)
        assert await server.ends() == 0
    assert "Traceback" not in server.log


def test_uvloop_that_is_asked_for_and_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    path = write(tmp_path, a={})
    assert cli.main(["serve", "--config", str(path), "--loop", "uvloop"]) == 1
    assert capsys.readouterr().err == ("swapcore-http: uvloop is not installed: pip install '.[http,fast]'\n")
