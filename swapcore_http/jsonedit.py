"""What must change in a JSON text so that it says something else and nothing more?"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Self

from attrs import define, frozen

from swapcore_http.jsontext import Member, members, skip

__all__ = ["Change", "PathError", "Step", "changes", "parse_path"]

Change = tuple[int, int, str]
"""What is to stand in a text in place of the characters from one position to another."""

MAX_INDEX = 1000
"""The largest index in a path: a longer array would have to be filled up to there."""

# Paths --------------------------------------------------------------------------


class PathError(ValueError):
    """A path is not one; the text says why."""


@frozen(repr=False)
class Step:
    """One part of a path."""

    name: str

    index: int | None
    """Which item of an array is meant, if it can mean one; -1 for the last, or one more."""


def parse_path(path: str) -> tuple[Step, ...]:
    r"""Take a path apart: `a.b` is a member of a member, `a.0` may be an item, `a\.b` is one name, `:0` too.

    Raises:
        PathError: it has wildcards, or too large an index.
    """
    if not path:
        raise PathError("a path is empty; expected the name of a parameter")
    parts: list[tuple[str, bool]] = []
    name, forced, letters = "", False, iter(path)
    for letter in letters:
        match letter:
            case "\\":
                name += next(letters, "\\")
            case ".":
                parts.append((name, forced))
                name, forced = "", False
            case "*" | "?" | "#" | "|":
                raise PathError(
                    f"{letter!r} in the path {path!r} is a wildcard; write \\{letter} if it is meant"
                )
            case ":" if not name and not forced:
                forced = True
            case _:
                name += letter
    parts.append((name, forced))
    steps = tuple(Step(name, None if forced else _index(name)) for name, forced in parts)
    for step in steps:
        if step.index is not None and step.index > MAX_INDEX:
            what = f"an index in the path {path!r} is larger than {MAX_INDEX}"
            raise PathError(f"{what}; write :{step.name} if it is a name")
    return steps


def _index(name: str) -> int | None:
    if name == "-1":
        return -1
    return int(name) if name.isascii() and name.isdigit() and len(name) < 10 else None  # noqa: PLR2004


# Changing -----------------------------------------------------------------------


@define(eq=False, repr=False)
class Node:
    """A value in a text, which is looked into only if something in it changes."""

    text: str
    start: int
    end: int
    entries: list["Entry"] | None = None
    """Its members or items, once they are looked at."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """Make one of a value that stands in no text yet."""
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return cls(text, 0, len(text))

    @property
    def is_object(self) -> bool:
        return self.text.startswith("{", self.start)

    @property
    def is_array(self) -> bool:
        return self.text.startswith("[", self.start)

    def inside(self) -> list["Entry"]:
        """Look at what is in it."""
        if self.entries is None:
            self.entries = [
                Entry(member.key, Node(self.text, member.value_start, member.end), member)
                for member in members(self.text, self.start, end=self.end)
            ]
        return self.entries

    def meant(self, step: Step) -> list["Entry"]:
        """Find the entries that a step of a path means: of repeated names, all."""
        here = [entry for entry in self.inside() if entry.value is not None]
        if self.is_object:
            return [entry for entry in here if entry.key == step.name]
        if not self.is_array or step.index is None:
            return []
        return here[step.index :] if step.index < 0 else here[step.index : step.index + 1]


@define(eq=False, repr=False)
class Entry:
    """A member or an item as it is to be."""

    key: str
    value: Node | None
    """None if it is to go."""

    member: Member | None = None
    """Where it stands, unless it is new."""


def changes(
    text: str, strip: Sequence[tuple[Step, ...]], put: Sequence[tuple[tuple[Step, ...], Any]]
) -> list[Change]:
    """Say what makes an object lack some values and have some others, one after the other.

    Args:
        text: The object, which must be valid JSON.
        strip: The paths of what is to go, if it is there.
        put: The paths of what is to be there, and the values.

    Raises:
        JSONDecodeError: it is not valid JSON.
        RecursionError: it is nested too deeply.
    """
    root = Node(text, skip(text, 0), len(text))
    root.entries = [Entry(one.key, Node(text, one.value_start, one.end), one) for one in members(text)]
    for path in strip:
        _strip(root, path)
    for path, value in put:
        _put(root, path, value)
    return sorted(_changes(root), key=lambda change: change[:2])


def _strip(node: Node, path: tuple[Step, ...]) -> None:
    first, *rest = path
    for entry in node.meant(first):
        if entry.value is None:
            continue
        if rest:
            _strip(entry.value, tuple(rest))
        else:
            entry.value = None


def _put(node: Node, path: tuple[Step, ...], value: Any) -> None:
    first, *rest = path
    found = node.meant(first) if first.index != -1 or rest else []
    for entry in found:
        if entry.value is None:
            continue
        if rest and (entry.value.is_object or (entry.value.is_array and rest[0].index is not None)):
            _put(entry.value, tuple(rest), value)
        else:
            entry.value = Node.of(_nested(rest, value))
    if not found:
        entries = node.inside()
        if node.is_array:
            present = sum(entry.value is not None for entry in entries)
            missing = 0 if first.index is None or first.index < 0 else first.index - present
            entries.extend(Entry("", Node.of(None)) for _ in range(missing))
        entries.append(Entry(first.name, Node.of(_nested(rest, value))))


def _nested(path: Sequence[Step], value: Any) -> Any:
    """Put a value into new objects and arrays."""
    for step in reversed(path):
        value = {step.name: value} if step.index is None else [*[None] * max(step.index, 0), value]
    return value


def _changes(node: Node) -> Iterator[Change]:
    """Yield what is to change in the text that a node stands in."""
    if node.entries is None:
        return
    standing = [(entry, entry.member) for entry in node.entries if entry.member is not None]
    last: Member | None = None
    for number, (entry, member) in enumerate(standing):
        if entry.value is None:
            # With the comma before it, or if nothing stays before it, the one after it.
            following = standing[number + 1][1] if number + 1 < len(standing) else None
            if last is not None:
                yield standing[number - 1][1].end, member.end, ""
            else:
                yield member.start, member.end if following is None else following.start, ""
            continue
        last = member
        if entry.value.text is node.text:
            yield from _changes(entry.value)
        else:
            yield member.value_start, member.end, _text(entry.value)
    new = [entry for entry in node.entries if entry.member is None and entry.value is not None]
    if new:
        written = ",".join(_written(entry, named=node.is_object) for entry in new)
        at = node.start + 1 if last is None else last.end
        yield at, at, written if last is None else f",{written}"


def _written(entry: Entry, *, named: bool) -> str:
    assert entry.value is not None  # noqa: S101 - what is to go is not written.
    text = _text(entry.value)
    return f"{json.dumps(entry.key, ensure_ascii=False)}:{text}" if named else text


def _text(node: Node) -> str:
    pieces, done = [], node.start
    for start, end, new in sorted(_changes(node), key=lambda change: change[:2]):
        pieces += [node.text[done:start], new]
        done = end
    return "".join([*pieces, node.text[done : node.end]])
