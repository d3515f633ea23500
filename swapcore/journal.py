r"""How is what an engine was told, and what it ordered, kept as lines of text?

A journal is a sequence of records, one line of JSON each:

- a `Header`, an object: the catalog, the planner by name and the settings of
  the engine that the steps after it were taken by;
- a `Step`, an array: the time, the event's name, its fields, and the commands
  it brought, each with its name and fields;
- a `Gap`, an object: steps that happened and were not kept.

    {"format":1,"part":1,"swapcore":"1.0","catalog":{…},"planner":{"name":"one_at_a_time"},…}
    [0.0,"Arrived",{"ticket":1,"model":"a","priority":0,…},[["Start",{"model":"a","run":1}]]]
    [5.0,"BecameReady",{"model":"a","run":1},[["Forward",{"ticket":1,"model":"a","run":1}]]]

A journal starts with a header. More can follow, because a long one is in
several parts: if the engine had no callers when a part began, its header holds
the engine's state, and the part can be replayed by itself. Else it can only be
replayed after the part before it.

>>> from swapcore import Arrived, Start
>>> line = write_line(Step(0.5, Arrived(1, "a"), (Start("a", 1),)))
>>> read_line(line) == Step(0.5, Arrived(1, "a"), (Start("a", 1),))
True
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, assert_never

import attrs
from attrs import field, frozen

from swapcore.catalog import Catalog
from swapcore.commands import Command, Reject
from swapcore.engine import Engine
from swapcore.errors import SwapcoreError
from swapcore.events import CatalogReplaced, Event, Exited, Lost
from swapcore.jsonable import Codec, NamedPlanner, UnreadableError, codec, union
from swapcore.planning import Planner
from swapcore.settings import Settings
from swapcore.state import State

__all__ = [
    "FORMAT",
    "Gap",
    "Header",
    "JournalError",
    "Record",
    "Step",
    "can_resume",
    "dump",
    "engine_of",
    "header_of",
    "load",
    "read_line",
    "resolved",
    "without_detail",
    "write_line",
]

FORMAT = 1
"""The version of what is described above; a journal of another one is not read."""


class JournalError(SwapcoreError):
    """A journal cannot be read or replayed; the text says where, if it is one line's fault, and why."""


@frozen(kw_only=True)
class Header:
    """What kind of engine took the steps that follow."""

    catalog: Catalog
    """The models there were."""

    planner: Planner
    """Its planner; a `NamedPlanner` if it was read and is none of swapcore's own."""

    settings: Settings
    """What else it was made with."""

    swapcore: str = ""
    """The version of swapcore that wrote this, if it says so."""

    part: int = 1
    """Counts the headers of one recording, from 1."""

    state: Mapping[str, Any] | None = field(default=None, repr=False)
    """The state it was in, as data of the version that wrote it. `None` if it was new, or, in a later
    part, in the midst of things."""


@frozen
class Step:
    """One event and what it brought."""

    now: float
    """When, in the engine's seconds."""

    event: Event
    """What happened."""

    commands: tuple[Command, ...]
    """What was ordered."""


@frozen
class Gap:
    """Steps are missing here."""

    dropped: int
    """How many."""


Record = Header | Step | Gap
"""What a line of a journal holds."""


def dump(records: Iterable[Record]) -> Iterator[str]:
    """Write records as lines, each with its line break."""
    for record in records:
        yield write_line(record) + "\n"


def load(lines: Iterable[str], planners: Mapping[str, Planner] | None = None) -> Iterator[Record]:
    """Read the records of lines, one after the other.

    A last line without a line break that cannot be read was cut off while it
    was written, and is left out.

    Args:
        lines: The lines of one file, from its first.
        planners: The planners that can be had besides swapcore's own, by the
            names the journal has for them. `None` to leave them `NamedPlanner`s.

    Raises:
        JournalError: a line is no record, or needs a planner that is not there.
    """
    for number, line in enumerate(lines, start=1):
        try:
            record = read_line(line)
            if planners is not None:
                record = resolved(record, planners)
        except JournalError as error:
            if number > 1 and not line.endswith("\n"):
                return
            raise JournalError(f"line {number}: {error}") from error
        if number == 1 and not isinstance(record, Header):
            raise JournalError("line 1: a journal begins with a header")
        yield record


def write_line(record: Record) -> str:
    """Write one record as a line, without its line break."""
    match record:
        case Step(now, event, commands):
            orders = [_written(_COMMANDS, command) for command in commands]
            data: Any = [_TIME.write(now), *_written(_EVENTS, event), orders]
        case Header():
            data = {"format": FORMAT, **_HEADER.write(record)}
        case Gap():
            data = _GAP.write(record)
        case _:
            assert_never(record)
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def read_line(line: str) -> Record:
    """Read the record of one line.

    Raises:
        JournalError: it holds none.
    """
    try:
        return _record(json.loads(line))
    # The parser goes down into what is nested, and Python limits how far.
    except (ValueError, RecursionError) as error:
        raise JournalError(f"this is not JSON: {error}") from error
    except UnreadableError as error:
        raise JournalError(str(error)) from error


def header_of(engine: Engine, *, swapcore: str = "", part: int = 1) -> Header:
    """Describe an engine as it is now, for what it will be told from here on.

    Args:
        engine: The engine; a new one, or any at a moment when `can_resume` says so.
        swapcore: The version of swapcore.
        part: The number of the part. From the second on it may be any moment.

    Raises:
        JournalError: a first part cannot begin in the midst of things.
    """
    state = engine._state  # noqa: SLF001 - the engine and its journal are one package.
    data = None
    if state.now > -math.inf:
        if can_resume(engine):
            data = _STATE.write(state)
            for known in ("catalog", "planner", "settings"):
                del data[known]
        elif part == 1:
            raise JournalError("a recording has to begin while nobody waits or is served")
    return Header(
        catalog=state.catalog,
        planner=state.planner,
        settings=state.settings,
        swapcore=swapcore,
        part=part,
        state=data,
    )


def can_resume(engine: Engine) -> bool:
    """Whether a header made now holds the whole state: nobody waits and nobody is served."""
    return not engine._state.tickets  # noqa: SLF001 - as above.


def engine_of(header: Header, planners: Mapping[str, Planner] | None = None) -> Engine:
    """Make the engine that took the steps after this header.

    Args:
        header: One of a first part, or with a state.
        planners: As for `load`.

    Raises:
        JournalError: it continues another part, it needs a planner that is not
            there, or its state is one that this version cannot read.
    """
    planner = header.planner
    if isinstance(planner, NamedPlanner):
        planner = _planner(planner.name, planners or {})
    engine = Engine(header.catalog, planner, **attrs.asdict(header.settings, recurse=False))
    if header.state is not None:
        fresh = _STATE.write(engine._state)  # noqa: SLF001 - as above.
        try:
            state: State = _STATE.read(fresh | header.state)
        except UnreadableError as error:
            wrote = f"swapcore {header.swapcore!r:.40}"
            raise JournalError(f"the state that {wrote} wrote cannot be resumed: {error}") from error
        engine._state = state  # noqa: SLF001 - as above.
        # A planner may be one that cannot be written.
        state.adopt(header.catalog, planner, header.settings)
    elif header.part > 1:
        raise JournalError(f"part {header.part} continues the one before it and cannot be replayed alone")
    return engine


def resolved(record: Record, planners: Mapping[str, Planner]) -> Record:
    """Return the record with the planners themselves in place of those of which it only has the name.

    Raises:
        JournalError: one of them is not there.
    """
    match record:
        case Header(planner=NamedPlanner(name)):
            return attrs.evolve(record, planner=_planner(name, planners))
        case Step(event=CatalogReplaced(planner=NamedPlanner(name)) as event):
            return attrs.evolve(record, event=attrs.evolve(event, planner=_planner(name, planners)))
        case _:
            return record


def without_detail(step: Step) -> Step:
    """Return the same step without what it says for people, which can quote an upstream's output."""
    event = step.event
    if isinstance(event, Lost | Exited):
        event = attrs.evolve(event, detail="")
    commands = tuple(
        attrs.evolve(one, detail="") if isinstance(one, Reject) else one for one in step.commands
    )
    return Step(step.now, event, commands)


def _planner(name: str, planners: Mapping[str, Planner]) -> Planner:
    try:
        return planners[name]
    except KeyError:
        raise JournalError(
            f"it needs the planner {name}, which is none of swapcore's own and is not given"
        ) from None


def _written(codecs: Mapping[str, Codec], message: Event | Command) -> tuple[str, Any]:
    name = type(message).__name__
    return name, codecs[name].write(message)


def _record(data: Any) -> Record:
    match data:
        case [now, event, fields, list(orders)]:
            return Step(
                _TIME.read(now),
                _message(_EVENTS, event, fields),
                tuple(_command(order) for order in orders),
            )
        case {"dropped": _}:
            gap: Gap = _GAP.read(data)
            return gap
        case {"format": version, **rest}:
            if version != FORMAT:
                raise UnreadableError(f"it has format {version!r:.20}; only format {FORMAT} can be read")
            header: Header = _HEADER.read(rest)
            return header
        case _:
            raise UnreadableError(f"no record of a journal looks like {data!r:.60}")


def _command(data: Any) -> Command:
    match data:
        case [name, fields]:
            command: Command = _message(_COMMANDS, name, fields)
            return command
        case _:
            raise UnreadableError(f"expected a command and its fields, found {data!r:.60}")


def _message(codecs: Mapping[str, Codec], name: Any, fields: Any) -> Any:
    if not isinstance(name, str) or name not in codecs:
        raise UnreadableError(f"{name!r:.60} is none of {', '.join(codecs)}")
    try:
        return codecs[name].read(fields)
    except UnreadableError as error:
        raise UnreadableError(f"{name}: {error}") from error


_EVENTS, _COMMANDS = union(Event), union(Command)
_HEADER, _GAP, _STATE, _TIME = codec(Header), codec(Gap), codec(State), codec(float)
