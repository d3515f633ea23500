"""How does plain data become settings, and everything that is wrong with it findings?

cattrs checks the types, all at once; what it refuses is taken out of the data
and counts as not written, so that the rules can be asked about the rest.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from swapcore_http.config import scalars
from swapcore_http.config.keys import Report, pick
from swapcore_http.config.macros import MODEL_ID, PORT, leftovers
from swapcore_http.config.problems import Finding, Path, Severity, describe, nearest
from swapcore_http.config.rules import Names, findings
from swapcore_http.config.schema import ModelConfig, Setting, Settings, settings_of

__all__ = ["settings_from"]

MODELS = "models"
PRELOAD = "hooks.on_startup.preload"

MOST_SUGGESTIONS = 50
"""Unknown names for which the right one is sought; that takes time."""


def settings_from(data: Mapping[str, object], report: Report) -> Settings:
    """Make settings of plain data and report all that is wrong with it.

    What is returned is of use only if nothing reported is an error.
    """
    picked = pick(data, Settings, (), report)
    refused: set[Path] = set()

    def refuse(path: Path, message: str) -> None:
        refused.add(path)
        report(Finding(path, message))

    picked[MODELS] = models = _pick_models(picked.get(MODELS), refuse, report)
    _warn_of_fractions(picked, Settings, (), report)
    for name, model in models.items():
        _warn_of_fractions(model, ModelConfig, (MODELS, name), report)
    settings = _structure(picked, refuse)
    settings = attrs.evolve(settings, log_level=settings.log_level.strip().lower())
    settings = _with_known_preload(settings, picked, report)
    for finding in findings(settings):
        drawn_from = (finding.path, *finding.about)
        if not any(path[:end] in refused for path in drawn_from for end in range(1, len(path) + 1)):
            report(attrs.evolve(finding, path=_as_written(finding.path, picked)))
    return settings


def _pick_models(
    data: object, refuse: Callable[[Path, str], None], report: Report
) -> dict[str, dict[str, object]]:
    models: dict[str, dict[str, object]] = {}
    if data is None:
        return models
    if not isinstance(data, dict):
        refuse((MODELS,), f"{describe(data)} is not a mapping; expected models by their names")
        return models
    for name, model in data.items():
        path = (MODELS, name)
        if isinstance(model, dict):
            models[name] = {**pick(model, ModelConfig, path, report), "id": name}
        else:
            refuse(path, f"{describe(model)} is not a mapping; expected the model's settings, at least cmd")
    return models


def _warn_of_fractions(
    picked: dict[str, object], cls: type[attrs.AttrsInstance], path: Path, report: Report
) -> None:
    """Say where a fraction is cut off: half a second would become none at all, which may mean for ever."""
    kinds = {each.name: each.type for each in attrs.fields(cls)}
    for name, setting in settings_of(cls).items():
        value = picked.get(setting.key)
        if (
            kinds[name] in (int, int | None)
            and isinstance(value, float)
            and math.isfinite(value % 1)
            and value % 1
        ):
            what = f"{describe(value)} is cut to {int(value)}; expected {setting.expected}"
            report(Finding((*path, *setting.key.split(".")), what, Severity.WARNING))


def _structure(picked: dict[str, object], refuse: Callable[[Path, str], None]) -> Settings:
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
    in_model = path[0] == MODELS
    holder: Any = picked[MODELS][path[1]] if in_model else picked
    written = holder[".".join(map(str, parents[2:] if in_model else parents))]
    places = [place for place, value in enumerate(written) if value is not None]
    return (*parents, places[last])


def _with_known_preload(settings: Settings, picked: dict[str, Any], report: Report) -> Settings:
    """Leave out what no model is called: a name to preload may belong to a model that is gone."""
    names = Names(settings.models)
    known: list[str] = []
    unknown = 0
    for index, written in enumerate(settings.preload):
        name = written.strip()
        if names.resolve(name) is not None:
            known.append(name)
        elif name:
            unknown += 1
            meant = nearest(name, names) if unknown <= MOST_SUGGESTIONS else None
            what = f"no model is called {describe(name)}, ignored" + (
                f"; did you mean {meant}?" if meant else ""
            )
            path = _as_written((*PRELOAD.split("."), index), picked)
            report(Finding(path, what, Severity.WARNING))
    return attrs.evolve(settings, preload=tuple(known))


READERS: dict[Any, Callable[..., object]] = {
    bool: scalars.as_truth,
    int: scalars.as_whole,
    int | None: scalars.as_whole,
    str: scalars.as_text,
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
        items: list[object] = []
        errors: list[Exception] = []
        for index, item in enumerate(scalars.as_list(value, setting.expected, secret=setting.secret)):
            if item is None:
                continue
            try:
                items.append(read(item, f"{setting.expected}, each a text", scalars.as_text))
            except scalars.ReadingError as error:
                error.add_note(cattrs.IterableValidationNote("", index, str))
                errors.append(error)
        if errors:
            raise cattrs.IterableValidationError("", errors, tuple)
        return tuple(items)

    return read_one if kind in READERS else read_list


def _read_models(value: Mapping[str, dict[str, object]], _: object) -> dict[str, ModelConfig]:
    models: dict[str, ModelConfig] = {}
    errors: list[Exception] = []
    for name, model in value.items():
        try:
            models[name] = CONVERTER.structure(model, ModelConfig)
        except cattrs.ClassValidationError as error:
            error.add_note(cattrs.IterableValidationNote("", name, ModelConfig))
            errors.append(error)
    if errors:
        raise cattrs.IterableValidationError("", errors, dict)
    return models


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    for cls in (Settings, ModelConfig):
        kinds = {each.name: each.type for each in attrs.fields(cls)}
        overrides: dict[str, Any] = {
            name: override(rename=setting.key, struct_hook=_reader(cls, setting, kinds[name]))
            for name, setting in settings_of(cls).items()
        }
        if cls is Settings:
            overrides[MODELS] = override(struct_hook=_read_models)
        else:
            # The number of a port is not written but counted.
            overrides["port"] = override(omit=True)
        converter.register_structure_hook(cls, make_dict_structure_fn(cls, converter, **overrides))
    return converter


CONVERTER = _converter()
