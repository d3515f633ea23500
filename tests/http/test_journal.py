"""Tests of `swapcore_http.journal`: on real files, also on such that cannot be written."""

import errno
import logging
import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import anyio
import pytest

from swapcore import Arrived, BecameReady, Catalog, Engine, Event, Lost, Model, Reject, Released, Start
from swapcore.journal import Gap, Header, JournalError, Record, Step, header_of, load, without_detail
from swapcore.testing import Simulator, compare, poisson
from swapcore_http import journal
from swapcore_http.driver import Control, Driver, Observation, RefusedError
from swapcore_http.journal import CannotRecordError, Recorder, recording
from swapcore_http.replay import replay

SECRET = "s3cret"  # noqa: S105 - what must not be found.


def traffic(count: int = 60, rate: float = 0.3) -> list[tuple[float, Event]]:
    world = Simulator(Catalog([Model("a"), Model("b")]))
    world.traffic(poisson(random.Random(2), rate=rate, weights={"a": 1, "b": 1}, count=count))
    world.run()
    return world.journal


def new_engine() -> Engine:
    return Engine(Catalog([Model("a"), Model("b")]))


def play(
    engine: Engine,
    record: Callable[[Observation], None],
    events: list[tuple[float, Event]],
    each: Callable[[int], None] = lambda _: None,
) -> list[Step]:
    """Tell the engine these events, as a driver does, and record each."""
    log = []
    for nth, (now, event) in enumerate(events):
        commands = engine.handle(event, now)
        record(Observation(now, event, commands))
        log.append(without_detail(Step(now, event, commands)))
        each(nth)
    return log


def records(path: Path) -> list[Record]:
    with path.open() as file:
        return list(load(file))


def steps(path: Path) -> list[Step]:
    return [record for record in records(path) if isinstance(record, Step)]


def assert_in_place(kept: list[Record], log: list[Step]) -> None:
    """Each step that was kept stands where it was, and each gap where as many are missing."""
    at = 0
    for record in kept:
        if isinstance(record, Gap):
            at += record.dropped
        elif isinstance(record, Step):
            assert record == log[at]
            at += 1
    assert at == len(log)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    """One that writes only when told to, or when it stops."""
    one = Recorder(path, new_engine(), max_bytes=4000, max_buffer=3000)
    one.start()
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "INTERVAL", 3600.0)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Fill the disk: as many bytes can still be written as is said. `None` for a disk that is not full."""
    room: list[int | None] = [None]
    write = os.write

    def limited(file: int, data: bytes) -> int:
        if room[0] is None:
            return write(file, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, data[: room[0]])
        room[0] -= written
        return written

    def fill(left: int | None) -> None:
        room[0] = left

    monkeypatch.setattr(os, "write", limited)
    return fill


def test_what_is_recorded_is_read_back_and_replays(path: Path) -> None:
    engine = new_engine()
    with recording(path, engine) as record:
        log = play(engine, record, traffic())
        assert records(path) == [header_of(new_engine(), swapcore=version("swapcore"))]
    assert steps(path) == log
    assert compare(records(path)).steps == len(log) > 150
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "nobody else needs to know who asks for what"


def test_it_is_written_from_time_to_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "INTERVAL", 0.01)
    written = threading.Event()
    append = Recorder._append

    def appended(self: Recorder, text: str) -> None:
        append(self, text)
        if text:
            written.set()

    monkeypatch.setattr(Recorder, "_append", appended)
    engine = new_engine()
    with recording(path, engine) as record:
        log = play(engine, record, traffic(5))
        assert written.wait(30)
    assert steps(path) == log


def test_no_text_of_upstreams_or_callers_is_kept(path: Path) -> None:
    engine = new_engine()
    with recording(path, engine) as record:
        play(engine, record, [(0.0, Arrived(1, "a")), (1.0, Lost("a", 1, SECRET))])
    assert SECRET not in path.read_text()
    (_, lost) = steps(path)
    assert lost.event == Lost("a", 1)
    assert [type(one) for one in lost.commands] == [Reject]
    assert replay([path]).ok, "what is left out is not compared"


def test_without_a_path_nothing_is_recorded(tmp_path: Path) -> None:
    with recording(None, new_engine()) as record:
        record(Observation(0.0, Arrived(1, "a"), ()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recorded", [True, False])
def test_others_observe_as_well(path: Path, recorded: bool) -> None:  # noqa: FBT001 - one case each.
    seen: list[Observation] = []
    engine = new_engine()
    with recording(path if recorded else None, engine, also=seen.append) as observe:
        log = play(engine, observe, traffic(5))
    assert [without_detail(Step(one.now, one.event, one.commands)) for one in seen] == log
    assert path.exists() == recorded


def test_the_file_of_the_time_before_is_kept(path: Path) -> None:
    for nth in range(3):
        engine = Engine(Catalog([Model(f"model-{nth}")]))
        with recording(path, engine):
            pass
    assert "model-2" in path.read_text()
    assert "model-1" in path.with_name("journal.1").read_text()
    assert sorted(one.name for one in path.parent.iterdir()) == ["journal", "journal.1"]


@pytest.mark.parametrize("kind", ["directory", "device", "nowhere"])
def test_a_place_that_is_no_file_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = {"directory": tmp_path, "device": Path(os.devnull), "nowhere": tmp_path / "no" / "file"}[kind]
    with pytest.raises(CannotRecordError, match="cannot record in"), recording(path, new_engine()):
        raise AssertionError("never here")
    assert tmp_path.is_dir()
    assert Path(os.devnull).is_char_device()


def test_a_disk_that_is_full_from_the_start_is_refused(
    path: Path, full: Callable[[int | None], None]
) -> None:
    full(0)
    with pytest.raises(CannotRecordError, match="No space left on device"), recording(path, new_engine()):
        raise AssertionError("never here")


def test_a_recording_cannot_begin_in_the_midst_of_things(path: Path) -> None:
    engine = new_engine()
    engine.handle(Arrived(1, "a"), 0.0)
    with pytest.raises(JournalError, match="has to begin while nobody waits"), recording(path, engine):
        raise AssertionError("never here")


def test_a_file_that_reached_its_size_is_followed_by_one_that_replays_by_itself(path: Path) -> None:
    engine = new_engine()
    with recording(path, engine, max_bytes=12_000) as record:
        log = play(engine, record, traffic(150))
    old = path.with_name("journal.1")
    assert 12_000 < old.stat().st_size < 24_000
    kept = [*steps(old), *steps(path)]
    assert 100 < len(kept) < len(log), "there were more than two files"
    assert kept == log[-len(kept) :]
    for files in ([old], [path], [old, path]):
        comparison = compare(record for file in files for record in records(file))
        assert (comparison.difference, comparison.skipped, comparison.dropped) == (None, 0, 0)
        assert comparison.steps == sum(len(steps(file)) for file in files)


def test_a_server_that_is_never_quiet_is_followed_by_a_file_that_needs_the_one_before(path: Path) -> None:
    engine = new_engine()
    busy: list[tuple[float, Event]] = [(0.0, Arrived(0, "a")), (0.5, BecameReady("a", 1))]
    busy += [(1.0 + nth, Arrived(nth, "a")) for nth in range(1, 200)]
    with recording(path, engine, max_bytes=6_000) as record:
        log = play(engine, record, busy)
    old = path.with_name("journal.1")
    assert 12_000 < old.stat().st_size < 13_000
    assert [*steps(old), *steps(path)] == log
    header = records(path)[0]
    assert isinstance(header, Header)
    assert (header.part, header.state) == (2, None)
    assert replay([old, path]).text.startswith(f"OK: {len(log)} steps")
    alone = replay([path])
    assert not alone.ok
    assert "continue others that are not here" in alone.text


def test_a_full_disk_drops_whole_steps_marks_the_place_and_says_so_once(
    path: Path, recorder: Recorder, full: Callable[[int | None], None], caplog: pytest.LogCaptureFixture
) -> None:
    def at(nth: int) -> None:
        if nth == 40:
            full(20)
        elif nth == 120:
            full(None)
        recorder.flush()

    with caplog.at_level(logging.WARNING):
        recorder._max_bytes = 10**6
        log = play(recorder._engine, recorder.record, traffic(), at)
        recorder.stop()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "loses steps: No space left on device" in said[0]
    assert f"lacks {recorder.dropped} steps" in said[1]
    assert recorder.dropped == 80
    assert steps(path) == log[:40] + log[120:]
    assert_in_place(records(path), log)
    (gap,) = [record for record in records(path) if isinstance(record, Gap)]
    assert gap == Gap(80)
    comparison = compare(records(path))
    assert comparison.difference is None
    assert comparison.dropped == 80
    assert comparison.steps > 40 + 20, "it replays again from where the state was known again"
    assert comparison.steps + comparison.skipped == len(log) - 80


def test_a_disk_that_is_full_when_a_file_begins_leaves_a_file_that_can_be_read(
    path: Path, recorder: Recorder, full: Callable[[int | None], None]
) -> None:
    def at(nth: int) -> None:
        if recorder._part == 2 and recorder._max_bytes < 10**6:
            recorder._max_bytes = 10**6
            full(100)
            filled.append(nth)
        recorder.flush()
        if nth == 120:
            full(None)

    filled: list[int] = []
    log = play(recorder._engine, recorder.record, traffic(), at)
    recorder.stop()
    (first,) = filled
    assert recorder.dropped == 120 - first
    # The step that filled the file still fitted in it.
    assert [*steps(path.with_name("journal.1")), *steps(path)] == log[: first + 1] + log[121:]
    assert isinstance(records(path)[0], Header)
    assert replay([path]).ok


def test_a_disk_that_stays_full_does_not_cost_what_it_has(
    path: Path, recorder: Recorder, full: Callable[[int | None], None]
) -> None:
    def at(nth: int) -> None:
        recorder.flush()
        if recorder._part == 2 and not filled:
            full(0)
            filled.append(nth)

    filled: list[int] = []
    log = play(recorder._engine, recorder.record, traffic(), at)
    recorder.stop()
    assert recorder.dropped * 80 > 2 * 4000, "enough for two files was lost"
    old = path.with_name("journal.1")
    assert steps(old) == log[: filled[0] + 1]
    assert steps(path) == []
    assert replay([old, path]).ok


def test_a_file_of_which_nothing_could_be_written_takes_no_place(
    path: Path, recorder: Recorder, full: Callable[[int | None], None]
) -> None:
    recorder._max_bytes, recorder._max_buffer = 2000, 10**6
    log = play(recorder._engine, recorder.record, traffic()[:15])
    recorder.flush()
    full(0)
    play(recorder._engine, recorder.record, traffic()[15:])
    assert recorder._part > 3, "it is to go on to several files at once"
    recorder.stop()
    old = path.with_name("journal.1")
    assert steps(old) == log
    assert path.read_text() == ""
    assert replay([old, path]).ok


def test_what_is_lost_before_a_file_that_replays_by_itself_does_not_harm_it(
    path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def failing(file: int, data: bytes) -> int:
        if failures:
            raise failures.pop()
        return write(file, data)

    monkeypatch.setattr(os, "write", failing)
    recorder._max_bytes, recorder._max_buffer = 3500, 10**6
    log = play(recorder._engine, recorder.record, traffic()[:60])
    recorder.stop()
    kept = steps(path)
    assert 0 < len(kept) == len(log) - recorder.dropped
    assert steps(path.with_name("journal.1")) == []
    assert compare(records(path)).steps == len(kept)


def test_a_file_that_begins_in_the_midst_of_things_after_a_loss_waits_for_a_quiet_moment(
    path: Path, recorder: Recorder, full: Callable[[int | None], None]
) -> None:
    recorder._max_bytes, recorder._max_buffer = 700, 10**6
    ready: list[tuple[float, Event]] = [(0.0, Arrived(0, "a")), (0.5, BecameReady("a", 1))]
    busy: list[tuple[float, Event]] = [(1.0, Arrived(nth, "a")) for nth in range(1, 40)]
    quiet: list[tuple[float, Event]] = [(2.0, Released(nth)) for nth in range(40)]
    again: list[tuple[float, Event]] = [(3.0, Arrived(99, "a")), (4.0, Released(99))]
    full(0)
    play(recorder._engine, recorder.record, ready)
    recorder.flush()
    full(None)
    log = play(recorder._engine, recorder.record, busy)
    recorder._max_bytes = 10**6
    log += play(recorder._engine, recorder.record, quiet)
    log += play(recorder._engine, recorder.record, again)
    recorder.stop()
    first, *rest = records(path)
    assert isinstance(first, Header)
    assert first.part > 1
    assert first.state is None
    (second,) = [record for record in rest if isinstance(record, Header)]
    assert second.state is not None
    assert compare(records(path)).steps == len(again)


def test_a_disk_that_does_not_keep_up_costs_steps_but_no_memory_and_no_time(
    path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    entered, answer = threading.Event(), threading.Event()
    write = os.write

    def hanging(file: int, data: bytes) -> int:
        entered.set()
        assert answer.wait(60)
        return write(file, data)

    monkeypatch.setattr(os, "write", hanging)
    events = traffic()
    log = play(recorder._engine, recorder.record, events[:5])
    flushing = threading.Thread(target=recorder.flush)
    flushing.start()
    assert entered.wait(30)
    with caplog.at_level(logging.WARNING):
        log += play(recorder._engine, recorder.record, events[5:150])
    assert "its disk does not keep up" in caplog.text
    # One header, with all that waits in it, may come on top.
    longest = max(len(line) for piece in recorder._pieces for line in piece.lines)
    assert sum(piece.size for piece in recorder._pieces) <= 3000 + longest
    assert recorder.dropped > 50
    answer.set()
    flushing.join()
    recorder.flush()
    log += play(recorder._engine, recorder.record, events[150:])
    recorder.stop()
    files = [one for one in (path.with_name("journal.1"), path) if one.exists()]
    everything = [record for file in files for record in records(file)]
    kept = [one for one in everything if isinstance(one, Step)]
    assert len(kept) == len(log) - recorder.dropped
    assert_in_place(everything, log)
    assert compare(everything).difference is None


def test_a_disk_that_never_answers_does_not_keep_the_server_from_ending(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(journal, "LAST_WRITE", 0.01)
    engine = new_engine()
    recorder = Recorder(path, engine)
    recorder.start()
    write = os.write

    def hanging(file: int, data: bytes) -> int:
        assert answer.wait(60)
        return write(file, data)

    monkeypatch.setattr(os, "write", hanging)
    play(engine, recorder.record, traffic(3))
    with caplog.at_level(logging.WARNING):
        recorder.stop()
    assert "its disk does not answer" in caplog.text
    answer.set()
    recorder._thread.join(30)
    assert not recorder._thread.is_alive()


@pytest.mark.anyio
async def test_a_driver_is_recorded_from_its_first_step_to_its_last(path: Path) -> None:
    failing = anyio.Event()

    async def launch(start: Start, control: Control) -> str:
        if failing.is_set():
            return SECRET
        control.ready(f"http://{start.model}")
        await control.stopping.wait()
        return "gone"

    engine = new_engine()
    with recording(path, engine) as record:
        async with Driver(engine, launch, observe=record) as driver:
            async with driver.lease("a"), driver.lease("a"):
                pass
            async with driver.lease("b"):
                failing.set()
            with pytest.raises(RefusedError):
                async with driver.lease("a"):
                    raise AssertionError("never here")
    assert SECRET not in await anyio.Path(path).read_text()
    assert [type(step.event).__name__ for step in steps(path)][-1] == "ShutdownRequested"
    verdict = replay([path])
    assert verdict.ok, verdict.text
