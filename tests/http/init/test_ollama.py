"""Are Ollama's models found, and is it said which cannot be used?"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from swapcore_http.init.ollama import stored_in
from tests.http.init.files import write_gguf

LAYER = "application/vnd.ollama.image."


class Store:
    """An Ollama directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs").mkdir(parents=True)
        (root / "manifests").mkdir()

    def blob(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.root / "blobs" / f"sha256-{digest}").write_bytes(content)
        return f"sha256:{digest}"

    def weights(self, tmp_path: Path, context: int = 4096) -> str:
        write_gguf(tmp_path / "w.gguf", context=context)
        return self.blob((tmp_path / "w.gguf").read_bytes())

    def manifest(self, name: str, layers: dict[str, str] | Any) -> None:
        path = self.root / "manifests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(layers, dict):
            rows = [{"mediaType": LAYER + kind, "digest": digest} for kind, digest in layers.items()]
            layers = {"schemaVersion": 2, "layers": rows}
        path.write_text(layers if isinstance(layers, str) else json.dumps(layers))


def test_models_are_called_as_ollama_calls_them(tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    weights = store.weights(tmp_path)
    parameters = store.blob(b'{"num_ctx": 16384, "stop": ["x"]}')
    store.manifest("registry.ollama.ai/library/qwen3/latest", {"model": weights})
    store.manifest("registry.ollama.ai/library/qwen3/8b", {"model": weights, "params": parameters})
    store.manifest(
        "registry.ollama.ai/me/mine/v1", {"model": weights, "projector": weights, "license": weights}
    )
    stored = stored_in(tmp_path)
    assert stored.left_out == ()
    found = {each.id: each for each in stored.models}
    assert sorted(found) == ["me/mine:v1", "qwen3", "qwen3:8b"]
    assert found["qwen3"].aliases == ("qwen3:latest",)
    blob = str(tmp_path / "models" / "blobs" / weights.replace(":", "-"))
    assert found["qwen3"].argv[5:] == ("--model", blob, "--ctx-size", "4096")
    assert found["qwen3:8b"].argv[5:] == ("--model", blob, "--ctx-size", "16384")
    assert found["me/mine:v1"].argv[5:] == ("--model", blob, "--mmproj", blob, "--ctx-size", "4096")
    assert stored_in(tmp_path / "models") == stored


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ("{", "b is no JSON"),
        ("[]", "its manifest has no layers"),
        ('{"layers": 5}', "its manifest has no layers"),
        ({"license": "sha256:" + "0" * 64}, "its manifest names no weights"),
        ({"model": "sha256:" + "0" * 64}, "the file sha256-000000000000… is missing"),
        ({"model": "../../../etc/passwd"}, "has a layer '../../../etc/passwd', which is no digest"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, layers: Any, why: str) -> None:
    store = Store(tmp_path)
    store.manifest("registry.ollama.ai/library/a/b", layers)
    stored = stored_in(tmp_path)
    assert stored.models == ()
    (sentence,) = stored.left_out
    assert sentence.startswith("a:b: ")
    assert why in sentence


def test_adapters_are_no_models_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    weights = store.weights(tmp_path)
    store.manifest("registry.ollama.ai/library/a/b", {"model": weights, "adapter": weights})
    assert stored_in(tmp_path).left_out == ("a:b: it is an adapter on top of another model",)


def test_another_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected Ollama's directory of models"):
        stored_in(tmp_path)
