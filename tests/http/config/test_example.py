"""The example that users copy is a configuration without a fault."""

from pathlib import Path

from swapcore.planning import Groups, Matrix
from swapcore_http.config import load, loads
from swapcore_http.config.setting import settings_of
from tests.http.config.records import records

EXAMPLE = Path(__file__).parents[3] / "examples" / "config.yaml"


def test_it_loads_without_a_warning() -> None:
    loaded = load(EXAMPLE, env={})
    assert loaded.warnings == ()
    assert list(loaded.config.models) == ["qwen2.5-7b", "qwen2.5-coder-32b", "embeddings", "vllm"]
    assert loaded.config.preload == ("qwen2.5-7b",)
    assert loaded.config.models["qwen2.5-7b"].argv(81) == [
        "llama-server", "--host", "127.0.0.1", "--port", "81", "--model", "/models/qwen2.5-7b.gguf",
        "--ctx-size", "32768", "--parallel", "4", "--n-gpu-layers", "99",
    ]  # fmt: skip


def test_it_shows_every_setting() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for cls in records():
        for setting in settings_of(cls).values():
            assert f"{setting.key.split('.')[-1]}:" in text


def test_its_models_live_together_as_it_says() -> None:
    planner = load(EXAMPLE, env={}).config.planner()
    assert isinstance(planner, Groups)
    assert planner.can_live_together(["embeddings", "vllm"])
    assert not planner.can_live_together(["qwen2.5-7b", "vllm"])


def test_its_matrix_works_once_it_is_no_comment() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").split("\n")
    start = lines.index("      # matrix:")
    end = next(index for index in range(start, len(lines)) if "#" not in lines[index])
    lines[start:end] = [line.replace("# ", "", 1) for line in lines[start:end]]
    loaded = loads("\n".join(lines).replace("use: group", "use: matrix"))
    assert [str(each).split(": ")[2] for each in loaded.warnings] == ["routing.router.settings.groups"]
    planner = loaded.config.planner()
    assert isinstance(planner, Matrix)
    assert planner.can_live_together(["qwen2.5-coder-32b", "embeddings"])
