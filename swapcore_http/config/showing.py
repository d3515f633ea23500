"""How is a configuration shown to people, all of it and without its secrets?"""

import math
from collections.abc import Mapping
from typing import Any

import attrs

from swapcore_http.config.config import Config
from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.problems import masked
from swapcore_http.config.setting import Setting, settings_of

__all__ = ["shown"]

HIDDEN = "***"
"""What is shown of a secret."""


def shown(config: Config) -> dict[str, Any]:
    """Return what holds, defaults included, as plain data by the keys of YAML.

    Of secrets, of the values of environments, and of what looks like a
    credential in a command or an address, nothing is shown.
    """
    return _record(config)


def _record(record: attrs.AttrsInstance) -> dict[str, Any]:
    result: dict[str, Any] = {}
    settings = settings_of(type(record))
    for name, kind in kinds_of(type(record)).items():
        *sections, key = settings[name].key.split(".")
        parent = result
        for section in sections:
            parent = parent.setdefault(section, {})
        parent[key] = _value(getattr(record, name), kind.shape, settings[name])
    return result


def _value(value: Any, shape: Shape, setting: Setting) -> Any:
    match shape:
        case _ if value is None:
            return None
        case Shape.RECORD:
            return _record(value)
        case Shape.RECORDS:
            return {name: _record(item) for name, item in value.items()}
        case Shape.RECORD_LIST:
            return [_record(item) for item in value]
        case _ if setting.secret:
            return _hidden(value)
        case _:
            return _plain(value)


def _hidden(value: Any) -> Any:
    """Keep of a secret what it is called, and whether there is one."""
    if isinstance(value, (tuple, list)):
        return [_hidden(item) for item in value]
    if not value:
        return value
    name, equals, _ = str(value).partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        # What a value is may show in its key alone.
        return {
            name: masked(f"{name}: {item}")[len(f"{name}: ") :] if isinstance(item, str) else _plain(item)
            for name, item in value.items()
        }
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no such number, and this is how YAML writes it.
        return ".inf" if value > 0 else "-.inf"
    return value
