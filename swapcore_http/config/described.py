"""What do the classes say of their settings: in words, and by default?

The first sentence of a field's docstring is for whoever writes YAML; what
follows it is for whoever writes Python.
"""

import ast
import inspect
import math
import re
import textwrap
from functools import cache
from typing import Any

import attrs

from swapcore_http.config.nesting import default_value
from swapcore_http.config.setting import settings_of

__all__ = ["default_of", "described"]

END_OF_SENTENCE = re.compile(r"\.(?=\s|$)")
PYTHON_NAME = re.compile(r"`([a-z]+_[a-z_]+)`")
FROM_START = " Another value waits for the server's next start."
NONE_FOR = re.compile(r"\bNone for\b")


def described(cls: type[attrs.AttrsInstance]) -> dict[str, str]:
    """Find what a class says of its settings, a sentence for each, by the names of the fields."""
    settings = settings_of(cls)
    keys = {name: setting.key for name, setting in settings.items()}
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if attrs.has(base):
            texts |= _docstrings(base)

    def in_yaml(text: str) -> str:
        text = PYTHON_NAME.sub(lambda match: f"`{keys.get(match[1], match[1])}`", text)
        return NONE_FOR.sub("unless written,", text)

    return {
        name: in_yaml(_first_sentence(texts[name])) + (FROM_START if setting.from_start else "")
        for name, setting in settings.items()
    }


@cache
def _docstrings(cls: type) -> dict[str, str]:
    """Read the texts that stand below the fields of a class; Python itself forgets them."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - it is the source of a class.
    found: dict[str, str] = {}
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        match node, following:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
            case _:
                pass
    return found


def _first_sentence(text: str) -> str:
    flat = " ".join(text.split())
    end = END_OF_SENTENCE.search(flat)
    return flat if end is None else flat[: end.end()]


def default_of(cls: type[attrs.AttrsInstance], name: str) -> Any:
    """Say what a setting is unless it is written, as YAML has it; None if that is not one value."""
    default = default_value(cls, name)
    if attrs.has(type(default)) or (isinstance(default, float) and not math.isfinite(default)):
        return None
    if isinstance(default, tuple):
        return list(default)
    if isinstance(default, float) and default.is_integer():
        return int(default)
    return default if isinstance(default, (bool, int, float, str)) else None
