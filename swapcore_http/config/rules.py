"""Do the settings make sense, each by itself and all together?

The rules are the same for a configuration from YAML and for one made in
Python; the types of the values are right when they are asked.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import attrs

from swapcore_http.config import command
from swapcore_http.config.keys import unsupported
from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.macros import PID, PORT, leftovers, mentions
from swapcore_http.config.name_rules import live_together_findings, name_findings
from swapcore_http.config.names import Names
from swapcore_http.config.problems import Finding, Path, Severity, describe, masked, nearest
from swapcore_http.config.routing_rules import routing_findings
from swapcore_http.config.schema import DEFAULT_PROXY, NO_CHECK, ModelConfig, Settings
from swapcore_http.config.setting import Setting, settings_of
from swapcore_http.config.surface_rules import surface_findings

__all__ = ["LAST_PORT", "LOG_LEVELS", "LOG_TIMES", "findings", "numbering"]

LOG_LEVELS = ("debug", "info", "warn", "error")
LOG_TIMES = (
    *("ansic", "unixdate", "rubydate", "rfc822", "rfc822z", "rfc850", "rfc1123", "rfc1123z", "rfc3339"),
    *("rfc3339nano", "kitchen", "stamp", "stampmilli", "stampmicro", "stampnano"),
)
LAST_PORT = 65535
EMPTY: Mapping[str, int] = MappingProxyType({})
BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def numbering(
    models: Mapping[str, ModelConfig],
    start_port: int,
    *,
    lent: Mapping[str, int] = EMPTY,
    held: Collection[int] = (),
) -> dict[str, int]:
    """Number the models that need a port and have none, as llama-swap does: by id, in byte order.

    Args:
        models: The models.
        start_port: The first number.
        lent: The numbers that models already have, and keep.
        held: Further numbers that are left out.
    """
    taken = {*(model.port for model in models.values()), *lent.values(), *held}
    numbers: dict[str, int] = {}
    port = start_port
    for id_ in sorted(models, key=lambda each: each.encode("utf-8", "surrogatepass")):
        if not models[id_].uses_port or models[id_].port is not None:
            continue
        if id_ in lent:
            numbers[id_] = lent[id_]
        else:
            while port in taken:
                port += 1
            numbers[id_] = port
            port += 1
    return numbers


def findings(settings: Settings) -> Iterator[Finding]:
    """Find everything in the settings that makes no sense."""
    yield from _own(settings, ())
    if settings.log_level not in LOG_LEVELS:
        meant = nearest(settings.log_level, LOG_LEVELS)
        hint = f" (did you mean {meant}?)" if meant else ""
        what = f"{describe(settings.log_level)} is no log level{hint}; expected {', '.join(LOG_LEVELS)}"
        yield Finding(("logLevel",), what)
    if settings.log_time_format and settings.log_time_format not in LOG_TIMES:
        meant = nearest(settings.log_time_format, LOG_TIMES)
        hint = f" (did you mean {meant}?)" if meant else ""
        what = f"{describe(settings.log_time_format)} is no format, so there are no times{hint}"
        yield Finding(("logTimeFormat",), f"{what}; expected {', '.join(LOG_TIMES)}", Severity.WARNING)
    yield from _inner(settings, ())
    for model in settings.models.values():
        path = ("models", model.id)
        if not model.id:
            what = "the model's name is empty; expected a name that callers ask for"
            yield Finding(path, what, at_key=True)
        yield from _macros(model, path)
        yield from _commands(model, path)
        yield from _proxy(model, path)
        yield from _endpoint(model, path)
        yield from _environment(model, path)
    for peer in settings.peers.values():
        yield from _address(peer.proxy, ("peers", peer.id, "proxy"))
    for name, setting in settings_of(Settings).items():
        if name not in ("models", "macros"):
            for text, inner in _texts(getattr(settings, name)):
                for _, message in leftovers(text, (), in_model=False):
                    yield Finding((*setting.key.split("."), *inner), message)
    yield from surface_findings(settings)
    yield from _ports(settings)
    names = Names(settings.models, settings.peers, settings.selectors)
    yield from name_findings(settings, names)
    for index, name in enumerate(settings.preload):
        if names.resolve(name) is None:
            where = ("hooks", "on_startup", "preload", index)
            yield Finding(where, f"no model is called {describe(name)}; expected the name of a model")
    faults = list(routing_findings(settings, names))
    yield from faults
    if not faults:
        yield from live_together_findings(settings, names)


def _values(record: attrs.AttrsInstance, path: Path) -> Iterator[Finding]:
    """Find values out of their range, in this record and in those within."""
    yield from _own(record, path)
    yield from _inner(record, path)


def _own(record: attrs.AttrsInstance, path: Path) -> Iterator[Finding]:
    settings = settings_of(type(record))
    yield from unsupported(record, path)
    for name, kind in kinds_of(type(record)).items():
        setting = settings[name]
        value = getattr(record, name)
        where = (*path, *setting.key.split("."))
        if kind.shape is Shape.ONE and setting.choices and value:
            yield from _choice(value, setting, where)
        elif kind.shape is Shape.ONE:
            yield from _range(value, setting, where)
        elif kind.shape is Shape.LIST and setting.choices:
            for index, item in enumerate(value):
                yield from _choice(item, setting, (*where, index))


def _inner(record: attrs.AttrsInstance, path: Path) -> Iterator[Finding]:
    settings = settings_of(type(record))
    for name, kind in kinds_of(type(record)).items():
        value = getattr(record, name)
        where = (*path, *settings[name].key.split("."))
        if kind.shape is Shape.RECORD and value is not None:
            yield from _values(value, where)
        elif kind.shape is Shape.RECORDS:
            for key, item in value.items():
                yield from _values(item, (*where, key))
        elif kind.shape is Shape.RECORD_LIST:
            for index, item in enumerate(value):
                yield from _values(item, (*where, index))


def _choice(value: str, setting: Setting, where: Path) -> Iterator[Finding]:
    if value not in setting.choices:
        meant = nearest(value, setting.choices)
        hint = f" (did you mean {meant}?)" if meant else ""
        yield Finding(where, f"{describe(value)} is not known here{hint}; expected {setting.expected}")


def _range(value: object, setting: Setting, where: Path) -> Iterator[Finding]:
    if not isinstance(value, (int, float)):
        return
    shown = f"{value:g}" if isinstance(value, float) else f"{value}"
    # Written so that NaN fails as well.
    if setting.minimum is not None and not value >= setting.minimum:
        yield Finding(where, f"{shown} is too small; expected {setting.expected}")
    if setting.maximum is not None and value > setting.maximum:
        yield Finding(where, f"{shown} is too large; expected {setting.expected}")


def _macros(model: ModelConfig, path: Path) -> Iterator[Finding]:
    """Find macros that stand for nothing where they are."""
    port = {PORT} if model.uses_port else set[str]()
    for name, setting in settings_of(type(model)).items():
        if name == "macros":
            continue
        # A proxy is asked for its port by a rule of its own.
        known = port | ({"cmd_stop": {PID}, "after_stop": {PID}, "proxy": {PORT}}.get(name) or set())
        value = getattr(model, name)
        for text, inner in _texts(value) if mentions(value) else ():
            if "${" not in text:
                continue
            if name in ("cmd", "cmd_stop", "after_stop"):
                text = command.without_comments(text)  # noqa: PLW2901 - comments need no macros.
            for _, message in leftovers(text, known):
                yield Finding((*path, *setting.key.split("."), *inner), message, about=((*path, "cmd"),))


def _texts(value: Any) -> Iterator[tuple[str, Path]]:
    """Go through all texts in a value, with the way to each."""
    if isinstance(value, str):
        yield value, ()
    elif not value or isinstance(value, (int, float)):
        return
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from ((text, (index, *inner)) for text, inner in _texts(item))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from ((text, (key, *inner)) for text, inner in _texts(item))
    elif attrs.has(type(value)):
        for name, setting in settings_of(type(value)).items():
            where = setting.key.split(".")
            yield from ((text, (*where, *inner)) for text, inner in _texts(getattr(value, name)))


def _commands(model: ModelConfig, path: Path) -> Iterator[Finding]:
    if not model.cmd.strip():
        about = ((*path, "cmd"), (*path, "proxy"))
        if model.proxy == DEFAULT_PROXY:
            yield Finding(
                path,
                "has neither cmd nor proxy; expected a cmd that starts its upstream",
                at_key=True,
                about=about,
            )
        else:
            what = "has no cmd: nothing can be started for it"
            yield Finding(path, what, Severity.WARNING, at_key=True, about=about)
    for key, text in (
        ("cmd", model.cmd),
        ("cmdStop", model.cmd_stop),
        ("afterStop", model.after_stop),
    ):
        words = command.split(text)
        if "\0" in text:
            yield Finding((*path, key), "contains a NUL character, which no argument can hold")
        elif text.strip() and not words:
            yield Finding((*path, key), "empty command: only comments are in it; expected a command line")
        elif words and not words[0]:
            yield Finding((*path, key), "the program's name is empty; expected a command line")


def _proxy(model: ModelConfig, path: Path) -> Iterator[Finding]:
    where = (*path, "proxy")
    if PORT in model.proxy and not model.uses_port:
        if model.proxy == DEFAULT_PROXY and model.cmd.strip():
            what = (
                f"has no {PORT}, which proxy needs, as it is {describe(DEFAULT_PROXY)} unless it is written"
            )
            what += f"; expected {PORT} in it, or a proxy with a fixed port"
            yield Finding((*path, "cmd"), what)
        elif model.proxy != DEFAULT_PROXY:
            what = f"{describe(masked(model.proxy))} needs {PORT}, but cmd does not have it"
            what += f"; expected {PORT} in cmd too, or a proxy with a fixed port"
            yield Finding(where, what, about=((*path, "cmd"),))
        return
    yield from _address(model.proxy, where)


def _address(written: str, where: Path) -> Iterator[Finding]:
    url = written.replace(PORT, "1").strip()
    shown = describe(masked(written))
    expected = "expected a URL such as http://localhost:8080"
    if "${" in url:
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        yield Finding(where, f"{shown} is no URL: {error}; {expected}")
        return
    if parts.scheme not in ("http", "https"):
        yield Finding(where, f"{shown} does not begin with http:// or https://; {expected}")
    elif not parts.hostname:
        yield Finding(where, f"{shown} names no host; {expected}")
    elif port == 0 or BLANK.search(url) or BAD_ESCAPE.search(url):
        yield Finding(where, f"{shown} is no URL; {expected}")


def _endpoint(model: ModelConfig, path: Path) -> Iterator[Finding]:
    endpoint = model.check_endpoint
    if endpoint == NO_CHECK and model.check_model:
        what = f"is not looked at, because checkEndpoint is {NO_CHECK}; expected a path there"
        yield Finding((*path, "checkModel"), what, Severity.WARNING, about=((*path, "checkEndpoint"),))
    if endpoint == NO_CHECK or "${" in endpoint:
        return
    wrong = any(pattern.search(endpoint) for pattern in (BLANK, BAD_ESCAPE))
    try:
        urlsplit(endpoint)
    except ValueError:
        wrong = True
    if wrong:
        what = f"{describe(endpoint)} is no path; expected one such as /health, or {NO_CHECK}"
        yield Finding((*path, "checkEndpoint"), what)


def _environment(model: ModelConfig, path: Path) -> Iterator[Finding]:
    for index, item in enumerate(model.env):
        name, equals, _ = item.partition("=")
        where = (*path, "env", index)
        # The items may be secrets, so no message repeats one.
        if not equals:
            yield Finding(where, "has no equals sign; expected NAME=value")
        elif not name:
            yield Finding(where, "has no name before its equals sign; expected NAME=value")
        if "\0" in item:
            yield Finding(where, "contains a NUL character, which no environment can hold")


def _ports(settings: Settings) -> Iterator[Finding]:
    for id_, number in numbering(settings.models, settings.start_port).items():
        if number > LAST_PORT and settings.start_port <= LAST_PORT:
            what = f"there is no port left for it: counting from {settings.start_port} it would get {number}"
            yield Finding(
                ("models", id_, "cmd"), f"{what}; expected a smaller startPort", about=(("startPort",),)
            )
    for model in settings.models.values():
        if model.port is not None and not 1 <= model.port <= LAST_PORT:
            yield Finding(("models", model.id, "port"), f"{model.port} is no port; expected 1 to {LAST_PORT}")
