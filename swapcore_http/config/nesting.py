"""How do the values of a record stand below its keys, as plain data that YAML and JSON have?"""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.setting import settings_of

__all__ = ["default_value", "nested", "plain_value"]


def nested(cls: type[attrs.AttrsInstance], values: Mapping[str, Any]) -> dict[str, Any]:
    """Put plain values, by the names of fields, where the keys of these fields lead to."""
    result: dict[str, Any] = {}
    settings = settings_of(cls)
    for name, value in values.items():
        *sections, key = settings[name].key.split(".")
        parent = result
        for section in sections:
            parent = parent.setdefault(section, {})
        parent[key] = value
    return result


def plain_value(record: attrs.AttrsInstance, name: str, value: Any, inner: Callable[[Any], Any]) -> Any:
    """Return a value of a field as plain data; `inner` does that for each record in it."""
    match kinds_of(type(record))[name].shape:
        case Shape.RECORD:
            return inner(value)
        case Shape.RECORDS:
            return {key: inner(item) for key, item in value.items()}
        case Shape.RECORD_LIST:
            return [inner(item) for item in value]
        case _:
            return _plain(value)


def default_value(cls: type[attrs.AttrsInstance], name: str) -> Any:
    """Return what a field is unless it is given."""
    default = attrs.fields_dict(cls)[name].default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # attrs types it as a function.
        return default.factory()  # type: ignore[union-attr] # Likewise.
    return default


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
