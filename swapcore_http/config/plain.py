"""What does the tree say as plain Python data, and where does each part of it stand?"""

from attrs import define, field, frozen

from swapcore_http.config.problems import Path, describe
from swapcore_http.config.source import Mapping, Node, Scalar, Sequence, Span

__all__ = ["Place", "Plain", "plain"]

MERGE = "<<"


@frozen(eq=False, repr=False)
class Place:
    """Where one part of the data stands."""

    value: Span
    key: Span | None = None
    """Its key's place; None for items of lists."""

    source: int = 0
    """Which of several sources it stands in."""


@define(eq=False, repr=False)
class Plain:
    """Plain data: dicts with texts as keys, lists, and what scalars mean.

    Nothing in it is shared, so it may be changed in place: anchors are written
    out, and so are merge keys.
    """

    data: object = None
    source: int = 0
    """Which of several sources all of it is from, unless it was merged."""

    places: dict[Path, Place] = field(factory=dict)
    faults: dict[tuple[Path, Span, str], None] = field(factory=dict)
    """What the tree says that data cannot: keys twice, keys that are no text, merges of no mapping.

    They are the keys of a dict, since a mapping that is merged often has the same faults each time.
    """


def plain(root: Node, source: int = 0) -> Plain:
    """Turn a tree, whose depth and size are bounded, into plain data."""
    result = Plain(source=source)
    result.data = _convert(result, root, (), None)
    return result


def _convert(result: Plain, node: Node, path: Path, key: Span | None) -> object:
    result.places[path] = Place(node.span, key, result.source)
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return [_convert(result, item, (*path, index), None) for index, item in enumerate(node.items)]
        case Mapping():
            return {
                name: _convert(result, value, (*path, name), key.span)
                for name, (key, value) in _entries(result, node, path).items()
            }


def _entries(result: Plain, node: Mapping, path: Path) -> dict[str, tuple[Scalar, Node]]:
    """Collect a mapping's entries in the order written; what it merges in yields to its own keys."""
    own: dict[str, tuple[Scalar, Node]] = {}
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            result.faults[path, key.span, f"{_kind(key)} is no key; expected a text"] = None
        elif _is_merge(key):
            continue
        elif key.text in own:
            first = own[key.text][0].span
            fault = f"duplicate key; it is at line {first.line}, column {first.column} already"
            result.faults[(*path, key.text), key.span, fault] = None
        else:
            own[key.text] = (key, value)
    if all(isinstance(key, Scalar) and not _is_merge(key) for key, _ in node.pairs):
        return own
    entries: dict[str, tuple[Scalar, Node]] = {}
    for key, value in node.pairs:
        if not isinstance(key, Scalar):
            continue
        if not _is_merge(key):
            entries[key.text] = own[key.text]
            continue
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                fault = f"{_kind(source)} cannot be merged; expected a mapping, or a list of mappings"
                result.faults[(*path, MERGE), source.span, fault] = None
                continue
            for name, entry in _entries(result, source, path).items():
                if name not in own:
                    entries.setdefault(name, entry)
    return entries


def _is_merge(key: Scalar) -> bool:
    return key.plain and key.text == MERGE


def _kind(node: Node) -> str:
    match node:
        case Scalar():
            return describe(node.value)
        case Sequence():
            return describe([])
        case Mapping():
            return describe({})
