"""Where do recorded requests live, and how are they found again?

In SQLite, in memory or in a file. One thread owns a store from the first
call on. Whatever happens to the disk is logged once and goes no further: rows
that cannot be written wait in memory, and the oldest of them are dropped.
"""

import json
import logging
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from swapcore_http.activity.entries import Entry
from swapcore_http.activity.queries import Query, UnreadableError
from swapcore_http.activity.statistics import histogram
from swapcore_http.activity.tokens import Tokens

__all__ = ["Found", "Store"]

logger = logging.getLogger(__name__)

TABLE = "swapcore_activity"
"""llama-swap's own table in the same file is left alone."""

COLUMNS = {
    "at": "REAL", "model": "TEXT", "path": "TEXT", "status": "INTEGER", "kind": "TEXT",
    "input": "INTEGER", "output": "INTEGER", "cached": "INTEGER", "drafted": "INTEGER", "accepted": "INTEGER",
    "input_speed": "REAL", "output_speed": "REAL",
    "duration": "REAL", "waited": "REAL", "loading": "REAL", "first_byte": "REAL",
    "error": "TEXT", "metadata": "TEXT",
}  # fmt: skip

BUSY = 5.0
"""Seconds to wait for another program that has locked the file."""

MOST_WAITING = 10_000
"""Rows that wait for a disk that takes none."""

Found = tuple[list[tuple[int, Entry]], int]
"""Numbered entries, and how many there are in all."""


class Store:
    """Numbered entries.

    Args:
        path: The file; `None` for memory.
        limit: How many entries are kept, the latest; 0 for all.
    """

    def __init__(self, path: Path | None = None, limit: int = 0) -> None:
        self.limit = limit
        self._path = path
        self._opened: sqlite3.Connection | None = None
        self._waiting: deque[Entry] = deque()
        self._last = 0
        self._failing = False

    def add(self, entries: Sequence[Entry]) -> int:
        """Keep entries, and return the number of the first; the others follow it."""
        self._waiting.extend(entries)
        self._last += len(entries)
        # What is only in memory need not be written before somebody looks.
        if self._path is not None or len(self._waiting) > MOST_WAITING:
            try:
                self._write()
            except sqlite3.Error as error:
                # They will have other numbers if others write meanwhile.
                self._complain(error)
        most = self.limit if self._path is None and self.limit else MOST_WAITING
        while len(self._waiting) > most:
            self._waiting.popleft()
        return self._last - len(entries) + 1

    def find(self, query: Query) -> Found:
        """Find entries and say how many there are in all.

        Raises:
            UnreadableError: the database cannot be read.
        """
        with _reading():
            where, values = query.where()
            columns = ", ".join(COLUMNS)
            database = self._current()
            (total,) = database.execute(f"SELECT count(*) FROM {TABLE}{where}", values).fetchone()  # noqa: S608
            rows = database.execute(
                f"SELECT id, {columns} FROM {TABLE}{where}{query.order()} LIMIT ? OFFSET ?",  # noqa: S608 - of ours.
                [*values, query.limit, (query.page - 1) * query.limit],
            )
            return [(row[0], _entry(row[1:])) for row in rows], int(total)

    def models(self) -> list[str]:
        """Name the models that there are entries of.

        Raises:
            UnreadableError: the database cannot be read.
        """
        with _reading():
            rows = self._current().execute(f"SELECT DISTINCT model FROM {TABLE}")  # noqa: S608 - of ours.
            return [row[0] for row in rows]

    def statistics(self, query: Query) -> dict[str, Any]:
        """Sum up the entries that a query is about, those beyond its page too.

        Raises:
            UnreadableError: the database cannot be read.
        """
        with _reading():
            where, values = query.where()
            database = self._current()
            counts = database.execute(
                "SELECT count(*), total(max(input, 0)), total(max(output, 0)), total(max(cached, 0))"  # noqa: S608
                f" FROM {TABLE}{where}",
                values,
            ).fetchone()
            return {
                "total_requests": int(counts[0]),
                "total_input_tokens": int(counts[1]),
                "total_output_tokens": int(counts[2]),
                "total_cache_tokens": int(counts[3]),
                "prompt_histogram": histogram(database, "input_speed", TABLE, where, values),
                "gen_histogram": histogram(database, "output_speed", TABLE, where, values),
            }

    def close(self) -> None:
        """Write what is left."""
        if self._path is not None and self._waiting:
            try:
                self._write()
            except sqlite3.Error as error:
                self._complain(error)
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _current(self) -> sqlite3.Connection:
        """Return the database with all that waits for it, if it can be written."""
        if self._waiting:
            try:
                self._write()
            except sqlite3.Error as error:
                self._complain(error)
        return self._database()

    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = self._open(self._path)
        return self._opened

    def _open(self, path: Path | None) -> sqlite3.Connection:
        if path is not None:
            # What people ask for is nobody else's business. If this fails, SQLite says why.
            with suppress(OSError):
                path.touch(mode=0o600)
        database = sqlite3.connect(path or ":memory:", timeout=BUSY, isolation_level=None)
        try:
            # Nothing here can be so strange that all the rest is not shown.
            database.text_factory = lambda text: text.decode(errors="replace")
            if path is not None:
                database.execute("PRAGMA journal_mode = WAL")
                # A crash of the machine may lose the last rows, but nothing else.
                database.execute("PRAGMA synchronous = NORMAL")
            columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {TABLE} (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns})"
            )
            database.execute(f"CREATE INDEX IF NOT EXISTS {TABLE}_at ON {TABLE} (at)")
            database.execute(f"CREATE INDEX IF NOT EXISTS {TABLE}_model ON {TABLE} (model)")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _write(self) -> None:
        """Write what waits, all of it or nothing."""
        database = self._database()
        database.execute("BEGIN IMMEDIATE")
        try:
            taken = database.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", [TABLE]).fetchone()
            # Another server may have written to the same file.
            last = max(self._last, (taken[0] if taken else 0) + len(self._waiting))
            first = last - len(self._waiting) + 1
            # One statement for all of it, so that Python's lock is given away once, and not once a row:
            # in a busy server each time would cost what the switch between two threads does.
            rows = json.dumps([_row(number, entry) for number, entry in enumerate(self._waiting, first)])
            database.execute(_INSERT, [rows])
            if self.limit > 0:
                database.execute(f"DELETE FROM {TABLE} WHERE id <= ?", [last - self.limit])  # noqa: S608
            database.execute("COMMIT")
        except sqlite3.Error:
            database.rollback()
            raise
        self._waiting.clear()
        self._last = last
        if self._failing:
            logger.info("the record of requests can be written again")
            self._failing = False

    def _complain(self, error: sqlite3.Error) -> None:
        if not self._failing:
            self._failing = True
            logger.warning(
                "the record of requests in %s cannot be written: %s", self._path or "memory", error
            )


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what SQLite raises into what callers are told of."""
    try:
        yield
    except sqlite3.Error as error:
        raise UnreadableError(str(error)) from error


_INSERT = (
    f"INSERT INTO {TABLE} (id, {', '.join(COLUMNS)}) SELECT "  # noqa: S608 - names of ours.
    + ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(COLUMNS) + 1))
    + " FROM json_each(?) ORDER BY key"
)


def _row(number: int, entry: Entry) -> list[Any]:
    tokens = entry.tokens
    return [
        number, entry.at, entry.model, entry.path, entry.status, entry.kind,
        tokens.input, tokens.output, tokens.cached, tokens.drafted, tokens.accepted,
        tokens.input_speed, tokens.output_speed,
        entry.duration, entry.waited, entry.loading, entry.first_byte,
        entry.error, json.dumps(entry.metadata) if entry.metadata else "",
    ]  # fmt: skip


def _entry(row: Sequence[Any]) -> Entry:
    at, model, path, status, kind, *rest = row
    duration, waited, loading, first_byte, error, metadata = rest[7:]
    return Entry(
        at=at, model=model, path=path, status=status, kind=kind, tokens=Tokens(*rest[:7]), duration=duration,
        waited=waited, loading=loading, first_byte=first_byte, error=error,
        metadata=json.loads(metadata) if metadata else {},
    )  # fmt: skip
