"""Which JSON Schema describes a configuration, for editors and other tools?

It is made from the classes, so it says what they say. It checks the shape of
a file: which keys may stand where, and of which kind and size their values
are. What depends on two places at once only `check` knows. Wherever a macro
may stand instead of a number or a truth value, it may stand in the schema.
"""

from typing import Any

import attrs

from swapcore_http.config.described import default_of, described
from swapcore_http.config.keys import EXTRA, FOR_PEOPLE
from swapcore_http.config.kinds import Kind, Shape, kinds_of
from swapcore_http.config.public_names import PeerConfig
from swapcore_http.config.routing import GroupConfig
from swapcore_http.config.scalars import NO, YES
from swapcore_http.config.schema import Settings
from swapcore_http.config.setting import Setting, settings_of

__all__ = ["json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MACRO = {"type": "string", "pattern": r"\$\{"}
"""A text with a macro in it: what it becomes can be of any kind."""

NULL = {"type": "null"}

TEXT = {"type": ["string", "number", "boolean"]}
"""A text; numbers and truth values are taken by their texts."""

FREE = {"type": "object"}

NULLABLE = (GroupConfig, PeerConfig)
"""Records that say nothing if they are null; other null records are errors."""

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Make the schema (draft 2020-12), as data that can be written as JSON."""
    definitions: dict[str, Schema] = {}
    root = _record(Settings, definitions)
    # An empty file is a configuration, and some keys are for people and anchors.
    root["type"] = ["object", "null"]
    root["patternProperties"] = {f"^{FOR_PEOPLE}": {}}
    return {
        "$schema": DIALECT,
        "title": "Configuration of swapcore-http",
        "description": "Which models there are, how they are served, and which may live together.",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _record(cls: type[attrs.AttrsInstance], definitions: dict[str, Schema]) -> Schema:
    """Describe the mapping in which the settings of a class stand."""
    root = _section()
    texts, kinds = described(cls), kinds_of(cls)
    for name, setting in settings_of(cls).items():
        schema = _setting(name, setting, kinds[name], definitions)
        schema["description"] = texts[name]
        default = default_of(cls, name)
        if default is not None:
            schema["default"] = default
        places = [setting.key, *(extra for extra in EXTRA.get(cls, ()) if extra.endswith(f".{setting.key}"))]
        for place in places:
            _put(root, place, schema)
        if setting.legacy:
            *parents, _ = setting.key.split(".")
            older = f"An older way to write {setting.key}."
            _put(
                root,
                ".".join([*parents, setting.legacy]),
                {**schema, "description": older, "deprecated": True},
            )
    return root


def _section() -> Schema:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _put(section: Schema, key: str, schema: Schema) -> None:
    """Put a setting where its key says; its dots lead into sections, which may be null."""
    *parents, last = key.split(".")
    for part in parents:
        section = section["properties"].setdefault(part, {**_section(), "type": ["object", "null"]})
    section["properties"][last] = schema


def _setting(
    name: str,
    setting: Setting,
    kind: Kind,
    definitions: dict[str, Schema],
) -> Schema:
    item = _one(setting, kind.of) if kind.shape in (Shape.ONE, Shape.LIST, Shape.TABLE) else {}
    match kind.shape:
        case Shape.ONE:
            choices = [item]
        case Shape.LIST:
            choices = [{"type": "array", "items": {"anyOf": [item, NULL]}}]
        case Shape.TABLE:
            # A name that is pinned to nothing is not to be had.
            values = {"anyOf": [item, NULL]} if name == "pins" else item
            choices = [{"type": "object", "additionalProperties": values}]
        case Shape.RECORD:
            choices = [_reference(kind.of, definitions)]
        case Shape.RECORDS:
            record = _reference(kind.of, definitions)
            each = {"anyOf": [record, NULL]} if kind.of in NULLABLE else record
            # `models` itself may be null, as all settings may.
            choices = [{"type": "object", "additionalProperties": each}]
        case Shape.RECORD_LIST:
            items = {"anyOf": [TEXT, _reference(kind.of, definitions), NULL]}
            choices = [{"type": "array", "items": items}]
        case Shape.FREE:
            choices = [FREE]
        case Shape.FREE_TABLES:
            choices = [{"type": "object", "additionalProperties": FREE}]
    if kind.words:
        choices.append({"enum": list(kind.words)})
    return {"anyOf": [*choices, NULL]}


def _reference(cls: type[attrs.AttrsInstance], definitions: dict[str, Schema]) -> Schema:
    name = cls.__name__.removesuffix("Config")
    if name not in definitions:
        # Taken before it is filled, should a record ever hold one of its kind.
        definitions[name] = {}
        definitions[name] |= _record(cls, definitions)
        first, *_ = (cls.__doc__ or "").split("\n")
        definitions[name]["description"] = first
    return {"$ref": f"#/$defs/{name}"}


def _one(setting: Setting, kind: Any) -> Schema:
    """Describe one text, number or truth value."""
    if kind is bool:
        return {"anyOf": [{"type": "boolean"}, {"enum": sorted(YES | NO)}, MACRO]}
    if kind is int or kind is float:
        number: Schema = {"type": "number"}
        if setting.minimum is not None:
            number["minimum"] = setting.minimum
        if setting.maximum is not None:
            number["maximum"] = setting.maximum
        return {"anyOf": [number, MACRO]}
    if setting.choices:
        return {"anyOf": [{"enum": ["", *setting.choices]}, MACRO]}
    return dict(TEXT)
