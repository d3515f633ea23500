"""Is all that is over digested, in order, within bounds, and told to those who want to know?"""

import asyncio
import gzip
import json
import logging
import threading
from collections.abc import AsyncIterator

import anyio
import pytest

from swapcore import BecameReady, Exited, Start
from swapcore_http.activity import digest as digesting_module
from swapcore_http.activity import recorder as module
from swapcore_http.activity.captures import Captures
from swapcore_http.activity.digest import Digest, digest
from swapcore_http.activity.entries import Entry
from swapcore_http.activity.loads import Loads
from swapcore_http.activity.queries import Query
from swapcore_http.activity.recorder import Recorder
from swapcore_http.activity.recording import MORE, ROOM, Recording
from swapcore_http.activity.store import Store
from swapcore_http.driver import Observation

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
FIELDS = ((b"Content-Type", b"application/json"),)
PACKED = (*FIELDS, (b"content-encoding", b"gzip"))
USAGE = json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 5}}).encode()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder(Store, Captures(0), Loads())
    yield recorder
    await recorder.stop()


def answered(
    recorder: Recorder, *chunks: bytes, fields: tuple[tuple[bytes, bytes], ...] = FIELDS
) -> Recording:
    recording = recorder.begin("a", CHAT, (), None)
    recording.leased(1)
    recording.head(200, fields)
    for chunk in chunks:
        recording.feed(chunk)
    recording.end(whole=True)
    return recording


async def entries(recorder: Recorder) -> list[Entry]:
    found, _ = await recorder.ask(lambda store: store.find(Query(descending=False, limit=999)))
    return [entry for _, entry in found]


async def test_a_question_comes_after_all_that_was_recorded_before_it(recorder: Recorder) -> None:
    for count in range(1, 40):
        recorder.close(answered(recorder, USAGE))
        assert len(await entries(recorder)) == count


async def test_everything_is_told_once_and_in_order(recorder: Recorder) -> None:
    told: list[int] = []
    recorder.subscribe(lambda number, _: told.append(number))
    for _ in range(3 * module.BATCH):
        recorder.close(answered(recorder, USAGE))
    await entries(recorder)
    assert told == list(range(1, 3 * module.BATCH + 1))


KINDS = {
    "short": ((USAGE,), FIELDS),
    "long": ((b" " * module.SHORT, USAGE), FIELDS),
    "packed": ((gzip.compress(USAGE),), PACKED),
}


@pytest.mark.parametrize("slice_", [0.0, 60.0])
async def test_whoever_digests_them_they_stay_in_order(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, slice_: float
) -> None:
    monkeypatch.setattr(module, "SLICE", slice_)
    told: list[tuple[int, str]] = []
    recorder.subscribe(lambda number, entry: told.append((number, entry.error)))
    await entries(recorder)
    for number in range(1, 3 * module.TOGETHER):
        chunks, fields = list(KINDS.values())[number * number % 7 % 3]
        recording = answered(recorder, *chunks, fields=fields)
        recording.error = str(number)
        recorder.close(recording)
    found = await entries(recorder)
    assert [entry.tokens.output for entry in found] == [5] * len(found)
    assert told == [(number, str(number)) for number in range(1, 3 * module.TOGETHER)]


async def test_what_is_short_is_digested_in_the_loop_and_the_rest_elsewhere(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.get_ident()
    seen: dict[str, bool] = {}

    def digesting(recording: Recording, loading: float) -> Digest:
        seen[recording.error] = threading.get_ident() == here
        return digest(recording, loading)

    monkeypatch.setattr(digesting_module, "digest", digesting)
    await entries(recorder)
    for name, (chunks, fields) in KINDS.items():
        recording = answered(recorder, *chunks, fields=fields)
        recording.error = name
        recorder.close(recording)
    await entries(recorder)
    assert seen == {"short": True, "long": False, "packed": False}


async def test_what_waits_is_given_back(recorder: Recorder) -> None:
    recorder.captures.resize(10**6)
    for _ in range(2):
        for chunks, fields in KINDS.values():
            recorder.close(answered(recorder, *chunks, fields=fields))
        assert recorder._held > recorder._freed
        await entries(recorder)
        assert recorder._held == recorder._freed


async def test_what_is_written_needs_nobody_to_ask() -> None:
    recorder = Recorder(Store, Captures(0), Loads())
    told = asyncio.Event()
    recorder.subscribe(lambda *_: told.set())
    recorder.close(answered(recorder, USAGE))
    with anyio.fail_after(60):
        await told.wait()
    await recorder.stop()


async def test_the_end_writes_what_is_left(tmp_path: object) -> None:
    from pathlib import Path  # noqa: PLC0415

    path = Path(str(tmp_path)) / "record.db"
    recorder = Recorder(lambda: Store(path), Captures(0), Loads())
    recorder.close(answered(recorder, USAGE))
    await recorder.stop()
    assert len(Store(path).find(Query())[0]) == 1


async def test_without_requests_there_is_no_thread() -> None:
    before = threading.active_count()
    recorder = Recorder(Store, Captures(0), Loads())
    await recorder.stop()
    assert threading.active_count() == before


async def test_a_subscriber_that_fails_hurts_nobody(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    told: list[int] = []
    recorder.subscribe(fail)
    recorder.subscribe(lambda number, _: told.append(number))
    recorder.close(answered(recorder, USAGE))
    await entries(recorder)
    assert told == [1]
    assert "a subscriber to recorded requests failed" in caplog.text


async def test_too_many_at_once_are_left_out_and_counted(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    await entries(recorder)
    # The thread works on the first question while all this comes in one go.
    started, go = threading.Event(), threading.Event()

    def hold(_: Store) -> None:
        started.set()
        go.wait(20)

    held = asyncio.ensure_future(recorder.ask(hold))
    await asyncio.to_thread(started.wait, 20)
    for _ in range(9):
        recorder.close(answered(recorder, USAGE))
    go.set()
    await held
    assert recorder.dropped == 4
    assert len(await entries(recorder)) == 5
    assert len(caplog.records) == 1


@pytest.mark.parametrize("size", [1, 1000, 10**9])
async def test_a_long_packed_answer_is_unpacked_on_its_way(recorder: Recorder, size: int) -> None:
    noise = b"".join(b"%08x" % (number * 2654435761 % 2**32) for number in range(20_000))
    packed = gzip.compress(b'{"x": "' + noise + b'", ' + USAGE[1:])
    assert len(packed) > 2 * ROOM
    recording = answered(
        recorder, *(packed[start : start + size] for start in range(0, len(packed), size)), fields=PACKED
    )
    assert recording._held <= ROOM
    recorder.close(recording)
    (entry,) = await entries(recorder)
    assert (entry.tokens.output, entry.error) == (5, "")


async def test_a_packed_answer_that_comes_too_fast_is_given_up(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_HELD", ROOM)
    packed = gzip.compress(bytes(range(256)) * 4000, compresslevel=0)
    recorder.close(answered(recorder, packed[:500_000], packed[500_000:], fields=PACKED))
    (entry,) = await entries(recorder)
    assert entry.error == "the answer came too fast to be read"


async def test_room_is_reserved_for_captures_and_given_back() -> None:
    captures = Captures(4 * MORE)
    recorder = Recorder(Store, captures, Loads())
    recording = answered(recorder, *[b"x" * 1000] * 150)
    assert 0 < captures.reserved <= captures.limit
    recorder.close(recording)
    assert captures.reserved == 0
    large = answered(recorder, *[b"x" * 1000] * 1000)
    assert captures.reserved == 0, "it can never be captured, and holds nothing"
    assert large._held <= ROOM
    recorder.close(large)
    await entries(recorder)
    assert [captures.get(number) and captures.get(number).answered is not None for number in (1, 2)] == [  # type: ignore[union-attr]
        True,
        False,
    ]
    await recorder.stop()


# Loads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "until", "seconds"),
    [(0.0, 20.0, 5.0), (12.0, 20.0, 3.0), (0.0, 12.0, 2.0), (16.0, 20.0, 0.0), (0.0, 9.0, 0.0)],
)
def test_how_long_of_a_wait_was_loading(since: float, until: float, seconds: float) -> None:
    loads = Loads()
    loads.observe(Observation(10.0, BecameReady("b", 6), (Start("a", 7),)))
    assert loads.within(7, 0.0, 12.0) == 2.0
    loads.observe(Observation(15.0, BecameReady("a", 7), ()))
    assert loads.within(7, since, until) == seconds
    loads.observe(Observation(30.0, Exited("a", 7), ()))
    assert loads.within(7, since, until) == 0.0
    assert not loads._runs
