"""Which models do the GGUF files of a directory hold?"""

import re
from collections.abc import Iterator
from pathlib import Path

from swapcore_http.init.llama_server import name_of
from swapcore_http.init.writing import Found

__all__ = ["context_of", "found_in", "served"]

SHARD = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
PROJECTOR = re.compile(r"(?:^|[-_.])mmproj(?:[-_.]|$)", re.IGNORECASE)

MOST_CONTEXT = 8192
"""Tokens of context that a model is served with unless somebody asks for more: it takes memory."""

DEEPEST = 4
"""How far below the directory files are looked for."""


def found_in(directory: Path) -> Iterator[Found]:
    """Find the models in a directory, one for each file, or for each first file of a set, by name.

    Raises:
        OSError: the directory cannot be read.
    """
    files = sorted(file for file in _files(directory, DEEPEST) if not PROJECTOR.search(file.stem))
    for file in files:
        shard = SHARD.search(file.name)
        if shard is not None and int(shard[1]) > 1:
            continue
        yield served(name_of(file.name), file, _size(file), projector=_projector(file))


def _files(directory: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.is_dir():
            if depth > 0 and not entry.is_symlink():
                yield from _files(entry, depth - 1)
        elif entry.suffix.lower() == ".gguf" and entry.is_file():
            yield entry


def _projector(file: Path) -> Path | None:
    """Find what lets a model see, if it is clear that it is this one's: it has a directory of its own."""
    beside = sorted(each for each in file.parent.glob("*.gguf") if PROJECTOR.search(each.stem))
    models = [
        each
        for each in file.parent.glob("*.gguf")
        if not PROJECTOR.search(each.stem) and not ((shard := SHARD.search(each.name)) and int(shard[1]) > 1)
    ]
    return beside[0] if len(beside) == 1 and len(models) == 1 else None


def _size(file: Path) -> int:
    """Count the bytes of a file, or of all the files of its set."""
    shard = SHARD.search(file.name)
    if shard is None:
        return file.stat().st_size
    start = file.name[: shard.start()]
    return sum(
        each.stat().st_size
        for each in file.parent.glob("*.gguf")
        if each.name.startswith(start) and SHARD.search(each.name)
    )


def served(name: str, file: Path, size: int, *, projector: Path | None = None, context: int = 0) -> Found:
    """Say how llama-server serves a file.

    Args:
        name: What the model is called.
        file: The file, or the first of its set.
        size: Bytes that it has in all.
        projector: The file that lets the model see, if there is one.
        context: Tokens of context to serve; 0 for what the file was trained for, within reason.
    """
    trained = context_of(file)
    chosen = context or min(trained or 0, MOST_CONTEXT)
    words = ["llama-server", "--host", "127.0.0.1", "--port", "${PORT}", "--model", str(file.absolute())]
    if projector is not None:
        words += ["--mmproj", str(projector.absolute())]
    if chosen:
        words += ["--ctx-size", str(chosen)]
    notes = [f"{_shown(size)} on disk" + (f"; trained for a context of {trained} tokens" if trained else "")]
    return Found(name, tuple(words), notes=tuple(notes), context=chosen)


def _shown(size: int) -> str:
    amount = float(size)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:  # noqa: PLR2004 - the next unit.
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def context_of(file: Path) -> int | None:
    """Read the context that a file was trained for, if the package `gguf` is there to read it."""
    try:
        from gguf import GGUFReader  # noqa: PLC0415 - it is optional, and slow to import.
    except ImportError:
        return None
    try:
        fields = GGUFReader(str(file)).fields
        architecture = str(fields["general.architecture"].contents())
        return int(fields[f"{architecture}.context_length"].contents())
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        # Not every file that is called so is one, and not every model has a context.
        return None
