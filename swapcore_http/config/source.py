"""What YAML stands in these bytes, as a tree whose every node knows its place?

The tree is built from the parser's events, and nothing is built that is too
large, too deep or expands too far: a few lines of YAML can stand for more
values than there are atoms, and deep nesting overruns the stack of any
composer. The C parser goes first where it is installed; the pure one gives the
same tree ten times slower, takes some YAML that the other refuses, and says
better what is wrong.
"""

import contextlib
import os
import re
from bisect import bisect, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from types import NoneType
from typing import Any

from attrs import define, field, frozen
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from swapcore_http.config.scalars import resolve

try:
    from ruamel.yaml.cyaml import CParser  # type: ignore[attr-defined] # ruamel re-exports it from an untyped wheel.
except ImportError:  # The C parser is an optional wheel.
    CParser = None

__all__ = [
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "SourceError",
    "Span",
    "Tree",
    "decode",
    "lines",
    "parse",
    "read",
    "reads",
    "spans_in",
]

LARGEST_FILE = 1_000_000
"""Bytes a configuration may have."""

DEEPEST = 100
"""How deep lists and mappings may be nested, written out."""

MOST_NODES = 200_000
"""Values a configuration may have, counting each use of an anchor."""

MOST_CHARACTERS = 4 * LARGEST_FILE
"""Characters its values may have together, counting likewise."""

TAG = "tag:yaml.org,2002:"
TAGS: dict[str, type | tuple[type, ...]] = {
    TAG + "null": NoneType,
    TAG + "bool": bool,
    TAG + "int": int,
    TAG + "float": (int, float),
}
# Written out: the complement of what is allowed takes ten times as long to compile.
UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe-\uffff]")
SURROGATE = re.compile("[\ud800-\udfff]")
LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@frozen(repr=False)
class Span:
    """Where something stands: lines and columns from 1, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


class SourceError(Exception):
    """The bytes cannot be read as YAML; `span` is None if no place in them is to blame."""

    def __init__(self, message: str, span: Span | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span


@define(eq=False, repr=False)
class Scalar:
    """One value without parts."""

    span: Span
    text: str
    value: object
    plain: bool
    nodes: int = 1
    characters: int = 0
    height: int = 0


@define(eq=False, repr=False)
class Sequence:
    """A list."""

    span: Span
    items: list["Node"] = field(factory=list)
    nodes: int = 1
    characters: int = 0
    height: int = 1


@define(eq=False, repr=False)
class Mapping:
    """A mapping, as the pairs that were written; merge keys and duplicates are still in it."""

    span: Span
    pairs: list[tuple["Node", "Node"]] = field(factory=list)
    nodes: int = 1
    characters: int = 0
    height: int = 1


Node = Scalar | Sequence | Mapping
"""A node of the tree. A node that is used by its anchor's name is the same object each time."""


@frozen(eq=False, repr=False)
class Tree:
    """The first document of a file."""

    root: Node | None
    """Its root; None if there is no document at all."""

    second: Span | None
    """Where another document begins, if one does."""


def read(path: str | os.PathLike[str]) -> bytes:
    """Read a file that is not larger than a configuration may be.

    Raises:
        SourceError: there is no such file, or it cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - takes whatever names a file.
            return file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise SourceError("no such file") from None
    except IsADirectoryError:
        raise SourceError("is a directory; expected a YAML file") from None
    except PermissionError:
        raise SourceError("permission denied; this user may not read the file") from None
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise SourceError(f"cannot be the name of a file: {error}") from None


def decode(source: str | bytes) -> str:
    """Turn bytes into text that a YAML parser accepts.

    Raises:
        SourceError: it is too large, not UTF-8, or has characters that YAML forbids.
    """
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    if len(data) > LARGEST_FILE:
        raise SourceError(f"is larger than {LARGEST_FILE} bytes")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        span = _span_at(data[: error.start].decode("utf-8"))
        raise SourceError(f"is not UTF-8: byte 0x{data[error.start]:02x}", span) from None
    if match := UNPRINTABLE.search(text):
        span = _span_at(text[: match.start()])
        raise SourceError(f"the character U+{ord(match[0]):04X} is not allowed in YAML", span)
    return text


def reads(text: str) -> Callable[[int], bool]:
    """Make what tells whether the character there is read, and not part of a comment or a later document.

    Where the text is not YAML, all of it is taken to be read.
    """
    starts = [0, *(match.end() for match in LINE_END.finditer(text))]
    read: list[tuple[int, int]] = []
    try:
        for event in _first_document(text):
            if isinstance(event, ScalarEvent):
                span = _event_span(event)
                start = starts[span.line - 1] + span.column - 1
                if event.style in ("|", ">"):
                    # What follows the indicator in its line is a comment.
                    start = starts[span.line] if span.line < len(starts) else len(text)
                read.append((start, starts[span.end_line - 1] + span.end_column - 1))
    except (YAMLError, ValueError, OverflowError, AssertionError):
        return lambda _: True

    def is_read(place: int) -> bool:
        before = bisect(read, (place, len(text)))
        return before > 0 and place < read[before - 1][1]

    return is_read


def _first_document(text: str) -> Iterator[Any]:
    """Yield the events of the first document, by the C parser if it takes the text."""
    events: list[Any] = []
    with contextlib.suppress(YAMLError):
        if CParser is not None:
            for event in iter(CParser(text).get_event, None):
                events.append(event)
                if isinstance(event, DocumentEndEvent):
                    break
            return iter(events)
    return takewhile(
        lambda event: not isinstance(event, DocumentEndEvent), YAML(typ="safe", pure=True).parse(text)
    )


def lines(source: str | bytes) -> list[str]:
    """Split a source that may not even be UTF-8 into lines, for showing them."""
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    return LINE_END.split(text.removeprefix("\ufeff"))


Column = Callable[[int, int], int]
"""Says, for a line and column of the text, in which column that was written."""


def parse(text: str, column: Column | None = None) -> Tree:
    """Build the tree of the first document.

    Args:
        text: The text, whose characters YAML allows.
        column: The way back to the columns as written, if something was put into the text.

    Raises:
        SourceError: it is not YAML, or more of it than is sensible.
    """
    if CParser is not None:
        # It refuses a colon in a list such as [qwen3:8b], which is YAML: so a refusal is not final.
        with contextlib.suppress(YAMLError):
            return _build(Builder(column), iter(CParser(text).get_event, None))
    builder = Builder(column)
    try:
        return _build(builder, YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        mark = _mark_span(error)
        span = builder.last if mark is None else _moved(mark, column)
        raise SourceError(f"not valid YAML: {_explain(error)}", span) from None
    except (YAMLError, ValueError, OverflowError, AssertionError) as error:
        # The pure parser trips over escapes that name no character, and versions that it does not know.
        raise SourceError(f"not valid YAML: {error}", builder.last) from None


def _build(builder: "Builder", events: Iterable[Any]) -> Tree:
    for event in events:
        builder.take(event)
        if builder.second is not None:
            break
    return Tree(builder.root, builder.second)


class Builder:
    """Puts events together to nodes, and counts what they stand for."""

    def __init__(self, column: Column | None) -> None:
        self._column = column
        self.root: Node | None = None
        self.second: Span | None = None
        self.last: Span | None = None
        self._documents = 0
        self._open: list[tuple[Sequence | Mapping, str | None]] = []
        self._key: list[Node | None] = []
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self._characters = 0

    def take(self, event: Any) -> None:
        """Take the parser's next event."""
        self.last = span = _moved(_event_span(event), self._column)
        match event:
            case ScalarEvent():
                self._begin(event.anchor)
                node = _scalar(event, span)
                self._name(event.anchor, node)
                self._add(node, nodes=1, characters=node.characters)
            case SequenceStartEvent() | MappingStartEvent():
                self._begin(event.anchor)
                _check_tag(event, span, "seq" if isinstance(event, SequenceStartEvent) else "map")
                self._descend(event, span)
            case SequenceEndEvent() | MappingEndEvent():
                self._ascend(span)
            case AliasEvent():
                self._repeat(event.anchor, span)
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self.second = span
            case _:
                pass

    def _begin(self, anchor: str | None) -> None:
        if anchor:
            # From here until its end the anchor's name means a node that is not whole.
            self._anchors[anchor] = None

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self._anchors[anchor] = node

    def _descend(self, event: Any, span: Span) -> None:
        node: Sequence | Mapping = Sequence(span) if isinstance(event, SequenceStartEvent) else Mapping(span)
        self._open.append((node, event.anchor))
        self._key.append(None)
        self._check_depth(len(self._open), span)

    def _ascend(self, span: Span) -> None:
        node, anchor = self._open.pop()
        self._key.pop()
        node.span = Span(node.span.line, node.span.column, span.end_line, span.end_column)
        self._name(anchor, node)
        self._add(node, nodes=1, characters=0)

    def _repeat(self, anchor: str, span: Span) -> None:
        if anchor not in self._anchors:
            raise SourceError(f"*{anchor} refers to an anchor that is not defined above it", span)
        node = self._anchors[anchor]
        if node is None:
            raise SourceError(f"*{anchor} refers to the value it stands in", span)
        self._check_depth(len(self._open) + node.height, span)
        self._add(node, nodes=node.nodes, characters=node.characters)

    def _add(self, node: Node, *, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MOST_NODES or self._characters > MOST_CHARACTERS:
            raise SourceError("stands for too many values; expected far fewer uses of anchors", self.last)
        if not self._open:
            self.root = node
            return
        parent = self._open[-1][0]
        parent.nodes += node.nodes
        parent.characters += node.characters
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := self._key[-1]) is None:
            self._key[-1] = node
        else:
            parent.pairs.append((key, node))
            self._key[-1] = None

    def _check_depth(self, depth: int, span: Span) -> None:
        if depth > DEEPEST:
            raise SourceError(f"nested too deep; expected at most {DEEPEST} levels", span)


def _scalar(event: Any, span: Span) -> Scalar:
    text: str = event.value
    if SURROGATE.search(text):
        raise SourceError("an escape in this text names half a character (a surrogate)", span)
    plain = not event.style
    tag = event.tag and str(event.tag)
    if not tag:
        value = resolve(text) if plain else text
    elif tag in ("!", TAG + "str"):
        value, plain = text, False
    else:
        value, plain = resolve(text), False
        if not isinstance(value, TAGS.get(tag, ())) or isinstance(value, bool) != (tag == TAG + "bool"):
            raise SourceError(f"the tag {_tag_name(tag)} does not fit here", span)
    return Scalar(span, text, value, plain, characters=len(text))


def _check_tag(event: Any, span: Span, kind: str) -> None:
    tag = event.tag and str(event.tag)
    if tag and tag not in ("!", TAG + kind):
        raise SourceError(f"the tag {_tag_name(tag)} does not fit here", span)


def _tag_name(tag: str) -> str:
    return "!!" + tag.removeprefix(TAG) if tag.startswith(TAG) else tag


def _event_span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _moved(span: Span, column: Column | None) -> Span:
    if column is None:
        return span
    return Span(
        span.line, column(span.line, span.column), span.end_line, column(span.end_line, span.end_column)
    )


def _mark_span(error: MarkedYAMLError) -> Span | None:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return None
    return Span(mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 1)


def spans_in(text: str) -> Callable[[int, int], Span]:
    """Make what says where characters of a text stand that are in one line."""
    ends = [match.end() for match in LINE_END.finditer(text)]

    def span(start: int, end: int) -> Span:
        before = bisect_right(ends, start)
        column = start - (ends[before - 1] if before else 0) + 1
        return Span(before + 1, column, before + 1, column + end - start)

    return span


def _span_at(before: str) -> Span:
    ends = list(LINE_END.finditer(before))
    line = len(ends) + 1
    column = len(before) - (ends[-1].end() if ends else 0) + 1
    return Span(line, column, line, column)


def _explain(error: MarkedYAMLError) -> str:
    text = str(error.problem or "syntax error")
    if error.context and error.context_mark is not None:
        mark = error.context_mark
        text += f", {error.context} that starts at line {mark.line + 1}, column {mark.column + 1}"
    return text
