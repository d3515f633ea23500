"""Where does each problem stand, in which of several sources, and how is it shown there?"""

from collections.abc import Mapping

from attrs import define, evolve, field, frozen

from swapcore_http.config import source
from swapcore_http.config.plain import Place
from swapcore_http.config.problems import (
    Finding,
    Note,
    Path,
    Problem,
    Severity,
    dotted,
    masked,
    revealed,
)
from swapcore_http.config.source import Span

__all__ = ["Collector", "Source"]

SECRETS = frozenset({"apiKey", "apiKeys", "env"})
"""Keys whose values are masked wherever a line is shown."""


@define(eq=False, repr=False)
class Source:
    """One text, and what it is called in messages."""

    file: str
    text: str | bytes
    _lines: list[str] | None = None
    _shown: dict[int, str] = field(factory=dict)
    _masked: dict[int, str] = field(factory=dict)
    """The lines that were asked for: there can be thousands of problems in a long one."""

    @property
    def lines(self) -> list[str]:
        """Its lines as they were written."""
        if self._lines is None:
            self._lines = source.lines(self.text)
        return self._lines

    def shown(self, number: int) -> str:
        """Return a line as it may be shown: what may be a secret is masked, and the columns are kept."""
        if number not in self._masked:
            known = self._shown.get(number)
            if known is None:
                known = self.lines[number - 1] if number <= len(self.lines) else ""
            self._masked[number] = masked(known)
        return self._masked[number]

    def hide(self, span: Span) -> None:
        """Mask what stands there."""
        for number in range(span.line, min(span.end_line, len(self.lines)) + 1):
            line = self._shown.get(number, self.lines[number - 1])
            start = span.column - 1 if number == span.line else len(line) - len(line.lstrip())
            end = span.end_column - 1 if number == span.end_line else len(line)
            self._masked.pop(number, None)
            self._shown[number] = line[:start] + "*" * (min(end, len(line)) - start) + line[end:]


@frozen(eq=False, repr=False)
class Located:
    """A problem, and where it stands among all sources."""

    problem: Problem
    source: int

    @property
    def order(self) -> tuple[int, int, int]:
        """What problems are sorted by."""
        return self.source, self.problem.line, self.problem.column


@define(eq=False, repr=False)
class Collector:
    """Turns findings into problems with their places and lines."""

    sources: list[Source] = field(factory=list)
    places: Mapping[Path, Place] = field(factory=dict)
    uses: Mapping[Path, tuple[Path, ...]] = field(factory=dict)
    """The macros, by where they are declared, that made a value what it is."""

    renamed: Mapping[Path, Path] = field(factory=dict)
    """Where that was written whose key had macros in it."""

    _found: list[Located] = field(factory=list)
    _hidden: bool = False

    @property
    def failed(self) -> bool:
        """Whether anything is an error."""
        return any(each.problem.severity is Severity.ERROR for each in self._found)

    def report(self, finding: Finding) -> None:
        """Take a finding about the data; it stands where the nearest thing stands that was written."""
        related = finding.related
        if not related and not finding.at_key and finding.severity is Severity.ERROR:
            related = tuple(
                (macro, f"the macro {macro[-1]} is declared here")
                for macro in self.uses.get(finding.path, ())
            )
        path = self._written(finding.path)
        place, span = self._nearest(path, at_key=finding.at_key)
        if place is None or span is None:
            self.add(finding.severity, dotted(path), finding.message)
            return
        if finding.within is not None:
            span = self._inside(place, span, *finding.within)
        notes = tuple(note for where, why in related if (note := self._note(where, why)) is not None)
        self.add(finding.severity, dotted(path), finding.message, span, place.source, notes=notes)

    def conflict(self, path: Path, message: str, place: Place, at_key: bool, first: Place) -> None:  # noqa: FBT001 - merging calls it so.
        """Take a contradiction between two sources."""
        span, before = (
            (place.key or place.value, first.key or first.value) if at_key else (place.value, first.value)
        )
        note = self._noted("it is here as well", before, first.source)
        self.add(Severity.ERROR, dotted(path), message, span, place.source, notes=(note,))

    def add(
        self,
        severity: Severity,
        path: str,
        message: str,
        span: Span | None = None,
        number: int = 0,
        *,
        notes: tuple[Note, ...] = (),
    ) -> None:
        """Take a problem that stands there, or nowhere in particular in that source."""
        path, message = revealed(path), revealed(message)
        text = self.sources[number] if self.sources else Source("", "")
        if span is None:
            problem = Problem(severity, path, message, text.file)
        else:
            shown = self._shown(number, span.line)
            problem = Problem(severity, path, message, text.file, span.line, span.column, shown, notes)
        self._found.append(Located(problem, number))

    def sorted(self) -> tuple[Problem, ...]:
        """List the problems in the order in which they stand in the sources."""
        return tuple(each.problem for each in sorted(self._found, key=lambda each: each.order))

    def _written(self, path: Path) -> Path:
        for depth in range(len(path), 0, -1):
            if (written := self.renamed.get(path[:depth])) is not None:
                return (*written, *path[depth:])
        return path

    def _nearest(self, path: Path, *, at_key: bool) -> tuple[Place | None, Span | None]:
        while path and path not in self.places:
            path, at_key = path[:-1], True
        place = self.places.get(path)
        span = None if place is None else place.key if at_key and place.key else place.value
        return place, span

    def _note(self, path: Path, why: str) -> Note | None:
        place, span = self._nearest(path, at_key=True)
        return None if place is None or span is None else self._noted(why, span, place.source)

    def _noted(self, why: str, span: Span, number: int) -> Note:
        return Note(why, self.sources[number].file, span.line, span.column, self._shown(number, span.line))

    def _inside(self, place: Place, span: Span, text: str, position: int) -> Span:
        """Find a character of the text that stands there; if it is not there word by word, its start."""
        if span.line != span.end_line:
            return self._inside_lines(place, span, text, position)
        written = self.sources[place.source].lines[span.line - 1][span.column - 1 : span.end_column - 1]
        start = written.find(text)
        return span if start < 0 else evolve(span, column=span.column + start + position)

    def _inside_lines(self, place: Place, span: Span, text: str, position: int) -> Span:
        """Find the same in a text of several lines, by the line that it is in."""
        lines = self.sources[place.source].lines
        before = text[:position].rpartition("\n")[2]
        line = before + text[position:].partition("\n")[0]
        # In the line of a block's indicator there is nothing of its text.
        is_block = lines[span.line - 1][span.column - 1 : span.column] in ("|", ">")
        for number in range(span.line + is_block, min(span.end_line, len(lines)) + 1):
            column = lines[number - 1].find(line)
            if column >= 0 and line.strip():
                return evolve(span, line=number, column=column + len(before) + 1)
        return span

    def _shown(self, number: int, line: int) -> str:
        if not self._hidden:
            self._hidden = True
            for path, place in self.places.items():
                if not SECRETS.isdisjoint(path[-1:]):
                    self.sources[place.source].hide(place.value)
        return self.sources[number].shown(line)
