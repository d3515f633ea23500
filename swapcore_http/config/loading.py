"""How do files become a configuration, or a list of all that is wrong with them?"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from attrs import frozen

from swapcore_http.config import source
from swapcore_http.config.collecting import Collector, Source
from swapcore_http.config.config import Config
from swapcore_http.config.doubts import doubts, machine_findings
from swapcore_http.config.environment import fill
from swapcore_http.config.expanding import expand
from swapcore_http.config.merging import merge
from swapcore_http.config.plain import Plain, plain
from swapcore_http.config.problems import ConfigError, Problem, Severity, concealing, describe, dotted
from swapcore_http.config.structure import settings_from

__all__ = ["Loaded", "files_in", "load", "loads"]

SUFFIXES = (".yaml", ".yml")


@frozen(repr=False)
class Loaded:
    """A configuration that can be used, and what is odd about it."""

    config: Config
    warnings: tuple[Problem, ...]


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Loaded:
    """Load a YAML file, all those in a directory, or both as one.

    Args:
        path: The file, which is read first.
        directory: The directory, whose `*.yaml` and `*.yml` follow in the order of their names.
        env: What `${env.NAME}` stands for; by default the process's environment. Its `PATH`
            is where programs are looked for.

    Raises:
        ConfigError: something cannot be read, or what it says cannot be used.
        TypeError: neither is given.
    """
    if path is None and directory is None:
        raise TypeError("expected a path, a directory or both")
    files = [] if path is None else [os.fspath(path)]
    if directory is not None:
        files += _more_files(files, directory)
    texts: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    left = source.LARGEST_FILE
    for file in files:
        try:
            data = source.read(file)
        except source.SourceError as error:
            problems.append(Problem(Severity.ERROR, "", error.message, file))
            continue
        if texts and len(data) > left:
            what = f"with the files before it, it is larger than {source.LARGEST_FILE} bytes"
            problems.append(Problem(Severity.ERROR, "", what, file))
            break
        left -= len(data)
        texts.append((file, data))
    if problems:
        raise ConfigError(problems)
    env = os.environ if env is None else env
    return _loaded(texts, env, env.get("PATH", ""))


def loads(text: str | bytes, file: str = "<string>", *, env: Mapping[str, str] | None = None) -> Loaded:
    """Load YAML that is in memory; `file` is what it is called in messages.

    Raises:
        ConfigError: what it says cannot be used.
    """
    return _loaded([(file, text)], os.environ if env is None else env)


def files_in(directory: str | os.PathLike[str]) -> list[str]:
    """List the YAML files in a directory, but not below it, in the order in which they are read.

    Raises:
        OSError: it is no directory, or cannot be read.
    """
    entries = sorted(FilePath(directory).iterdir(), key=lambda entry: os.fsencode(entry.name))
    return [os.fspath(entry) for entry in entries if entry.name.endswith(SUFFIXES) and not entry.is_dir()]


def _more_files(files: Sequence[str], directory: str | os.PathLike[str]) -> list[str]:
    name = os.fspath(directory)
    try:
        more = files_in(directory)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError([Problem(Severity.ERROR, "", f"cannot be read: {reason}", name)]) from None
    if not files and not more:
        what = "there is no *.yaml or *.yml in it; expected at least one"
        raise ConfigError([Problem(Severity.ERROR, "", what, name)])
    own = {os.path.abspath(file) for file in files}  # noqa: PTH100 - a link in the directory is another file.
    for file in more:
        if os.path.abspath(file) in own:  # noqa: PTH100 - likewise.
            what = f"is in the directory {name} as well; expected it outside, or the directory alone"
            raise ConfigError([Problem(Severity.ERROR, "", what, files[0])])
    return more


def _loaded(texts: Sequence[tuple[str, str | bytes]], env: Mapping[str, str], path: str = "") -> Loaded:
    collector = Collector([Source(file, text) for file, text in texts])
    values: dict[str, str] = {}
    parts = [_part(number, text, env, collector, values) for number, (_, text) in enumerate(texts)]
    whole = Plain()
    for part in parts:
        if part is None:
            # Without it all the others would seem to be wrong as well.
            raise ConfigError(collector.sorted())
        if part.data is not None:
            whole = part if whole.data is None else merge(whole, part, collector.conflict)
    with concealing(values):
        return _configuration(whole, collector, path)


def _part(
    number: int, text: str | bytes, env: Mapping[str, str], collector: Collector, values: dict[str, str]
) -> Plain | None:
    """Read one source as far as plain data; None if that cannot be, and it is said why."""
    try:
        written = source.decode(text)
        filled = fill(written, env, lambda: source.reads(written))
        values |= filled.values
        if filled.faults:
            span_at = source.spans_in(written)
            for each in filled.faults:
                span = span_at(each.start, each.end)
                collector.add(Severity.ERROR, "", each.message, span, number)
            return None
        tree = source.parse(filled.text, filled.original if filled.pieces else None)
    except source.SourceError as error:
        with concealing(values):
            collector.add(Severity.ERROR, "", error.message, error.span, number)
        return None
    if tree.second is not None:
        what = "another document begins here; only the first one is used"
        collector.add(Severity.WARNING, "", what, tree.second, number)
    part = Plain(source=number) if tree.root is None else plain(tree.root, number)
    with concealing(values):
        for path, span, fault in part.faults:
            collector.add(Severity.ERROR, dotted(path), fault, span, number)
        if part.data is not None and not isinstance(part.data, dict):
            what = f"{describe(part.data)} is not a mapping; expected settings, such as models"
            collector.add(Severity.ERROR, "", what, part.places[()].value, number)
            return None
    return part


def _configuration(whole: Plain, collector: Collector, path: str) -> Loaded:
    data = whole.data if isinstance(whole.data, dict) else {}
    collector.places = whole.places
    expansion = expand(data, collector.report)
    collector.uses, collector.renamed = expansion.uses, expansion.renamed
    settings = settings_from(data, collector.report, expansion.refused)
    if collector.failed:
        raise ConfigError(collector.sorted())
    config = Config.of(settings)
    for finding in doubts(config):
        collector.report(finding)
    for finding in machine_findings(config, path) if path else ():
        collector.report(finding)
    if collector.failed:
        raise ConfigError(collector.sorted())
    if not config.models:
        collector.add(Severity.WARNING, "", "there are no models in it")
    return Loaded(config, collector.sorted())
