"""Does everything that is found have a name of its own, and does the command say what it did?"""

from pathlib import Path

import pytest

from swapcore_http.cli import main
from swapcore_http.config import load
from swapcore_http.init.gathering import gather
from tests.http.init.files import write_gguf


def test_names_are_unique(tmp_path: Path) -> None:
    write_gguf(tmp_path / "q.gguf")
    write_gguf(tmp_path / "x" / "q.gguf")
    found = gather(["-m q.gguf"], [tmp_path], [])
    assert [each.id for each in found.models] == ["q", "q-2", "q-3"]


def test_what_would_be_a_macro_is_left_out(tmp_path: Path) -> None:
    write_gguf(tmp_path / "${x}.gguf")
    found = gather(["-m '/${y}/q.gguf'"], [tmp_path], [])
    assert found.models == ()
    assert [sentence.split(": ")[0] for sentence in found.left_out] == ["q", "${x}"]


def run(*arguments: str | Path) -> int:
    return main(["init", *map(str, arguments)])


def test_the_command_writes_what_can_be_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_gguf(tmp_path / "models" / "my model.gguf", context=4096)
    path = tmp_path / "c.yaml"
    assert run("--config", path, "--gguf", tmp_path / "models", "--from-llama-server", "-m /x/q.gguf") == 0
    assert (
        capsys.readouterr().out == f"{path} has 2 models now; swapcore-http check --config {path} checks it\n"
    )
    assert list(load(path).config.models) == ["q", "my model"]
    before = path.read_bytes()
    assert run("--config", path) == 1
    assert capsys.readouterr().err == f"swapcore-http: {path} exists already; --force replaces it\n"
    assert path.read_bytes() == before
    assert run("--config", path, "--force") == 0
    assert list(load(path).config.models) == ["my-model"]


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config", "-") == 0
    assert "\nmodels:\n" in capsys.readouterr().out


def test_wrong_usage_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    assert run("--config", path, "--gguf", tmp_path / "nowhere") == 1
    assert capsys.readouterr().err == f"swapcore-http: '{tmp_path}/nowhere': no such file or directory\n"
    assert run("--config", path, "--gguf", tmp_path) == 1
    assert capsys.readouterr().err == "swapcore-http: there are no models in these directories\n"
    assert run("--config", path, "--from-llama-server", "--port 80") == 1
    assert "swapcore-http: --from-llama-server names no model" in capsys.readouterr().err
    assert run("--config", path, "--ollama", tmp_path) == 1
    assert "expected Ollama's directory" in capsys.readouterr().err
    assert not path.exists()
