"""Which models has Ollama stored in its directory?

Its manifests, JSON files by registry, namespace, model and tag, name the
layers of a model by their digests; the layers are files of those names.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from swapcore_http.init.gguf_files import served
from swapcore_http.init.writing import Found

__all__ = ["Stored", "stored_in"]

LAYER = "application/vnd.ollama.image."
DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}")
LARGEST_MANIFEST = 1_000_000
DEFAULT_TAG = ":latest"


@frozen
class Stored:
    """What was found in the directory."""

    models: tuple[Found, ...]
    left_out: tuple[str, ...]
    """What could not be used, a sentence for each."""


def stored_in(directory: Path) -> Stored:
    """Find the models of an Ollama directory: the one with `manifests` and `blobs` in it, or `models` of it.

    Raises:
        FileNotFoundError: it is no such directory.
    """
    root = next((each for each in (directory, directory / "models") if (each / "manifests").is_dir()), None)
    if root is None:
        raise FileNotFoundError(f"{directory} has no manifests in it; expected Ollama's directory of models")
    models: list[Found] = []
    left_out: list[str] = []
    for manifest in _manifests(root / "manifests"):
        name = _name(manifest.relative_to(root / "manifests"))
        try:
            models.append(_model(name, manifest, root / "blobs"))
        except (OSError, ValueError) as error:
            left_out.append(f"{name}: {error}")
    return Stored(tuple(models), tuple(left_out))


def _manifests(directory: Path) -> Iterator[Path]:
    return (file for file in sorted(directory.glob("*/*/*/*")) if file.is_file())


def _name(path: Path) -> str:
    """Call a model as Ollama does: what is the default goes without saying."""
    registry, namespace, model, tag = path.parts
    name = model if (registry, namespace) == ("registry.ollama.ai", "library") else f"{namespace}/{model}"
    return f"{name}:{tag}"


def _model(name: str, manifest: Path, blobs: Path) -> Found:
    layers = _layers(manifest)
    weights = _blob(layers.get("model"), blobs)
    if weights is None:
        raise ValueError("its manifest names no weights")
    projector = _blob(layers.get("projector"), blobs)
    if "adapter" in layers:
        raise ValueError("it is an adapter on top of another model")
    found = served(
        name, weights, weights.stat().st_size, projector=projector, context=_context(layers, blobs)
    )
    if name.endswith(DEFAULT_TAG):
        # Ollama's users leave that out.
        return Found(
            name.removesuffix(DEFAULT_TAG), found.argv, found.notes, aliases=(name,), context=found.context
        )
    return found


def _layers(manifest: Path) -> dict[str, str]:
    data = _json(manifest)
    layers = data.get("layers") if isinstance(data, dict) else None
    if not isinstance(layers, list):
        raise ValueError("its manifest has no layers")  # noqa: TRY004 - it is the file that is wrong.
    return {
        str(layer["mediaType"]).removeprefix(LAYER): str(layer["digest"])
        for layer in layers
        if isinstance(layer, dict) and "mediaType" in layer and "digest" in layer
    }


def _blob(digest: str | None, blobs: Path) -> Path | None:
    if digest is None:
        return None
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"its manifest has a layer {digest[:80]!r}, which is no digest")
    file = blobs / digest.replace(":", "-")
    if not file.is_file():
        raise ValueError(f"the file {file.name[:19]}… is missing")
    return file


def _context(layers: dict[str, str], blobs: Path) -> int:
    """Read the context that Ollama serves the model with, if it says one."""
    parameters = _blob(layers.get("params"), blobs)
    if parameters is None:
        return 0
    data = _json(parameters)
    context = data.get("num_ctx") if isinstance(data, dict) else None
    return context if isinstance(context, int) and context > 0 else 0


def _json(file: Path) -> Any:
    with file.open("rb") as opened:
        text = opened.read(LARGEST_MANIFEST + 1)
    if len(text) > LARGEST_MANIFEST:
        raise ValueError(f"{file.name} is too large to be what it should be")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.name} is no JSON: {error}") from None
