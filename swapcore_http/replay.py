"""Is what a journal recorded decided the same way again, and what would another way have cost?"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import define, field, frozen

from swapcore import Engine, LoadRequested, Planner
from swapcore.journal import Header, JournalError, Record, Step, load, without_detail
from swapcore.testing import Comparison, Report, Simulator, Waits, compare, report, traffic_of
from swapcore_http.config import Config

__all__ = ["Verdict", "replay", "try_traffic"]

MAX_LINE = 64 * 1024 * 1024
"""Characters that a line may have: a header holds a whole catalog, and maybe the engine's state."""

SHOWN = 500
"""Characters of a step that are shown."""

EXPLAINED = (
    "Under the other configuration each load and stop takes what it took on average here, and nothing fails."
    " Callers who were not served here are taken for average ones."
)


@frozen
class Verdict:
    """What there is to say about a journal."""

    ok: bool
    """Whether all is well."""

    text: str
    """What to print."""


def replay(paths: Iterable[Path], planners: Mapping[str, Planner] | None = None) -> Verdict:
    """Tell an engine again what a journal holds, and say whether it orders the same.

    Args:
        paths: The files of one recording, the oldest first.
        planners: The planners that the recorded server had besides swapcore's
            own, by the names the journal has for them.
    """
    reading = _Reading()
    try:
        comparison = compare(reading.records(paths), planners)
    except JournalError as error:
        return Verdict(ok=False, text=f"{reading.path}: {error}")
    difference = comparison.difference
    if difference is not None:
        now = _commands(difference.commands) if difference.error is None else repr(difference.error)
        lines = (
            f"{reading.path}:{reading.line}: decided differently, after {comparison.steps} steps alike",
            f"  event:    {difference.step.now!r} {_shown(str(without_detail(difference.step).event))}",
            f"  recorded: {_shown(_commands(without_detail(difference.step).commands))}",
            f"  now:      {_shown(now)}",
        )
        return Verdict(ok=False, text="\n".join(lines))
    return Verdict(ok=comparison.steps > 0 or not comparison.skipped, text=_outcome(comparison))


def try_traffic(paths: Iterable[Path], config: Config, engine: Engine) -> Verdict:
    """Say what the traffic of a journal would have cost under another configuration.

    Args:
        paths: The files of one recording, the oldest first.
        config: The other configuration.
        engine: A new engine made of it.
    """
    reading = _Reading()
    try:
        traffic = traffic_of(reading.records(paths))
        recorded = report(step for step in reading.records(paths) if isinstance(step, Step))
    except JournalError as error:
        return Verdict(ok=False, text=f"{reading.path}: {error}")
    traffic = traffic.renamed(lambda name: config.resolve(name) or name)
    world = Simulator.around(engine, fates=traffic.fates(config.catalog()), check=False)
    if config.preload:
        world.tell(LoadRequested(config.preload))
    world.traffic(traffic.asks)
    world.run(max_steps=100 * len(traffic.asks) + 10_000)
    lines = [*_side_by_side(recorded, report(world.log)), "", EXPLAINED]
    return Verdict(ok=True, text="\n".join(lines))


@define(eq=False, repr=False)
class _Reading:
    """Reads files one after the other, and knows where it is."""

    path: Path = field(factory=Path)
    line: int = 0

    def records(self, paths: Iterable[Path]) -> Iterator[Record]:
        """Read the records of the files of one recording."""
        begun = False
        for self.path in paths:
            self.line = 0
            for record in load(self._lines()):
                if begun and isinstance(record, Header) and record.part == 1:
                    raise JournalError(
                        f"line {self.line}: another recording begins; give the files of one, the oldest first"
                    )
                begun = True
                yield record
        if not begun:
            raise JournalError("it is empty")

    def _lines(self) -> Iterator[str]:
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                while line := file.readline(MAX_LINE):
                    self.line += 1
                    if len(line) == MAX_LINE and not line.endswith("\n"):
                        raise JournalError(f"line {self.line}: it is longer than {MAX_LINE} characters")
                    yield line
        except OSError as error:
            raise JournalError(f"it cannot be read: {error.strerror}") from error


def _outcome(comparison: Comparison) -> str:
    if comparison.skipped and not comparison.steps:
        return (
            f"nothing can be compared: {comparison.skipped} steps continue others that are not here;"
            " give the files of the recording, the oldest first"
        )
    lines = [f"OK: {comparison.steps} steps and {comparison.commands} commands, all the same"]
    if comparison.dropped:
        lines.append(f"{comparison.dropped} steps were not recorded")
    if comparison.skipped:
        lines.append(f"{comparison.skipped} steps cannot be compared, for want of what was before them")
    return "\n".join(lines)


def _commands(commands: Iterable[object]) -> str:
    return ", ".join(map(str, commands)) or "nothing"


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _side_by_side(recorded: Report, other: Report) -> Iterator[str]:
    rows = [("", "recorded", "other")]
    rows += [(name, value, _figures(other)[name]) for name, value in _figures(recorded).items()]
    nobody = Waits()
    for model in dict.fromkeys((*recorded.by_model, *other.by_model)):
        left, right = recorded.by_model.get(model, nobody), other.by_model.get(model, nobody)
        rows.append((f"wait for {model!r}", _waits(left), _waits(right)))
    for refusal in dict.fromkeys((*recorded.refusals, *other.refusals)):
        counts = recorded.refusals.get(refusal, 0), other.refusals.get(refusal, 0)
        rows.append((f"refused: {refusal.value}", str(counts[0]), str(counts[1])))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, first, second in rows:
        yield f"{name:{widths[0]}}  {first:>{widths[1]}}  {second:>{widths[2]}}"


def _figures(figures: Report) -> dict[str, str]:
    return {
        "callers": str(figures.callers),
        "served": str(figures.waits.count),
        "left unanswered": str(figures.left),
        "makespan": f"{figures.makespan:.1f} s",
        "loads": str(figures.swaps),
        "load time": f"{figures.load_time:.1f} s",
        "load time ÷ makespan": f"{figures.switching_share:.3f}",
        "evictions": str(figures.evictions),
        "loads that served nobody": str(figures.wasted),
        "evenness of slowdowns (Jain)": f"{figures.jain:.3f}",
        "wait: mean, p50, p99, max": _waits(figures.waits),
    }


def _waits(waits: Waits) -> str:
    return " ".join(f"{seconds:.1f}" for seconds in (waits.mean, waits.p50, waits.p99, waits.max)) + " s"
