"""Are recorded requests kept, found, summed up and forgotten as they should be?"""

import json
import logging
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.activity.entries import Entry
from swapcore_http.activity.queries import BadQueryError, Query, parse_query
from swapcore_http.activity.store import TABLE, Store
from swapcore_http.activity.tokens import Tokens


def entry(number: int = 1, **fields: Any) -> Entry:
    usual: dict[str, Any] = {
        "at": 1000.0 + number,
        "model": "a",
        "path": "/v1/chat/completions",
        "status": 200,
    }
    return Entry(**(usual | fields))


FULL = entry(
    kind="application/json", tokens=Tokens(1, 2, 3, 4, 5, 6.5, 7.5), duration=1.5, waited=0.25, loading=0.125,
    first_byte=0.5, error='ä "\\ \n', metadata={"selector": "s", "fifo_priority": 3},
)  # fmt: skip


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "record.db" if request.param == "file" else None)
    yield store
    store.close()


def ids(store: Store, **query: Any) -> list[int]:
    return [number for number, _ in store.find(Query(**query))[0]]


def test_an_entry_comes_back_as_it_was(store: Store) -> None:
    assert store.add([FULL, entry()]) == 1
    assert store.find(Query(descending=False)) == ([(1, FULL), (2, entry())], 2)
    assert store.add([entry(3)]) == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [4, 3, 2, 1]),
        ({"descending": False}, [1, 2, 3, 4]),
        ({"models": ("b",)}, [3]),
        ({"models": ("b", "a"), "descending": False}, [1, 2, 3]),
        ({"models": ("unknown",)}, []),
        ({"start": 1002.0}, [4, 3, 2]),
        ({"end": 1002.0}, [2, 1]),
        ({"start": 1002.0, "end": 1003.0}, [3, 2]),
        ({"min_id": 3}, [4, 3]),
        ({"max_id": 1}, [1]),
        ({"models": ("a",), "min_id": 2, "end": 1003.0}, [2]),
        ({"limit": 3}, [4, 3, 2]),
        ({"limit": 3, "page": 2}, [1]),
        ({"limit": 3, "page": 3}, []),
        ({"sort": "model", "descending": False}, [1, 2, 3, 4]),
        ({"sort": "model"}, [4, 3, 2, 1]),
        ({"sort": "generated"}, [1, 4, 3, 2]),
        ({"sort": "gen_speed", "descending": False}, [2, 3, 4, 1]),
        ({"sort": "time", "descending": False}, [1, 2, 3, 4]),
    ],
)
def test_queries(store: Store, query: dict[str, Any], expected: list[int]) -> None:
    store.add(
        [
            entry(1, tokens=Tokens(1, 9, output_speed=3.0)),
            entry(2),
            entry(3, model="b"),
            entry(4, model="c"),
        ]
    )
    assert ids(store, **query) == expected
    assert store.find(Query(**(query | {"limit": 999, "page": 1})))[1] == len(
        ids(store, **query | {"limit": 999, "page": 1})
    )


def test_only_the_latest_are_kept_and_numbers_are_never_used_again(store: Store) -> None:
    store.limit = 3
    store.add([entry(number) for number in range(1, 6)])
    assert ids(store) == [5, 4, 3]
    assert store.add([entry(6)]) == 6
    assert ids(store) == [6, 5, 4]


def test_a_file_outlives_the_store(tmp_path: Path) -> None:
    for first in (1, 3):
        store = Store(tmp_path / "record.db")
        assert store.add([FULL, entry()]) == first
        store.close()
    assert (tmp_path / "record.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "record.db").read_bytes()[18:20] == b"\x02\x02", "the file is not in WAL mode"
    assert ids(Store(tmp_path / "record.db")) == [4, 3, 2, 1]


def test_a_table_of_llama_swaps_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "record.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE activity (id INTEGER PRIMARY KEY, model TEXT)")
        other.execute("INSERT INTO activity VALUES (7, 'theirs')")
    other.close()
    store = Store(path)
    assert store.add([entry()]) == 1
    store.close()
    other = sqlite3.connect(path)
    assert other.execute("SELECT * FROM activity").fetchall() == [(7, "theirs")]
    other.close()


def test_two_servers_can_write_to_one_file(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "record.db"), Store(tmp_path / "record.db")
    assert [one.add([entry()]), two.add([entry(), entry()]), one.add([entry()])] == [1, 2, 4]
    one.close()
    two.close()


def test_a_disk_that_is_full_loses_nothing_that_memory_can_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = Store(tmp_path / "record.db")
    store.add([entry()])
    database = store._database()
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    large = entry(2, error="x" * 50_000)
    assert store.add([large]) == 2
    store.add([large])
    assert ids(store) == [1]
    assert len(caplog.records) == 1, "each failure is told once"
    assert "database or disk is full" in caplog.text
    database.execute("PRAGMA max_page_count = 100000")
    assert store.add([entry(4)]) == 4
    assert ids(store) == [4, 3, 2, 1]
    assert "can be written again" in caplog.text
    store.close()


def test_what_waits_for_the_disk_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapcore_http.activity.store.MOST_WAITING", 5)
    folder = tmp_path / "not there yet"
    store = Store(folder / "record.db")
    for number in range(10):
        store.add([entry(number)])
    folder.mkdir()
    store.add([entry(10)])
    assert [each.at for _, each in store.find(Query())[0]] == [1010.0, 1009.0, 1008.0, 1007.0, 1006.0, 1005.0]
    store.close()


def test_a_file_that_is_no_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "record.db"
    path.write_text("something of the user's own, which nobody may overwrite " * 50)
    before = path.read_bytes()
    store = Store(path)
    store.add([entry()])
    store.close()
    assert "file is not a database" in caplog.text
    assert path.read_bytes() == before


# Statistics ---------------------------------------------------------------------


def dumb_histogram(speeds: list[float]) -> dict[str, Any] | None:
    values = sorted(speed for speed in speeds if speed > 0)
    if not values:
        return None
    least, most = values[0], values[-1]
    bins, size = [len(values)], 0.0
    if least != most:
        bins = [0] * min(max(math.ceil(math.log2(len(values))) + 1, 5), 20)
        size = (most - least) / len(bins)
        for value in values:
            bins[min(int((value - least) / size), len(bins) - 1)] += 1

    def percentile(part: float) -> float:
        position = (len(values) - 1) * part
        below = int(position)
        above = min(below + 1, len(values) - 1)
        return values[below] + (values[above] - values[below]) * (position - below)

    shown = {f"p{each}": pytest.approx(percentile(each / 100)) for each in (50, 95, 99)}
    return {"bins": bins, "min": least, "max": most, "binSize": pytest.approx(size), **shown}


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5]) | st.floats(0.01, 1e4), max_size=60))
def test_statistics_agree_with_a_simple_count(speeds: list[float]) -> None:
    store = Store()
    store.add([entry(tokens=Tokens(2, 3, -1, output_speed=speed)) for speed in speeds])
    shown = store.statistics(Query())
    count = len(speeds)
    assert shown == {
        "total_requests": count,
        "total_input_tokens": 2 * count,
        "total_output_tokens": 3 * count,
        "total_cache_tokens": 0,
        "prompt_histogram": None,
        "gen_histogram": dumb_histogram(speeds),
    }
    store.close()


def test_statistics_of_one_model(store: Store) -> None:
    store.add([entry(tokens=Tokens(1, 2, 5)), entry(model="b", tokens=Tokens(10, 20, 7, input_speed=4.0))])
    shown = store.statistics(Query(models=("b",)))
    assert (shown["total_requests"], shown["total_cache_tokens"]) == (1, 7)
    assert shown["prompt_histogram"] == {
        "bins": [1], "min": 4.0, "max": 4.0, "binSize": 0.0, "p50": 4.0, "p95": 4.0, "p99": 4.0
    }  # fmt: skip
    assert store.statistics(Query(models=("c",)))["total_requests"] == 0


def test_what_somebody_may_not_see_is_not_there(store: Store) -> None:
    store.add([entry(), entry(model="b"), entry(model="c")])
    assert sorted(store.models()) == ["a", "b", "c"]
    for visible, models, ids in [
        (("b", "c"), (), [3, 2]),
        (("b", "c"), ("a", "b"), [2]),
        (("b",), ("a",), []),
        ((), (), []),
        (tuple(map(str, range(40_000))), (), []),
    ]:
        query = Query(visible=visible, models=models)
        found, total = store.find(query)
        assert [number for number, _ in found] == ids
        assert total == store.statistics(query)["total_requests"] == len(ids)


# Queries ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({}, Query()),
        ({"model": ["a", "", "b"]}, Query(models=("a", "b"))),
        (
            {"start": ["1970-01-01T00:00:05Z"], "end": ["1970-01-01T01:00:05+01:00"]},
            Query(start=5.0, end=5.0),
        ),
        ({"start": ["1970-01-01T00:00:05.250Z"]}, Query(start=5.25)),
        ({"end": ["1970-01-01T01:00:05 01:00"]}, Query(end=5.0)),
        ({"min_id": ["1"], "max_id": ["1"]}, Query(min_id=1, max_id=1)),
        ({"limit": ["999"], "page": ["7"]}, Query(limit=999, page=7)),
        ({"limit": [""], "page": [], "sort": [""]}, Query()),
        ({"sort": ["gen_speed"], "order": ["asc"]}, Query(sort="gen_speed", descending=False)),
        ({"unknown": ["x"]}, Query()),
    ],
)
def test_queries_are_read(given_: dict[str, list[str]], expected: Query) -> None:
    assert parse_query(given_) == expected


@pytest.mark.parametrize(
    "given_",
    [
        {"start": "yesterday"}, {"start": "2026-01-01"}, {"start": "2026-01-01T00:00:00"}, {"end": "5"},
        {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"},
        {"min_id": "0"}, {"min_id": "-1"}, {"max_id": "x"}, {"min_id": "1.5"}, {"max_id": "9" * 30},
        {"min_id": "3", "max_id": "2"},
        {"limit": "0"}, {"limit": "1000"}, {"limit": "٣"}, {"page": "0"},
        {"sort": "at"}, {"sort": "id; DROP TABLE"}, {"order": "up"},
    ],
)  # fmt: skip
def test_queries_that_make_no_sense(given_: dict[str, str]) -> None:
    with pytest.raises(BadQueryError):
        parse_query({name: [value] for name, value in given_.items()})


def test_too_many_models() -> None:
    with pytest.raises(BadQueryError):
        parse_query({"model": [f"m{number}" for number in range(101)]})


def test_texts_that_no_encoding_can_write(store: Store) -> None:
    store.add([entry(error=json.loads(r'"a\ud800b"'))])
    ((_, found),) = store.find(Query())[0]
    assert found.error.startswith("a")
    assert f"sqlite_{TABLE}" not in found.error
