"""What does a first configuration look like?

It is text with comments, for people to go on from. What could not be said in
it is left out, and said in a comment instead.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from attrs import frozen

__all__ = ["Found", "configuration", "write_new"]

PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9 /._+,=@${}\"'\\()-]*")
"""Texts that mean themselves in YAML without quotes, if no space stands at their end."""

NUMBERLIKE = re.compile(r"[0-9][0-9_.:eExobXOB+-]*")
WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})

HEAD = """\
# A configuration for swapcore-http, made by `swapcore-http init`.
#
#   swapcore-http check --config {path}    says what is wrong with it
#   swapcore-http serve --config {path}    serves it on http://127.0.0.1:8080
#
# `swapcore-http schema --markdown` lists all keys.

# Seconds an upstream may take to become ready.
healthCheckTimeout: 300

# Seconds after which a model that nobody uses is stopped; 0 is never.
globalTTL: 0
"""

SAMPLE = """
models:
  # The name that callers ask for. Further models stand below it in the same
  # way; one of them is up at a time, unless groups or a matrix say otherwise.
  my-model:
    # What serves it, in the foreground. ${PORT} is a port that is chosen here.
    cmd: llama-server --host 127.0.0.1 --port ${PORT} --model /path/to/model.gguf
    # Other names for it.
    # aliases: [gpt-4o-mini]
    # Seconds after which it is stopped if nobody uses it.
    # ttl: 600
"""

TAIL = """
# One model is up at a time. If some fit together, say which:
#
# matrix:
#   sets:
#     together: {together}
"""


@frozen
class Found:
    """A model that was found, and how it is served."""

    id: str
    """What callers will ask for."""

    argv: tuple[str, ...]
    """The words of the command that serves it. `${PORT}` in them is the macro."""

    notes: tuple[str, ...] = ()
    """What people should know about it."""

    aliases: tuple[str, ...] = ()
    """Other names that callers may use."""

    env: tuple[str, ...] = ()
    """What is set in its environment, as `NAME=value`."""

    context: int = 0
    """How many tokens fit into the context that it is served with; 0 if unknown."""


def configuration(models: Iterable[Found], path: str, *, left_out: Iterable[str] = ()) -> str:
    """Write the text of a configuration with these models, or with a sample if there are none.

    Args:
        models: What was found.
        path: Where the text will stand.
        left_out: What could not be used, a sentence for each.
    """
    text = HEAD.replace("{path}", shlex.quote(path))
    for sentence in left_out:
        text += f"\n# Left out: {_comment(sentence)}"
    written = list(models)
    if not written:
        return text + SAMPLE
    text += "\nmodels:\n" + "\n".join(_model(model) for model in written)
    names = [each.id for each in written if re.fullmatch(r"[A-Za-z0-9.-]{1,32}", each.id)][:2]
    if len(names) == len(written[:2]) > 1:
        text += TAIL.replace("{together}", " & ".join(names))
    return text


def _model(model: Found) -> str:
    lines = [f"  {_scalar(model.id)}:"]
    lines += [f"    # {_comment(note)}" for note in model.notes]
    lines.append(f"    cmd: {_scalar(' '.join(map(_word, model.argv)))}")
    if model.aliases:
        lines.append(f"    aliases: [{', '.join(map(_quoted, model.aliases))}]")
    if model.env:
        lines.append(f"    env: [{', '.join(map(_quoted, model.env))}]")
    if model.context:
        lines.append(f"    capabilities: {{context: {model.context}}}")
    return "\n".join(lines) + "\n"


def _word(word: str) -> str:
    """Quote a word of a command, but not the macro in it."""
    if word == "${PORT}":
        return word
    # Within a command, a line that begins with a # is a comment, and one that ends with a backslash goes on.
    return shlex.quote(word).replace("\n", "''\n''")


def _scalar(text: str) -> str:
    """Write a text such that YAML reads it as itself."""
    plain = PLAIN.fullmatch(text) and not NUMBERLIKE.fullmatch(text) and text.lower() not in WORDS
    return text if plain and text == text.strip() else _quoted(text)


def _quoted(text: str) -> str:
    """Write a text in quotes. JSON's are YAML's too, but for what cannot be printed."""
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in escaped)


def _comment(text: str) -> str:
    """Keep a text on its line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def write_new(path: Path, text: str, *, force: bool) -> None:
    """Write a file as a whole or not at all.

    Raises:
        FileExistsError: it exists, and `force` is not set; it is left as it is.
        OSError: it cannot be written.
    """
    if not force and path.exists():
        raise FileExistsError(f"{path} exists already; --force replaces it")
    # A text is never seen half written, and one that cannot be written replaces none.
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            _put(file.name, path, force=force)
        finally:
            with suppress(FileNotFoundError):
                Path(file.name).unlink()


def _put(name: str, path: Path, *, force: bool) -> None:
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)
    if force:
        Path(name).replace(path)
        return
    try:
        # Unlike a rename this fails if somebody has written one meanwhile.
        os.link(name, path)
    except FileExistsError:
        raise FileExistsError(f"{path} exists already; --force replaces it") from None
