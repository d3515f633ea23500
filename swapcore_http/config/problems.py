"""What is wrong with a configuration, where, and how is that said?"""

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

from attrs import field, frozen

from swapcore.errors import SwapcoreError

__all__ = [
    "ConfigError",
    "Finding",
    "Note",
    "Path",
    "Problem",
    "Severity",
    "concealing",
    "describe",
    "dotted",
    "masked",
    "nearest",
    "revealed",
]

Path = tuple[str | int, ...]
"""Where something stands in a configuration: keys, and indexes into lists."""

SHOWN_PROBLEMS = 100
"""Problems that an error's text lists; more would bury the first."""

SHOWN_COLUMNS = 100
"""How much of a long source line is shown, around its caret."""

SHORTEST_SECRET = 3
"""Values from the environment that have no more characters are shown as they are."""

LONGEST_KEY = 64
"""Names longer than this are abbreviated in messages and get no suggestion."""

# A line that could not be parsed, or a command, may well hold a credential.
CREDENTIAL = re.compile(
    r"""(?i)((?:api[-_]?key|token|secret|passw(?:or)?d|authorization)[\w-]{0,40}["']?"""
    r"""(?:\s{0,40}[:=]\s{0,40}|\s{1,40}))(\S.*)"""
)
USER_INFO = re.compile(r"(://)([^\s/@]{1,200})(?=@)")


class Severity(enum.Enum):
    """How bad a problem is."""

    ERROR = "error"
    """The configuration is not used."""

    WARNING = "warning"
    """The configuration is used, but perhaps not as it was meant."""


@frozen(eq=False, repr=False)
class Finding:
    """One thing that is wrong with the data, whatever file it is from."""

    path: Path
    message: str
    severity: Severity = Severity.ERROR
    at_key: bool = False
    """Whether the key is to blame, and not the value that stands there."""

    about: tuple[Path, ...] = ()
    """Other values it is drawn from. If one of those is wrong by itself, this one may not be."""

    of_parts: bool = False
    """Whether it is drawn from all that is in there: if some of that is wrong by itself, this may not be."""

    within: tuple[str, int] | None = None
    """The text that stands at `path`, and how many of its characters stand before the one to blame."""

    related: tuple[tuple[Path, str], ...] = ()
    """Other places that one should see, and why."""


@frozen
class Note:
    """Another place that one should see to understand a problem, and why."""

    message: str
    file: str
    line: int
    column: int
    source: str = field(default="", repr=False)
    """That line, with what may be a secret masked."""

    def __str__(self) -> str:
        return _shown(f"{self.file}:{self.line}:{self.column}: note: {self.message}", self)


@frozen
class Problem:
    """One thing that is wrong, ready to be shown."""

    severity: Severity
    path: str
    """The dotted path of the key it is about; empty for the file as a whole."""

    message: str
    """What is wrong, and what was expected."""

    file: str = ""
    """The file's name as it was given; empty if there is none."""

    line: int = 0
    """The line in that file, counted from 1; 0 if no line is to blame."""

    column: int = 0
    """The column in that line, in characters from 1."""

    source: str = field(default="", repr=False)
    """That line, with what may be a secret masked."""

    notes: tuple[Note, ...] = ()
    """Other places that one should see, such as where a macro is declared."""

    def __str__(self) -> str:
        head = [f"{self.file}:{self.line}:{self.column}" if self.line else self.file]
        if self.severity is Severity.WARNING:
            head.append("warning")
        head += [self.path, self.message]
        text = _shown(": ".join(part for part in head if part), self)
        return "\n".join((text, *map(str, self.notes)))


def _shown(head: str, place: "Problem | Note") -> str:
    """Show a message with the line it is about, and a caret below the column."""
    text = _printable(head)
    if not (place.line and place.source.strip()):
        return text
    start = max(0, min(place.column - SHOWN_COLUMNS // 2, len(place.source) - SHOWN_COLUMNS))
    shown = _printable(place.source[start : start + SHOWN_COLUMNS].replace("\t", " "))
    margin = " " * len(str(place.line))
    caret = " " * (place.column - 1 - start)
    return f"{text}\n  {place.line} | {shown}\n  {margin} | {caret}^"


class ConfigError(SwapcoreError, ValueError):
    """A configuration cannot be used; it says everything that is wrong with it.

    `problems` holds all errors, and the warnings between them, in the order in
    which they stand in the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"... and {len(self.problems) - SHOWN_PROBLEMS} more problems")
        return "\n".join(lines)


CONCEALED: ContextVar[Mapping[str, str]] = ContextVar("CONCEALED", default=MappingProxyType({}))
"""Values from the environment, and the references that are shown instead."""


@contextmanager
def concealing(values: Mapping[str, str]) -> Iterator[None]:
    """Have messages show `${env.NAME}` instead of the values, which are given by their names."""
    references = {
        value: f"${{env.{name}}}"
        for name, value in values.items()
        if len(value) > SHORTEST_SECRET and not value.startswith("${")
    }
    token = CONCEALED.set(references)
    try:
        yield
    finally:
        CONCEALED.reset(token)


def revealed(text: str) -> str:
    """Return a text as it may be shown."""
    for value, reference in CONCEALED.get().items():
        text = text.replace(value, reference)
    return text


def dotted(path: Path) -> str:
    """Write a path as people write it: `models.a.env[2]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _short(part, LONGEST_KEY)
    return text


def describe(value: object, *, secret: bool = False) -> str:
    """Name a value in a message, without quoting it if it may be a secret."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "null"
    if secret:
        return "this value"
    if isinstance(value, bool):
        return "true" if value else "false"
    # What is concealed must be so before the text is shortened, or its beginning would be shown.
    return _short(repr(revealed(value) if isinstance(value, str) else value), LONGEST_KEY)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that was probably meant, whatever its case."""
    if len(name) > LONGEST_KEY:
        return None
    import difflib  # noqa: PLC0415 - most configurations are right, and need not wait for it.

    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def masked(line: str) -> str:
    """Hide what follows a word for a credential, keeping the columns."""
    for pattern in (CREDENTIAL, USER_INFO):
        line = pattern.sub(lambda match: match[1] + "*" * len(match[2]), line)
    return line


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _printable(text: str) -> str:
    """Escape what could move a terminal's cursor, or break the line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
