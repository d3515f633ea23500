"""Which models can be found where somebody says that there are some?"""

from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, frozen

from swapcore_http.init.gguf_files import found_in
from swapcore_http.init.llama_server import from_arguments
from swapcore_http.init.ollama import stored_in
from swapcore_http.init.writing import Found

__all__ = ["Gathered", "gather"]

MACRO = "${"
PORT = "${PORT}"


@frozen
class Gathered:
    """What was found, each model under a name of its own."""

    models: tuple[Found, ...]
    left_out: tuple[str, ...]
    """What could not be used, a sentence for each."""


def gather(commands: Iterable[str], directories: Iterable[Path], stores: Iterable[Path]) -> Gathered:
    """Find models.

    Args:
        commands: Command lines of llama-servers.
        directories: Directories of GGUF files.
        stores: Ollama's directories.

    Raises:
        ArgumentsError: a command line names no model.
        OSError: a directory cannot be read.
    """
    models = [from_arguments(command) for command in commands]
    for directory in directories:
        models += found_in(directory)
    left_out: list[str] = []
    for store in stores:
        stored = stored_in(store)
        models += stored.models
        left_out += stored.left_out
    usable: dict[str, Found] = {}
    for model in models:
        if any(MACRO in word.replace(PORT, "") for word in (model.id, *model.argv, *model.env)):
            left_out.append(f"{model.id}: what stands in its path or arguments would be taken for a macro")
            continue
        id_ = model.id
        number = 1
        while id_ in usable:
            number += 1
            id_ = f"{model.id}-{number}"
        usable[id_] = evolve(model, id=id_)
    names = set(usable)
    # An alias that is another model's name would never be heard.
    distinct = (
        evolve(each, aliases=tuple(a for a in each.aliases if a not in names)) for each in usable.values()
    )
    return Gathered(tuple(distinct), tuple(left_out))
