"""In which order do the lines come, and when does the next of them fall due?

`in_turn` says so of lines that it has never seen. Here the order is kept from
one event to the next, so that it costs what has changed and not how many
models are waited for.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping

from attrs import define, field

from swapcore.collation import Line

__all__ = ["Turns"]

_LAST = 1 << 62
"""More than any order of arrival."""

_Due = tuple[float, int, str]
"""When a line falls due, the order of its oldest caller, and its model."""

_Turn = tuple[int, int, str]
"""The priority of a line's foremost caller, the highest lowest, that caller's order, and the model."""


@define(eq=False, repr=False)
class Turns:
    """The lines of one state in order, brought up to date by `refresh`."""

    changed: dict[str, None] = field(factory=dict)
    """The models of lines that have changed, come or gone since; to be told by whoever does that."""

    _by_due: list[_Due] = field(factory=list)
    _by_turn: list[_Turn] = field(factory=list)
    _entries: dict[str, tuple[_Due, _Turn]] = field(factory=dict)

    def refresh(self, lines: Mapping[str, Line]) -> None:
        """Take in what has changed of these lines, which are all there are."""
        for model in self.changed:
            line = lines.get(model)
            before = self._entries.get(model)
            after = None if line is None else _entries(line)
            if before == after:
                continue
            if before is not None:
                del self._by_due[bisect_left(self._by_due, before[0])]
                del self._by_turn[bisect_left(self._by_turn, before[1])]
                del self._entries[model]
            if after is not None:
                insort(self._by_due, after[0])
                insort(self._by_turn, after[1])
                self._entries[model] = after
        self.changed.clear()

    def due(self, now: float) -> list[str]:
        """Return the models of those lines that are due, the earliest due first."""
        return [model for _, _, model in self._by_due[: self._split(now)]]

    def not_due(self, now: float) -> Iterator[str]:
        """Give the models of the other lines by priority, and then by whose foremost caller came first."""
        for _, _, model in self._by_turn:
            if self._entries[model][0][0] > now:
                yield model

    def to_fall_due(self, now: float) -> Iterator[tuple[float, str]]:
        """Give those other lines by when they fall due, as far as they ever do."""
        for due, _, model in self._by_due[self._split(now) :]:
            yield due, model

    def check(self, lines: Mapping[str, Line]) -> None:
        """Verify that nothing has changed but what it was told of.

        Raises:
            AssertionError: something has.
        """
        for model in {**lines, **self._entries}:
            if model not in self.changed:
                entries = _entries(lines[model]) if model in lines else None
                assert self._entries.get(model) == entries, f"{model} is out of turn"
        assert self._by_due == sorted(due for due, _ in self._entries.values())
        assert self._by_turn == sorted(turn for _, turn in self._entries.values())

    def _split(self, now: float) -> int:
        return bisect_right(self._by_due, (now, _LAST, ""))


def _entries(line: Line) -> tuple[_Due, _Turn]:
    due, oldest, priority, foremost = line.standing()
    return (due, oldest, line.model), (-priority, foremost, line.model)
