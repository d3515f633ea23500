"""The example that users copy is a configuration without a fault."""

from pathlib import Path

from swapcore_http.config import load
from swapcore_http.config.schema import ModelConfig, Settings, settings_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "config.yaml"


def test_it_loads_without_a_warning() -> None:
    loaded = load(EXAMPLE)
    assert loaded.warnings == ()
    assert list(loaded.config.models) == ["qwen2.5-7b", "qwen2.5-coder-32b", "embeddings", "vllm"]
    assert loaded.config.preload == ("qwen2.5-7b",)
    assert loaded.config.models["qwen2.5-7b"].argv(81) == [
        "llama-server", "--host", "127.0.0.1", "--port", "81", "--model", "/models/qwen2.5-7b.gguf",
        "--ctx-size", "32768", "--parallel", "4", "--n-gpu-layers", "99",
    ]  # fmt: skip


def test_it_shows_every_setting() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for cls in (Settings, ModelConfig):
        for setting in settings_of(cls).values():
            assert f"{setting.key.split('.')[-1]}:" in text
