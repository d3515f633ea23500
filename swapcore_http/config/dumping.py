"""How is a configuration written as YAML, so that reading it gives the same one?"""

import io
import math
from collections.abc import Mapping
from typing import Any

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from swapcore_http.config.config import Config
from swapcore_http.config.nesting import default_value, nested, plain_value
from swapcore_http.config.scalars import resolve
from swapcore_http.config.setting import settings_of

__all__ = ["as_yaml", "dumps", "plain_settings"]

WIDE = 1 << 30
"""Lines are as long as they have to be: a folded command would be hard to read."""


def dumps(config: Config) -> str:
    """Write all that is not as it is unless written.

    Macros are written as they were declared, and what was expanded stays so.
    The numbers of ports are not written, because they are counted.
    """
    return as_yaml(plain_settings(config))


def as_yaml(data: Mapping[str, Any]) -> str:
    """Write plain data for a reader of configurations."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment] # ruamel hints at its default only.
    yaml.width = WIDE
    yaml.allow_unicode = True
    yaml.Representer = Representer
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def plain_settings(config: Config) -> dict[str, Any]:
    """Return the same as plain data, as YAML and JSON have it."""
    data = _record(config, {"models": config.as_written})
    router = data.get("routing", {}).get("router")
    if router is not None:
        # Once this is written, groups and matrix must stand below it.
        router["settings"] = {key: data.pop(key) for key in ("groups", "matrix") if key in data}
    return data


class Representer(SafeRepresenter):
    """Writes plain data for a reader of which some words and numbers are another's texts."""


def _text(representer: Any, text: str) -> ScalarNode:
    if "\n" in text and _is_block(text):
        style = "|"
    elif text.isprintable() and resolve(text) is text and text != "<<":
        style = None
    else:
        style = '"'
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)  # type: ignore[no-any-return] # ruamel is untyped here.


def _is_block(text: str) -> bool:
    lines = text.split("\n")
    return all(line.isprintable() and line == line.rstrip() for line in lines) and text[:1] not in (" ", "\n")


def _number(representer: Any, number: float) -> ScalarNode:
    text = (".inf" if number > 0 else "-.inf") if math.isinf(number) else repr(number)
    return representer.represent_scalar("tag:yaml.org,2002:float", text)  # type: ignore[no-any-return] # Likewise.


Representer.add_representer(str, _text)
Representer.add_representer(float, _number)


def _record(record: attrs.AttrsInstance, instead: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Collect what a record says that is not its default, by its keys."""
    values: dict[str, Any] = {}
    for name in settings_of(type(record)):
        value = (instead or {}).get(name, getattr(record, name))
        if value != default_value(type(record), name):
            values[name] = plain_value(record, name, value, _record)
    return nested(type(record), values)
