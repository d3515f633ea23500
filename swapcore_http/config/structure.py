"""How does plain data become settings, and everything that is wrong with it findings?

cattrs checks the types, all at once; what it refuses is taken out of the data
and counts as not written, so that the rules can be asked about the rest.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from swapcore_http.config import scalars
from swapcore_http.config.keys import Report, pick
from swapcore_http.config.macros import MODEL_ID, PORT, leftovers
from swapcore_http.config.names import Names
from swapcore_http.config.problems import Finding, Path, Severity, describe
from swapcore_http.config.routing import CollationConfig, GroupConfig, MatrixConfig
from swapcore_http.config.routing_rules import NAMES
from swapcore_http.config.rules import findings
from swapcore_http.config.schema import ModelConfig, Settings
from swapcore_http.config.setting import Setting, settings_of
from swapcore_http.config.spelling import GROUPS, MATRIX, as_spelled, settle_spelling

__all__ = ["settings_from"]

MODELS = "models"
COLLATION = "routing.scheduler.settings.collation"
PRELOAD = "hooks.on_startup.preload"

MANY: dict[str, tuple[type[attrs.AttrsInstance], str, str]] = {
    MODELS: (ModelConfig, "id", "the model's settings, at least cmd"),
    GROUPS: (GroupConfig, "name", "the group's settings, such as members"),
}
"""Sections that hold records by their names: the class, its attribute for the name, and what is expected."""

ONE: dict[str, type[attrs.AttrsInstance]] = {MATRIX: MatrixConfig, COLLATION: CollationConfig}
"""Sections that are a record."""

Refuse = Callable[[Path, str], None]
Value = TypeVar("Value")


def settings_from(data: Mapping[str, object], report: Report) -> Settings:
    """Make settings of plain data and report all that is wrong with it.

    What is returned is of use only if nothing reported is an error.
    """
    picked = pick(data, Settings, (), report)
    moved = settle_spelling(picked, report)
    refused: set[Path] = set()

    def tell(finding: Finding) -> None:
        report(attrs.evolve(finding, path=as_spelled(finding.path, moved)))

    def refuse(path: Path, message: str) -> None:
        refused.add(path)
        if path[0] == MATRIX or (path[0] == MODELS and (len(path) <= 2 or path[2] == "aliases")):  # noqa: PLR2004 - the path of a model.
            refused.add(NAMES)
        tell(Finding(path, message))

    _pick_records(picked, refuse, tell)
    settings = _structure(picked, refuse)
    settings = attrs.evolve(settings, log_level=settings.log_level.strip().lower())
    settings = _with_known_preload(settings, picked, tell)
    for finding in findings(settings):
        drawn_from = (finding.path, *finding.about)
        if not any(path[:end] in refused for path in drawn_from for end in range(1, len(path) + 1)):
            tell(attrs.evolve(finding, path=_as_written(finding.path, picked)))
    return settings


def _pick_records(picked: dict[str, Any], refuse: Refuse, report: Report) -> None:
    """Have nothing but known settings where records are written."""
    _warn_of_fractions(picked, Settings, (), report)
    picked.setdefault(MODELS, {})
    for section, (cls, name_of, expected) in MANY.items():
        if section not in picked:
            continue
        records = picked[section]
        if not isinstance(records, dict):
            refuse((section,), f"{describe(records)} is not a mapping; expected {section} by their names")
            records = {}
        picked[section] = {}
        for name, record in records.items():
            path = (section, name)
            if record is None and section == GROUPS:
                # Without members its defaults make no difference to those that llama-swap gives it.
                picked[section][name] = {name_of: name}
            elif isinstance(record, dict):
                picked[section][name] = {**pick(record, cls, path, report), name_of: name}
                _warn_of_fractions(picked[section][name], cls, path, report)
            else:
                refuse(path, f"{describe(record)} is not a mapping; expected {expected}")
    for section, cls in ONE.items():
        record = picked.get(section)
        if isinstance(record, dict):
            picked[section] = pick(record, cls, tuple(section.split(".")), report)
        elif record is not None:
            keys = ", ".join(setting.key for setting in settings_of(cls).values())
            refuse(
                tuple(section.split(".")), f"{describe(record)} is not a mapping; expected one with {keys}"
            )
            del picked[section]


def _warn_of_fractions(
    picked: dict[str, object], cls: type[attrs.AttrsInstance], path: Path, report: Report
) -> None:
    """Say where a fraction is cut off: half a second would become none at all, which may mean for ever."""
    kinds = {each.name: each.type for each in attrs.fields(cls)}
    for name, setting in settings_of(cls).items():
        where = (*path, *setting.key.split("."))
        value = picked.get(setting.key)
        if kinds[name] in (int, int | None):
            _warn_of_fraction(value, where, setting, report)
        elif kinds[name] == Mapping[str, int] and isinstance(value, dict):
            for key, item in value.items():
                _warn_of_fraction(item, (*where, key), setting, report)


def _warn_of_fraction(value: object, where: Path, setting: Setting, report: Report) -> None:
    if isinstance(value, float) and math.isfinite(value % 1) and value % 1:
        what = f"{describe(value)} is cut to {int(value)}; expected {setting.expected}"
        report(Finding(where, what, Severity.WARNING))


def _structure(picked: dict[str, Any], refuse: Refuse) -> Settings:
    while True:
        try:
            return CONVERTER.structure(picked, Settings)
        except cattrs.ClassValidationError as error:
            # The next round has less to refuse: each of these values is gone by then.
            for keys, message in _leaves(error, ()):
                _take_out(picked, keys)
                refuse(_path(keys), message)


def _leaves(error: BaseException, keys: Path) -> list[tuple[Path, str]]:
    """Flatten cattrs' groups of errors into where and what."""
    if isinstance(error, cattrs.BaseValidationError):
        return [
            leaf for inner in error.exceptions for leaf in _leaves(inner, (*keys, *_step(inner, error.cl)))
        ]
    if isinstance(error, scalars.ReadingError):
        return [(keys, str(error))]
    raise error


def _step(error: BaseException, cls: type) -> Path:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            setting = settings_of(cls).get(note.name)
            return (note.name if setting is None else setting.key,)
        if isinstance(note, cattrs.IterableValidationNote):
            return (note.index,)
    return ()


def _take_out(picked: Any, keys: Path) -> None:
    """Remove a value; in a list it becomes null, so that the others keep their places."""
    *parents, last = keys
    for key in parents:
        picked = picked[key]
    if isinstance(last, int):
        picked[last] = None
    else:
        del picked[last]


def _path(keys: Path) -> Path:
    """Undo the dots in the keys of settings; those in the names of models stay."""
    is_model = keys[0] == MODELS
    return tuple(
        part
        for depth, key in enumerate(keys)
        for part in (key.split(".") if isinstance(key, str) and depth == (2 if is_model else 0) else [key])
    )


def _as_written(path: Path, picked: Any) -> Path:
    """Undo that nulls were left out of a list, so that an index is the one in the file."""
    *parents, last = path
    if not isinstance(last, int):
        return path
    if path[0] in MANY:
        section, name, *parents = parents
        picked = picked[section][name]
    written = picked[".".join(map(str, parents))]
    places = [place for place, value in enumerate(written) if value is not None]
    return (*path[:-1], places[last])


def _with_known_preload(settings: Settings, picked: dict[str, Any], report: Report) -> Settings:
    """Leave out what no model is called: a name to preload may belong to a model that is gone."""
    names = Names(settings.models)
    known: list[str] = []
    for index, written in enumerate(settings.preload):
        name = written.strip()
        if names.resolve(name) is not None:
            known.append(name)
        elif name:
            path = _as_written((*PRELOAD.split("."), index), picked)
            report(Finding(path, f"{names.unknown(name)}, ignored", Severity.WARNING))
    return attrs.evolve(settings, preload=tuple(known))


READERS: dict[Any, Callable[..., object]] = {
    bool: scalars.as_truth,
    float: scalars.as_number,
    float | None: scalars.as_number,
    int: scalars.as_whole,
    int | None: scalars.as_whole,
    str: scalars.as_text,
}
TABLES: dict[Any, Callable[..., object]] = {
    Mapping[str, float]: scalars.as_number,
    Mapping[str, int]: scalars.as_whole,
    Mapping[str, str]: scalars.as_text,
}


def _reader(cls: type, setting: Setting, kind: Any) -> Callable[[Any, Any], object]:
    """Make the hook by which cattrs reads one field."""
    in_model = cls is ModelConfig

    def read(value: object, expected: str, reader: Callable[..., object]) -> object:
        # In a model the rules look for macros in texts; a number that should be one is met here alone.
        if isinstance(value, str) and not (in_model and reader is scalars.as_text):
            for message in leftovers(value, (PORT, MODEL_ID) if in_model else (), in_model=in_model):
                raise scalars.ReadingError(message)
        return reader(value, expected, secret=setting.secret)

    def read_one(value: object, _: object) -> object:
        return read(value, setting.expected, READERS[kind])

    def read_list(value: object, _: object) -> object:
        items = scalars.as_list(value, setting.expected, secret=setting.secret)
        expected = f"{setting.expected}, each a text"
        written = ((index, item) for index, item in enumerate(items) if item is not None)
        return tuple(_read_each(written, lambda item: read(item, expected, scalars.as_text)).values())

    def read_table(value: object, _: object) -> object:
        items = scalars.as_table(value, setting.expected, secret=setting.secret)
        return _read_each(items.items(), lambda item: read(item, setting.expected, TABLES[kind]))

    return read_one if kind in READERS else read_table if kind in TABLES else read_list


def _read_each(items: Iterable[tuple[Any, object]], read: Callable[[object], Value]) -> dict[Any, Value]:
    """Read the items of a list or a mapping, and raise for all together that cannot be read."""
    done: dict[Any, Value] = {}
    errors: list[Exception] = []
    for key, item in items:
        try:
            done[key] = read(item)
        except (scalars.ReadingError, cattrs.BaseValidationError) as error:
            error.add_note(cattrs.IterableValidationNote("", key, object))
            errors.append(error)
    if errors:
        raise cattrs.IterableValidationError("", errors, dict)
    return done


ONE_OF: dict[Any, type[attrs.AttrsInstance]] = {
    MatrixConfig | None: MatrixConfig,
    CollationConfig: CollationConfig,
}
MANY_OF: dict[Any, type[attrs.AttrsInstance]] = {
    Mapping[str, ModelConfig]: ModelConfig,
    Mapping[str, GroupConfig]: GroupConfig,
}


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)

    def hook(cls: type[attrs.AttrsInstance], setting: Setting, kind: Any) -> Callable[[Any, Any], object]:
        if kind in ONE_OF:
            return lambda value, _: converter.structure(value, ONE_OF[kind])
        if kind in MANY_OF:
            return lambda value, _: _read_each(
                value.items(), lambda item: converter.structure(item, MANY_OF[kind])
            )
        return _reader(cls, setting, kind)

    classes: tuple[Any, ...] = (Settings, *ONE_OF.values(), *MANY_OF.values())
    for cls in classes:
        kinds = {each.name: each.type for each in attrs.fields(cls)}
        overrides: dict[str, Any] = {
            name: override(rename=setting.key, struct_hook=hook(cls, setting, kinds[name]))
            for name, setting in settings_of(cls).items()
        }
        # The number of a port is not written but counted.
        overrides["port"] = override(omit=True)
        converter.register_structure_hook(cls, make_dict_structure_fn(cls, converter, **overrides))
    return converter


CONVERTER = _converter()
