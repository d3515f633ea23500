"""How does a file become a configuration, or a list of all that is wrong with it?"""

import os

import attrs
from attrs import define, evolve, field, frozen

from swapcore_http.config import source
from swapcore_http.config.config import Config
from swapcore_http.config.plain import Plain, plain
from swapcore_http.config.problems import (
    ConfigError,
    Finding,
    Problem,
    Severity,
    describe,
    dotted,
    masked,
)
from swapcore_http.config.source import Span
from swapcore_http.config.structure import settings_from

__all__ = ["Loaded", "load", "loads"]

SECRETS = frozenset({"apiKey", "apiKeys", "env"})
"""Keys whose values are masked wherever a line is shown."""


@frozen
class Loaded:
    """A configuration that can be used, and what is odd about it."""

    config: Config
    warnings: tuple[Problem, ...]


def load(path: str | os.PathLike[str]) -> Loaded:
    """Load a YAML file.

    Raises:
        ConfigError: it cannot be read, or what it says cannot be used.
    """
    file = os.fspath(path)
    try:
        data = source.read(path)
    except source.SourceError as error:
        raise ConfigError([Problem(Severity.ERROR, "", error.message, file)]) from None
    return loads(data, file)


def loads(text: str | bytes, file: str = "<string>") -> Loaded:
    """Load YAML that is in memory; `file` is what it is called in messages.

    Raises:
        ConfigError: what it says cannot be used.
    """
    collector = Collector(text, file)
    try:
        tree = source.parse(source.decode(text))
    except source.SourceError as error:
        collector.add(Severity.ERROR, "", error.message, error.span)
        raise ConfigError(collector.problems) from None
    if tree.second is not None:
        what = "another document begins here; only the first one is used"
        collector.add(Severity.WARNING, "", what, tree.second)
    if tree.root is not None:
        collector.plain = plain(tree.root)
    for path, span, fault in collector.plain.faults:
        collector.add(Severity.ERROR, dotted(path), fault, span)
    data = {} if collector.plain.data is None else collector.plain.data
    if not isinstance(data, dict):
        what = f"{describe(data)} is not a mapping; expected settings, such as models"
        collector.report(Finding((), what))
        raise ConfigError(collector.sorted())
    settings = settings_from(data, collector.report)
    if any(problem.severity is Severity.ERROR for problem in collector.problems):
        raise ConfigError(collector.sorted())
    config = Config(**attrs.asdict(settings, recurse=False))
    if not config.models:
        collector.add(Severity.WARNING, "", "there are no models in it", None)
    return Loaded(config, collector.sorted())


@define
class Collector:
    """Turns findings into problems with their places and lines."""

    source: str | bytes
    file: str
    plain: Plain = field(factory=Plain)
    problems: list[Problem] = field(factory=list)
    _shown: dict[int, str] | None = None

    def report(self, finding: Finding) -> None:
        """Take a finding about the data; it stands where the nearest thing stands that was written."""
        path, at_key = finding.path, finding.at_key
        while path and path not in self.plain.places:
            path, at_key = path[:-1], True
        place = self.plain.places.get(path)
        span = None if place is None else place.key if at_key and place.key else place.value
        if span is not None and finding.within is not None:
            span = self._inside(span, *finding.within)
        self.add(finding.severity, dotted(finding.path), finding.message, span)

    def add(self, severity: Severity, path: str, message: str, span: Span | None) -> None:
        """Take a problem that stands there, or nowhere in particular."""
        if span is None:
            self.problems.append(Problem(severity, path, message, self.file))
            return
        if self._shown is None:
            self._shown = _shown_lines(self.source, self.plain)
        shown = self._shown.get(span.line, "")
        self.problems.append(Problem(severity, path, message, self.file, span.line, span.column, shown))

    def _inside(self, span: Span, text: str, position: int) -> Span:
        """Find a character of the text that stands there; if it is not there word by word, its start."""
        written = source.lines(self.source)[span.line - 1][span.column - 1 : span.end_column - 1]
        start = written.find(text) if span.line == span.end_line else -1
        return span if start < 0 else evolve(span, column=span.column + start + position)

    def sorted(self) -> tuple[Problem, ...]:
        """List the problems in the order in which they stand in the file."""
        return tuple(sorted(self.problems, key=lambda each: (each.line, each.column)))


def _shown_lines(text: str | bytes, data: Plain) -> dict[int, str]:
    """Number the lines as they may be shown: what may be a secret is masked, and the columns are kept."""
    shown = dict(enumerate(source.lines(text), 1))
    secrets = {place.value for path, place in data.places.items() if not SECRETS.isdisjoint(path[-1:])}
    for span in secrets:
        for number in range(span.line, min(span.end_line, len(shown)) + 1):
            line = shown[number]
            start = span.column - 1 if number == span.line else len(line) - len(line.lstrip())
            end = span.end_column - 1 if number == span.end_line else len(line)
            shown[number] = line[:start] + "*" * (min(end, len(line)) - start) + line[end:]
    return {number: masked(line) for number, line in shown.items()}
