"""Tests of `swapcore_http.replay`: what is said of a journal, and whether it is right."""

import random
import re
from pathlib import Path

import anyio
import attrs
import pytest

from swapcore import Catalog, Engine, Model, Policy, Start
from swapcore.journal import Gap, Record, Step, dump, header_of
from swapcore.testing import Fate, Simulator, poisson
from swapcore_http import replay as module
from swapcore_http.config import Config, ModelConfig
from swapcore_http.driver import Control, Driver
from swapcore_http.journal import recording
from swapcore_http.replay import replay, try_traffic
from tests.core.driven import together

custom = together("ab")
CUSTOM = "tests.core.driven:together.<locals>.plan"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def world(count: int = 40, **fates: Fate) -> Simulator:
    one = Simulator(Catalog([Model("a"), Model("b")]), fates=fates)
    one.traffic(poisson(random.Random(3), rate=0.3, weights={"a": 1, "b": 1}, count=count))
    one.run()
    return one


def write(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(dump(records)))
    return path


def other(*models: str, **fields: object) -> Config:
    return Config(models=[ModelConfig(model, proxy="http://not.used") for model in models], **fields)  # type: ignore[arg-type]


def rows(text: str) -> dict[str, list[str]]:
    """Read the table: the two figures of each row by its name."""
    table = text.partition("\n\n")[0].splitlines()[1:]
    return {cells[0]: cells[1:] for cells in (re.split(r" {2,}", row.strip()) for row in table)}


def test_what_is_decided_the_same_way_is_ok(path: Path) -> None:
    one = world()
    verdict = replay([write(path, one.recording)])
    assert verdict.ok
    commands = sum(len(step.commands) for step in one.log)
    assert verdict.text == f"OK: {len(one.log)} steps and {commands} commands, all the same"


def test_the_first_difference_is_located_and_shown(path: Path) -> None:
    one = world()
    nth = next(nth for nth, step in enumerate(one.log) if nth > 20 and step.commands)
    one.log[nth] = attrs.evolve(one.log[nth], commands=(Start("b", 99),))
    verdict = replay([write(path, one.recording)])
    assert not verdict.ok
    where, event, recorded, now = verdict.text.splitlines()
    assert where == f"{path}:{nth + 2}: decided differently, after {nth} steps alike"
    assert str(one.log[nth].event) in event
    assert recorded == "  recorded: Start(model='b', run=99)"
    assert now.startswith("  now:      ")
    assert "run=99" not in now


def test_an_engine_that_raises_and_one_that_orders_nothing_are_shown(path: Path) -> None:
    one = world(1)
    verdict = replay([write(path, [one.header, one.log[-1]])])
    assert not verdict.ok
    assert "recorded: nothing" in verdict.text
    assert "now:      MisuseError(" in verdict.text


def test_a_long_step_is_cut_short(path: Path) -> None:
    one = world(1)
    long = Step(0.0, one.log[0].event, tuple(Start("b", nth) for nth in range(100)))
    verdict = replay([write(path, [one.header, long])])
    assert max(map(len, verdict.text.splitlines())) < 600


def test_gaps_and_what_follows_them_are_counted(path: Path) -> None:
    one = world()
    verdict = replay([write(path, [one.header, *one.log[:50], Gap(7), *one.log[57:]])])
    assert verdict.ok
    first, *notes = verdict.text.splitlines()
    assert first.startswith("OK: 50 steps and ")
    assert notes == [
        "7 steps were not recorded",
        f"{len(one.log) - 57} steps cannot be compared, for want of what was before them",
    ]


def test_files_are_read_in_their_order_and_have_to_be_of_one_recording(tmp_path: Path) -> None:
    one = world()
    first = write(tmp_path / "first", one.recording)
    second = write(tmp_path / "second", world(3).recording)
    verdict = replay([first, second])
    assert not verdict.ok
    assert verdict.text.startswith(f"{second}: line 1: another recording begins; give the files of one")
    assert not try_traffic([first, second], other("a", "b"), Engine(Catalog([]))).ok


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("hello\n", "line 1: this is not JSON"),
        ("\x00\xff\n", "line 1: this is not JSON"),
        ('{"format":99}\n', "line 1: it has format 99; only format 1 can be read"),
        ("[0.0]\n", "line 1: no record of a journal looks like [0.0]"),
        (None, "it cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_journal_is_said_without_a_traceback(path: Path, content: str | None, said: str) -> None:
    if content is not None:
        path.write_text(content, encoding="latin-1")
    for verdict in (replay([path]), try_traffic([path], other("a"), Engine(Catalog([Model("a")])))):
        assert not verdict.ok
        assert verdict.text.startswith(f"{path}: {said}")


def test_a_directory_is_no_journal(tmp_path: Path) -> None:
    assert replay([tmp_path]).text == f"{tmp_path}: it cannot be read: Is a directory"


def test_a_line_without_end_is_not_read_into_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 2000)
    one = world(2)
    write(path, one.recording)
    assert replay([path]).ok
    with path.open("a") as file:
        file.write("[" + "0" * 5000)
    assert replay([path]).text == f"{path}: line {len(one.log) + 2}: it is longer than 2000 characters"


def test_a_planner_of_ones_own_has_to_be_given(path: Path) -> None:
    engine = Engine(Catalog([Model("a"), Model("b")]), custom)
    one = Simulator.around(engine)
    one.traffic(poisson(random.Random(3), rate=0.3, weights={"a": 1, "b": 1}, count=10))
    one.run()
    write(path, one.recording)
    verdict = replay([path])
    assert not verdict.ok
    needed = f"it needs the planner {CUSTOM}, which is none of swapcore's own and is not given"
    assert verdict.text == f"{path}: {needed}"
    assert replay([path], {CUSTOM: custom}).ok
    assert try_traffic([path], other("a", "b"), Engine(other("a", "b").catalog())).ok, (
        "traffic needs no planner"
    )


def test_the_same_traffic_under_another_configuration(path: Path) -> None:
    one = world(200, a=Fate(load=5.0, stop=1.0), b=Fate(load=8.0, stop=1.0))
    write(path, one.recording)
    catalog = Catalog([Model("a"), Model("b")])
    same = rows(try_traffic([path], other("a", "b"), Engine(catalog)).text)
    assert same["callers"] == ["200", "200"]
    assert same["served"] == ["200", "200"]
    assert int(same["loads"][0]) > 20
    for figures in same.values():
        assert figures[0] == figures[1], "where nothing fails, the same engine does the same"

    roomy = rows(try_traffic([path], other("a", "b"), Engine(catalog, together("ab"))).text)
    assert roomy["loads"][1] == "2"
    assert roomy["load time"][1] == "13.0 s"
    assert roomy["evictions"] == [same["evictions"][0], "0"]
    assert roomy["wait for 'a'"][1].startswith("0.")
    eager = Policy(patience=0.0, load_factor=0.0, quantum=0.0)
    hasty = rows(try_traffic([path], other("a", "b"), Engine(catalog, policy=eager)).text)
    assert hasty["wait: mean, p50, p99, max"][0] != hasty["wait: mean, p50, p99, max"][1]


def test_models_are_found_by_their_aliases_and_those_that_lack_are_refused(path: Path) -> None:
    one = world(20)
    write(path, one.recording)
    config = Config(
        models=[
            ModelConfig("new", proxy="http://not.used", aliases=["a"]),
            ModelConfig("spare", proxy="http://x"),
        ],
        preload=["spare"],
    )
    table = rows(try_traffic([path], config, Engine(config.catalog())).text)
    asked_b = sum(caller.model == "b" for caller in one.callers.values())
    assert table["refused: unknown_model"] == ["0", str(asked_b)]
    assert table["served"] == ["20", str(20 - asked_b)]
    assert table["loads"][1] == "2", "the spare one is loaded first, for nobody"
    assert table["loads that served nobody"][1] == "1"
    assert "wait for 'new'" in table


def test_a_journal_without_callers(path: Path) -> None:
    write(path, [header_of(Engine(Catalog([Model("a")])))])
    assert replay([path]).text == "OK: 0 steps and 0 commands, all the same"
    verdict = try_traffic([path], other("a"), Engine(Catalog([Model("a")])))
    assert verdict.ok
    assert rows(verdict.text)["callers"] == ["0", "0"]


@pytest.mark.anyio
async def test_a_live_driver_is_replayed_and_its_traffic_tried_elsewhere(path: Path) -> None:
    async def launch(start: Start, control: Control) -> str:
        control.ready(f"http://{start.model}")
        await control.stopping.wait()
        return "gone"

    async def ask(driver: Driver, model: str) -> None:
        async with driver.lease(model):
            await anyio.lowlevel.checkpoint()

    config = other("a", "b")
    engine = Engine(config.catalog())
    with recording(path, engine) as record:
        async with Driver(engine, launch, observe=record) as driver:
            async with anyio.create_task_group() as tasks:
                for model in "abbaab":
                    tasks.start_soon(ask, driver, model)
            await driver.shutdown()
    verdict = replay([path])
    assert verdict.ok, verdict.text
    table = rows(try_traffic([path], config, Engine(config.catalog())).text)
    assert table["served"] == ["6", "6"]
    assert table["loads"] == ["2", "2"]
