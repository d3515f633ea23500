"""Tests of `swapcore.journal` and `swapcore.jsonable`."""

import json
import math
import re
import typing
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Command,
    Engine,
    Event,
    Exited,
    Forward,
    Lost,
    Model,
    Plan,
    Planner,
    Policy,
    Refusal,
    Reject,
    Released,
    Settings,
    Start,
    Stop,
    StopReason,
    SwapcoreError,
    Tick,
    one_at_a_time,
)
from swapcore.journal import (
    Gap,
    Header,
    JournalError,
    Step,
    can_resume,
    dump,
    engine_of,
    header_of,
    load,
    read_line,
    without_detail,
    write_line,
)
from swapcore.jsonable import NamedPlanner, UnreadableError, codec
from swapcore.planning import Group, Groups, Matrix
from swapcore.testing import Fate, Simulator
from tests.core.driven import together

custom = together("ab")
CUSTOM = "tests.core.driven:together.<locals>.plan"

seconds = st.floats(min_value=0, allow_nan=False)
anything = st.floats(allow_nan=False)
planners: st.SearchStrategy[Planner] = st.sampled_from(
    [
        one_at_a_time,
        Groups([Group("g", ("a", "b"), persistent=True)], ["a", "b", "c"]),
        Matrix({"s": "a & (x | c)"}, vars={"x": "b"}, evict_costs={"a": 2.5}, models=["a", "b", "c"]),
        NamedPlanner("somewhere:plan"),
    ]
)
models = st.builds(
    Model,
    st.text(min_size=1),
    concurrency_limit=st.integers(1),
    start_timeout=seconds,
    progress_extends_start=st.booleans(),
    ttl=st.none() | seconds,
    unload_timeout=seconds,
    patience=st.none() | seconds,
    max_queue=st.integers(0),
    pinned=st.booleans(),
    expected_load=st.none() | seconds,
    revision=st.text(),
)
catalogs = st.lists(models, max_size=3, unique_by=lambda model: model.id).map(Catalog)
policies = st.builds(
    Policy,
    patience=seconds,
    load_factor=seconds,
    quantum=seconds,
    choice=st.sampled_from(["oldest", "age", "work"]),
)
limits = st.builds(
    Settings,
    policy=policies,
    max_queue=st.integers(),
    shutdown_timeout=anything,
    reload_drain_timeout=anything,
    caller_share=st.floats(0.0, 1.0, exclude_min=True),
)
st.register_type_strategy(float, anything)
st.register_type_strategy(Settings, limits)
st.register_type_strategy(Policy, policies)
st.register_type_strategy(Catalog, catalogs)
st.register_type_strategy(Planner, planners)


@pytest.mark.parametrize("kind", typing.get_args(Event))
@given(st.data())
def test_every_event_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    step = Step(data.draw(anything), data.draw(st.from_type(kind)), ())
    line = write_line(step)
    assert "\n" not in line
    assert line.isascii()
    assert read_line(line) == step


@pytest.mark.parametrize("kind", typing.get_args(Command))
@given(st.data())
def test_every_command_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    step = Step(0.0, Tick(), tuple(data.draw(st.lists(st.from_type(kind), min_size=1, max_size=3))))
    assert read_line(write_line(step)) == step


@given(catalogs, planners, policies, seconds)
def test_every_header_comes_back_as_it_was(
    catalog: Catalog, planner: Planner, policy: Policy, timeout: float
) -> None:
    header = header_of(Engine(catalog, planner, policy=policy, shutdown_timeout=timeout), swapcore="1.2")
    again = read_line(write_line(header))
    assert again == header
    assert isinstance(again, Header)
    assert again.settings.policy == policy


def test_lines_are_as_documented() -> None:
    step = Step(5.0, BecameReady("a", 1), (Forward(1, "a", 1),))
    assert (
        write_line(step)
        == '[5.0,"BecameReady",{"model":"a","run":1},[["Forward",{"ticket":1,"model":"a","run":1}]]]'
    )
    assert write_line(Gap(3)) == '{"dropped":3}'
    assert read_line('{"dropped":3}') == Gap(3)
    header = write_line(header_of(Engine(Catalog([Model("a")]))))
    assert header.startswith('{"format":1,"catalog":{"models":[{"id":"a",')
    assert ',"planner":{"name":"one_at_a_time"},' in header


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_floats_that_json_lacks_are_words(value: float) -> None:
    line = write_line(Step(0.0, Arrived(1, "a", patience=value), ()))
    assert f'"patience":"{value}"' in line
    step = read_line(line)
    assert isinstance(step, Step)
    assert isinstance(step.event, Arrived)
    assert str(step.event.patience) == str(value)


@pytest.mark.parametrize("model", ["two\nlines", "\ud800", "\u2028", '"', "\x00"])
def test_no_name_breaks_a_line(model: str) -> None:
    step = Step(0.0, Arrived(1, model), ())
    line = write_line(step)
    assert line.splitlines() == [line]
    assert read_line(line) == step


def test_what_an_older_version_did_not_write_takes_its_default() -> None:
    assert read_line('[1,"Arrived",{"ticket":1,"model":"a"},[]]') == Step(1.0, Arrived(1, "a"), ())
    data = json.loads(write_line(header_of(Engine(Catalog([Model("a")])))))
    data["catalog"] = {"models": [{"id": "a"}]}
    del data["part"], data["state"]
    header = read_line(json.dumps(data))
    assert isinstance(header, Header)
    assert (list(header.catalog), header.part) == ([Model("a")], 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "this is not JSON"),
        ("[" * 100_000, "this is not JSON"),
        ("1" * 10_000, "this is not JSON"),
        ("[]", "no record of a journal looks like []"),
        ("7", "no record of a journal looks like 7"),
        ('{"dropped":"x"}', "dropped: expected a whole number, found 'x'"),
        ('{"format":2}', "it has format 2; only format 1 can be read"),
        ('{"format":1}', "Header lacks 'catalog'"),
        ('[1,"Landed",{},[]]', "'Landed' is none of Arrived, Released, "),
        ('[1,["Tick"],{},[]]', "['Tick'] is none of Arrived, Released, "),
        ('["x","Tick",{},[]]', "expected a number, found 'x'"),
        ("[" + "9" * 400 + ',"Tick",{},[]]', "is too large"),
        ('[true,"Tick",{},[]]', "expected a number, found True"),
        ('[1,"Tick",{"a":1},[]]', "Tick: Tick has no field 'a'"),
        ('[1,"Tick",[],[]]', "Tick: expected an object, found []"),
        ('[1,"Released",{},[]]', "Released: Released lacks 'ticket'"),
        ('[1,"Released",{"ticket":true},[]]', "Released: ticket: expected a whole number, found True"),
        ('[1,"Released",{"ticket":1.0},[]]', "Released: ticket: expected a whole number, found 1.0"),
        ('[1,"LoadRequested",{"models":"ab"},[]]', "LoadRequested: models: expected a list, found 'ab'"),
        ('[1,"LoadRequested",{"models":["a",1]},[]]', "models: 1: expected a string, found 1"),
        (
            '[1,"ShutdownRequested",{"urgency":"soon"},[]]',
            "ShutdownRequested: urgency: 'soon' is no Urgency",
        ),
        ('[1,"Tick",{},[["Fly",{}]]]', "'Fly' is none of Start, Stop, Forward, Reject"),
        ('[1,"Tick",{},["Start"]]', "expected a command and its fields, found 'Start'"),
        ('[1,"Tick",{},[["Start",{"model":"a"}]]]', "Start: Start lacks 'run'"),
        (
            '[1,"CatalogReplaced",{"catalog":{"models":[{"id":""}]}},[]]',
            "catalog: models: 0: a model needs an id that is not empty",
        ),
        (
            '[1,"CatalogReplaced",{"catalog":{"models":[]},"planner":{"name":"Oracle"}},[]]',
            "planner: {'name': 'Oracle'} is no planner that swapcore has",
        ),
        (
            '[1,"CatalogReplaced",{"catalog":{"models":[]},"planner":{"name":"Plan"}},[]]',
            "is no planner that swapcore has",
        ),
        (
            '[1,"CatalogReplaced",{"catalog":{"models":[]},"planner":{"name":"Groups","arguments":{}}},[]]',
            "planner: Groups: Groups lacks 'groups'",
        ),
    ],
)
def test_what_is_no_record_is_refused_with_a_reason(line: str, message: str) -> None:
    with pytest.raises(JournalError, match=re.escape(message)):
        read_line(line)


def lines_of(*records: Step | Gap) -> list[str]:
    return list(dump([header_of(Engine(Catalog([Model("a")]), custom)), *records]))


def test_a_journal_is_read_line_by_line_and_errors_say_which() -> None:
    lines = lines_of(Step(0.0, Tick(), ()), Gap(2))
    assert len(list(load(lines))) == 3
    with pytest.raises(JournalError, match=r"^line 3: no record of a journal looks like"):
        list(load([*lines[:2], "[]\n"]))
    with pytest.raises(JournalError, match=r"^line 1: a journal begins with a header$"):
        list(load(lines[1:]))
    assert list(load([])) == []


def test_a_line_cut_off_while_it_was_written_is_left_out() -> None:
    lines = lines_of(Step(0.0, Tick(), ()), Step(1.0, Tick(), ()))
    for length in range(len(lines[2]) - 1):
        cut = [*lines[:2], lines[2][:length]] if length else lines[:2]
        assert len(list(load(cut))) == 2
    assert len(list(load([*lines[:2], lines[2].rstrip()]))) == 3, "only the line break is missing"
    with pytest.raises(JournalError, match=r"^line 3: "):
        list(load([*lines[:2], lines[2][:5] + "\n"]))
    with pytest.raises(JournalError, match=r"^line 1: "):
        list(load([lines[0][:20]]))


def test_a_planner_of_ones_own_is_named_and_given_again() -> None:
    replaced = CatalogReplaced(Catalog([Model("a")]), custom, Settings(max_queue=7))
    lines = lines_of(Step(0.0, replaced, ()))
    header, step = load(lines)
    assert isinstance(header, Header)
    assert header.planner == NamedPlanner(CUSTOM)
    assert isinstance(step, Step)
    assert isinstance(step.event, CatalogReplaced)
    assert step.event.planner == NamedPlanner(CUSTOM)

    header, step = load(lines, {CUSTOM: custom})
    assert isinstance(header, Header)
    assert header.planner is custom
    assert step == Step(0.0, replaced, ())

    needed = f"it needs the planner {re.escape(CUSTOM)}, which is none of swapcore's own and is not given"
    with pytest.raises(JournalError, match=f"^line 1: {needed}$"):
        list(load(lines, {}))
    named = next(load(lines))
    assert isinstance(named, Header)
    with pytest.raises(JournalError, match=needed):
        engine_of(named)
    assert engine_of(named, {CUSTOM: custom})._state.planner is custom
    with pytest.raises(SwapcoreError, match=f"the planner {re.escape(CUSTOM)} is only known by name"):
        NamedPlanner(CUSTOM)("a", (), {})


@frozen
class OwnPlanner:
    """A planner with data of its own, which no journal keeps."""

    secret: str

    def __call__(self, target: str, *_: object) -> Plan:
        return Plan(target, ())


def test_the_data_of_a_planner_of_ones_own_is_not_kept() -> None:
    line = write_line(header_of(Engine(Catalog([Model("a")]), OwnPlanner("s3cret"))))
    assert "s3cret" not in line
    assert f'"planner":{{"name":"{OwnPlanner.__module__}:OwnPlanner"}}' in line


def test_what_is_said_for_people_can_be_left_out() -> None:
    said = Reject(1, Refusal.START_FAILED, "out of memory", 10.0)
    for event in (Lost("a", 1, "out of memory"), Exited("a", 1, "out of memory")):
        step = Step(0.0, event, (said, Start("a", 2)))
        assert without_detail(step) == Step(
            0.0, type(event)("a", 1), (Reject(1, Refusal.START_FAILED, "", 10.0), Start("a", 2))
        )
    silent = Step(0.0, Released(1), (Stop("a", 1, StopReason.TTL),))
    assert without_detail(silent) == silent


def busy_world(planner: Planner = one_at_a_time) -> Simulator:
    """A world with failures, priorities, gaps between callers, and two models that can coexist."""
    world = Simulator(
        Catalog([Model("a", ttl=6.0), Model("b", concurrency_limit=2), Model("c", patience=5.0)]),
        planner,
        fates={"a": Fate(load=3.0, stop=1.0), "b": [Fate(fails_after=0.5, lingers=2.0), Fate(load=2.0)]},
        policy=Policy(patience=20.0),
        reload_drain_timeout=math.inf,
    )
    for nth in range(60):
        world.ask("abcab"[nth % 5], at=2.5 * nth + 30.0 * (nth // 7), service=1.0 + nth % 3, priority=nth % 2)
    world.run()
    return world


@pytest.mark.parametrize("planner", [one_at_a_time, custom])
def test_an_engine_resumes_where_a_header_was_made_while_nobody_waited_or_was_served(
    planner: Planner,
) -> None:
    world = busy_world(planner)
    first = read_line(write_line(world.header))
    assert isinstance(first, Header)
    engine = engine_of(first, {CUSTOM: custom})
    resumed = 0
    for nth, step in enumerate(world.log):
        assert engine.handle(step.event, step.now) == step.commands
        if nth % 3 == 0 and can_resume(engine):
            header = read_line(write_line(header_of(engine, part=2)))
            assert isinstance(header, Header)
            again = engine_of(header, {CUSTOM: custom})
            again.check()
            resumed += 1
            for later in world.log[nth + 1 :]:
                assert again.handle(later.event, later.now) == later.commands
    assert resumed >= 5


def test_a_header_in_the_midst_of_things_continues_the_part_before() -> None:
    engine = Engine(Catalog([Model("a")]))
    engine.handle(Arrived(1, "a"), 0.0)
    with pytest.raises(JournalError, match="has to begin while nobody waits or is served"):
        header_of(engine)
    header = header_of(engine, part=2)
    assert header.state is None
    with pytest.raises(JournalError, match="part 2 continues the one before it"):
        engine_of(header)


def test_a_state_of_another_version_says_so() -> None:
    engine = Engine(Catalog([Model("a")]))
    engine.handle(Tick(), 1.0)
    header = header_of(engine, swapcore="9.9", part=2)
    assert header.state is not None
    strange = Header(
        catalog=header.catalog,
        planner=header.planner,
        settings=header.settings,
        swapcore="9.9",
        part=2,
        state={**header.state, "mood": 1},
    )
    with pytest.raises(
        JournalError, match=r"the state that swapcore '9\.9' wrote cannot be resumed: State has"
    ):
        engine_of(strange)


@frozen
class Shape:
    """A class with every kind of field, which may contain itself."""

    whole: int
    sizes: tuple[int, str]
    many: list[float]
    known: frozenset[int]
    table: dict[int, str | None]
    names: Mapping[str, bool]
    way: Literal["in", "out"]
    either: "Shape | Point | None" = None


@frozen
class Point:
    """Another choice."""

    x: float = 0.0


def shape(**changes: Any) -> Shape:
    fields: dict[str, Any] = {
        "whole": 1,
        "sizes": (1, "x"),
        "many": [1.5, math.inf],
        "known": frozenset({8, 1}),
        "table": {2: None, 1: "one"},
        "names": {"b": True, "a": False},
        "way": "out",
    }
    return Shape(**fields | changes)


def test_every_kind_of_field_comes_back_as_it_was() -> None:
    one = shape(either=shape(either=Point(2.0)))
    data = json.loads(json.dumps(codec(Shape).write(one)))
    assert codec(Shape).read(data) == one
    assert data["known"] == [1, 8], "a set is written in order, so that the same state is the same text"
    assert data["table"] == [[2, None], [1, "one"]]
    assert data["either"][0] == "Shape"
    assert list(codec(Shape).read(data).names) == ["b", "a"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sizes", [1], "sizes: expected 2 values, found [1]"),
        ("sizes", [1, 2], "sizes: 1: expected a string, found 2"),
        ("way", "up", "way: 'up' is none of 'in', 'out'"),
        ("way", [], "way: [] is none of 'in', 'out'"),
        ("names", [], "names: expected an object, found []"),
        ("names", {"a": 1}, "names: a: expected true or false, found 1"),
        ("table", [[1]], "table: 0: expected 2 values"),
        ("known", {"a": 1}, "known: expected a list"),
        ("either", ["Circle", {}], "either: expected one of Shape, Point"),
        ("either", ["Point", {"x": "far"}], "either: Point: x: expected a number, found 'far'"),
        ("many", ["Infinity"], "many: 0: expected a number"),
        ("whole", None, "whole: expected a whole number, found None"),
        ("whole", "x" * 200, "whole: expected a whole number, found '" + "x" * 59 + "…"),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_and_located(key: str, value: object, message: str) -> None:
    data = codec(Shape).write(shape())
    data[key] = value
    with pytest.raises(UnreadableError, match=f"^{re.escape(message)}"):
        codec(Shape).read(data)


@pytest.mark.parametrize("hint", [bytes, int | str, tuple[bytes, ...], object])
def test_a_type_that_cannot_be_written_is_refused_at_once(hint: object) -> None:
    with pytest.raises(TypeError):
        codec(hint)
