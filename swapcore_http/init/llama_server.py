"""Which model is served by a llama-server that somebody starts by hand?"""

import re
import shlex
from itertools import takewhile
from pathlib import Path

from swapcore_http.init.writing import Found

__all__ = ["ArgumentsError", "from_arguments"]

PORT_OPTIONS = frozenset({"--port", "--host"})
"""Options whose values are ours to choose."""

MODEL_OPTIONS = frozenset({"-m", "--model"})
NAME_OPTIONS = frozenset({"-a", "--alias"})
REPOSITORY_OPTIONS = frozenset({"-hf", "-hfr", "--hf-repo", "-mu", "--model-url"})
CONTEXT_OPTIONS = frozenset({"-c", "--ctx-size"})
TAKES_VALUE = PORT_OPTIONS | MODEL_OPTIONS | NAME_OPTIONS | REPOSITORY_OPTIONS | CONTEXT_OPTIONS

ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
"""What shells take for a variable of the command that follows."""

ENDING = re.compile(r"\.gguf$", re.IGNORECASE)
SHARD = re.compile(r"-\d{5}-of-\d{5}$")


class ArgumentsError(ValueError):
    """The arguments are not those of a llama-server with a model."""


def from_arguments(text: str) -> Found:
    """Make a model of a llama-server's command line, with or without the program itself.

    Its port becomes ours to choose, and it listens on loopback.

    Raises:
        ArgumentsError: they cannot be split into words, or name no model.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ArgumentsError(f"cannot be split into words: {error}") from None
    env = tuple(takewhile(ASSIGNMENT.match, words))
    words = words[len(env) :]
    program = "llama-server"
    if words and not words[0].startswith("-"):
        program = words.pop(0)
    given: dict[str, str] = {}
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in TAKES_VALUE:
            kept.append(word)
            continue
        if not equals:
            value = next(rest, "")
        given[option] = value
        if option not in PORT_OPTIONS:
            kept += [option, value]
    id_ = _name(given)
    context = next((given[option] for option in given if option in CONTEXT_OPTIONS), "")
    return Found(
        id_,
        (program, "--host", "127.0.0.1", "--port", "${PORT}", *kept),
        env=env,
        context=int(context) if context.isascii() and context.isdigit() else 0,
    )


def _name(given: dict[str, str]) -> str:
    """Say what the model is called, by its alias, its file, or where it is fetched from."""
    for options in (NAME_OPTIONS, MODEL_OPTIONS, REPOSITORY_OPTIONS):
        for option, value in given.items():
            if option in options and value:
                return name_of(value.partition(",")[0] if options is NAME_OPTIONS else value)
    raise ArgumentsError("names no model; expected --model FILE or --hf-repo REPOSITORY among them")


def name_of(path: str) -> str:
    """Make a model's name of a file's or a repository's."""
    name = SHARD.sub("", ENDING.sub("", Path(path).name))
    return name or path
