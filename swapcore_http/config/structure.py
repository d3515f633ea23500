"""How does plain data become settings, and everything that is wrong with it findings?

cattrs checks the types, all at once; what it refuses is taken out of the data
and counts as not written, so that the rules can be asked about the rest.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import attrs
import cattrs
from attrs import frozen

from swapcore_http.config import scalars
from swapcore_http.config.keys import Report, pick
from swapcore_http.config.kinds import Kind, Shape, kinds_of
from swapcore_http.config.names import Names
from swapcore_http.config.problems import Finding, Path, Severity, describe
from swapcore_http.config.public_names import PeerConfig
from swapcore_http.config.routing import GroupConfig
from swapcore_http.config.routing_rules import NAMES
from swapcore_http.config.rules import findings
from swapcore_http.config.schema import Settings
from swapcore_http.config.setting import Setting, settings_of
from swapcore_http.config.spelling import MATRIX, as_spelled, settle_spelling

__all__ = ["settings_from"]

MODELS = "models"
PRELOAD = "hooks.on_startup.preload"

MOST_RECORDS = 5000
"""Models, or groups and the like, that a configuration may have: reading each of them takes time."""

Refuse = Callable[[Path, str], None]
Value = TypeVar("Value")


@frozen(eq=False, repr=False)
class Ears:
    """Who is told of what is found."""

    refuse: Refuse
    """Hears of values that count as not written."""

    report: Report
    """Hears of all else."""


class Key(str):
    """The key of a setting, whose dots lead into nested mappings."""

    __slots__ = ()


def settings_from(data: Mapping[str, object], report: Report, refused: set[Path]) -> Settings:
    """Make settings of plain data and report all that is wrong with it.

    What is returned is of use only if nothing reported is an error.

    Args:
        data: The data, without what was found to be wrong already.
        report: Takes what is wrong.
        refused: Where that was wrong; what is drawn from it is not looked at.
    """
    moved: frozenset[str] = frozenset()
    if any(_is_about_names(path) for path in refused):
        refused.add(NAMES)

    def tell(finding: Finding) -> None:
        report(attrs.evolve(finding, path=as_spelled(finding.path, moved)))

    def refuse(path: Path, message: str) -> None:
        refused.add(path)
        if _is_about_names(path):
            refused.add(NAMES)
        tell(Finding(path, message))

    picked = pick(data, Settings, (), report)
    moved = settle_spelling(picked, report)
    picked.setdefault(MODELS, {})
    _pick_inside(picked, Settings, (), Ears(refuse, tell))
    settings = _structure(picked, refuse)
    settings = attrs.evolve(
        settings,
        log_level=settings.log_level.strip().lower(),
        log_time_format=settings.log_time_format.strip().lower(),
    )
    settings = _with_known_preload(settings, picked, tell)
    for finding in findings(settings):
        drawn_from = (finding.path, *finding.about)
        spoiled = any(path[:end] in refused for path in drawn_from for end in range(1, len(path) + 1))
        if finding.of_parts:
            length = len(finding.path)
            spoiled |= any(path[:length] == finding.path for path in refused)
        if not spoiled:
            tell(attrs.evolve(finding, path=_as_written(finding.path, picked)))
    return settings


def _is_about_names(path: Path) -> bool:
    in_model = len(path) > 2 and path[0] == MODELS  # noqa: PLR2004 - the path of a model.
    return path[0] in (MATRIX, MODELS) and not (in_model and path[2] not in ("aliases", "filters"))


def _pick_inside(picked: dict[str, Any], cls: type[attrs.AttrsInstance], path: Path, ears: Ears) -> None:
    """Have nothing but known settings where records are written, and say where fractions are cut off."""
    settings = settings_of(cls)
    for name, kind in kinds_of(cls).items():
        setting = settings[name]
        if setting.key not in picked:
            continue
        where = (*path, *setting.key.split("."))
        value = picked[setting.key]
        if kind.shape is Shape.RECORD:
            if isinstance(value, dict):
                picked[setting.key] = _picked(value, kind.of, where, ears)
            else:
                keys = ", ".join(each.key for each in settings_of(kind.of).values())
                ears.refuse(where, f"{describe(value)} is not a mapping; expected one with {keys}")
                del picked[setting.key]
        elif kind.shape is Shape.RECORDS:
            picked[setting.key] = _pick_records(value, kind.of, where, setting, ears)
        elif kind.shape is Shape.RECORD_LIST and isinstance(value, list):
            picked[setting.key] = [
                _picked(item, kind.of, (*where, index), ears) if isinstance(item, dict) else item
                for index, item in enumerate(value)
            ]
        elif kind.of is int and isinstance(value, dict):
            for key, item in value.items():
                _warn_of_fraction(item, (*where, key), setting, ears.report)
        elif kind.of is int:
            _warn_of_fraction(value, where, setting, ears.report)


def _picked(value: dict[str, Any], cls: type[attrs.AttrsInstance], path: Path, ears: Ears) -> dict[str, Any]:
    picked = pick(value, cls, path, ears.report)
    _pick_inside(picked, cls, path, ears)
    return picked


def _pick_records(
    value: object,
    cls: type[attrs.AttrsInstance],
    path: Path,
    setting: Setting,
    ears: Ears,
) -> dict[str, Any]:
    if not isinstance(value, dict):
        ears.refuse(path, f"{describe(value)} is not a mapping; expected {setting.expected}")
        return {}
    if len(value) > MOST_RECORDS:
        ears.refuse(path, f"there are {len(value)}; expected at most {MOST_RECORDS}")
        return {}
    records: dict[str, Any] = {}
    for name, record in value.items():
        where = (*path, name)
        if record is None and cls is GroupConfig:
            # Without members its defaults make no difference to those that llama-swap gives it.
            records[name] = {CALLED: name}
        elif record is None and cls is PeerConfig:
            ears.report(
                Finding(where, "is null, and so offers no models; ignored", Severity.WARNING, at_key=True)
            )
        elif isinstance(record, dict):
            # What it is called may be the name of one of its settings as well.
            records[name] = _picked(record, cls, where, ears) | {CALLED: name}
        else:
            ears.refuse(where, f"{describe(record)} is not a mapping; expected {setting.each}")
    return records


def _warn_of_fraction(value: object, where: Path, setting: Setting, report: Report) -> None:
    """Say that a fraction is cut off: half a second would become none at all, which may mean for ever."""
    if isinstance(value, float) and math.isfinite(value % 1) and value % 1:
        what = f"{describe(value)} is cut to {int(value)}; expected {setting.expected}"
        report(Finding(where, what, Severity.WARNING))


def _structure(picked: dict[str, Any], refuse: Refuse) -> Settings:
    while True:
        try:
            return _converter().structure(picked, Settings)
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
            return (Key(settings_of(cls)[note.name].key),)
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
    return tuple(part for key in keys for part in (key.split(".") if isinstance(key, Key) else [key]))


def _as_written(path: Path, picked: Any) -> Path:
    """Undo that nulls were left out of a list, so that an index is the one in the file."""
    start = 0
    for place, part in enumerate(path):
        if isinstance(picked, list) and isinstance(part, int):
            places = [index for index, value in enumerate(picked) if value is not None]
            path = (*path[:place], places[part], *path[place + 1 :])
            picked, start = picked[places[part]], place + 1
        elif isinstance(picked, dict):
            key = ".".join(map(str, path[start : place + 1]))
            if key in picked:
                picked, start = picked[key], place + 1
        else:
            break
    return path


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
    int: scalars.as_whole,
    str: scalars.as_text,
    object: scalars.as_scalar,
}


def _reader(setting: Setting, kind: Kind) -> Callable[[Any], object]:
    """Make what reads one field that holds no record."""

    def read_one(value: object) -> object:
        return READERS[kind.of](value, setting.expected, secret=setting.secret)

    def read_list(value: object) -> object:
        if isinstance(value, str) and value in kind.words:
            return value
        items = scalars.as_list(value, setting.expected, secret=setting.secret)
        expected = f"{setting.expected}, each a text"
        written = ((index, item) for index, item in enumerate(items) if item is not None)
        return tuple(
            _read_each(written, lambda item: scalars.as_text(item, expected, secret=setting.secret)).values()
        )

    def read_table(value: object) -> object:
        items = scalars.as_table(value, setting.expected, secret=setting.secret)
        optional = kind.of is str and setting.key == "pins"
        entries = ((name, "" if optional and item is None else item) for name, item in items.items())
        return _read_each(
            entries, lambda item: READERS[kind.of](item, setting.expected, secret=setting.secret)
        )

    def read_free(value: object) -> object:
        return scalars.as_free(scalars.as_table(value, setting.expected), setting.expected)

    def read_free_tables(value: object) -> object:
        items = scalars.as_table(value, setting.expected)
        expected = f"{setting.expected}"
        return _read_each(
            items.items(), lambda item: scalars.as_free(scalars.as_table(item, expected), expected)
        )

    return {
        Shape.ONE: read_one,
        Shape.LIST: read_list,
        Shape.TABLE: read_table,
        Shape.FREE: read_free,
        Shape.FREE_TABLES: read_free_tables,
    }[kind.shape]


def _read_each(items: Iterable[tuple[Any, object]], read: Callable[[Any], Value]) -> dict[Any, Value]:
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


CALLED = "called"
"""Under which key the data of a record holds its name. No setting is written so."""


@cache
def _converter() -> cattrs.BaseConverter:
    """Make what reads records. How it reads those of a class it works out when it meets the first of them."""
    converter = cattrs.BaseConverter(detailed_validation=True)

    def reader(setting: Setting, kind: Kind) -> Callable[[Any], object]:
        def read_records(value: Any) -> object:
            return _read_each(value.items(), lambda item: converter.structure(item, kind.of))

        def read_record_list(value: object) -> object:
            items = scalars.as_list(value, setting.expected, secret=setting.secret)
            written = ((index, item) for index, item in enumerate(items) if item is not None)
            return tuple(_read_each(written, read_item).values())

        def read_item(item: object) -> object:
            if isinstance(item, dict):
                return converter.structure(item, kind.of)
            return kind.of(scalars.as_text(item, setting.expected, secret=setting.secret))

        match kind.shape:
            case Shape.RECORD:
                return lambda value: converter.structure(value, kind.of)
            case Shape.RECORDS:
                return read_records
            case Shape.RECORD_LIST:
                return read_record_list
            case _:
                return _reader(setting, kind)

    def reading(cls: type[attrs.AttrsInstance]) -> Callable[[Any, Any], object]:
        settings, kinds = settings_of(cls), kinds_of(cls)
        readers = {name: (setting.key, reader(setting, kinds[name])) for name, setting in settings.items()}
        first = attrs.fields(cls)[0].name
        # What else there is, such as the number of a port, is not written but counted.
        named = first not in settings

        # cattrs would write this as code and compile it, which takes longer than to read most configurations.
        def read(data: Mapping[str, Any], _: object) -> object:
            values: dict[str, object] = {first: data[CALLED]} if named else {}
            errors: list[Exception] = []
            for name, (key, read_value) in readers.items():
                if key in data:
                    try:
                        values[name] = read_value(data[key])
                    except (scalars.ReadingError, cattrs.BaseValidationError) as error:
                        error.add_note(cattrs.AttributeValidationNote("", name, object))
                        errors.append(error)
            if errors:
                raise cattrs.ClassValidationError("", errors, cls)
            return cls(**values)

        return read

    converter.register_structure_hook_factory(attrs.has, reading)
    return converter
