"""Is every entry one line, said when it was written, and not repeated for ever?"""

import logging
import sys
import time
from datetime import datetime

import pytest

from swapcore_http import loglines
from swapcore_http.config.rules import LOG_TIMES
from swapcore_http.loglines import TIME_FORMATS, Lines

MOMENT = datetime(2026, 3, 4, 15, 6, 7, 89_000).timestamp()  # noqa: DTZ001 - the local zone is meant.


def logged(*texts: str, level: int = logging.INFO, time_format: str = "", now: float = MOMENT) -> list[str]:
    written: list[bytes] = []
    lines = Lines(written.append, time_format)
    for text in texts:
        lines.handle(entry(text, level, now))
    return [data.decode() for data in written]


def entry(text: str, level: int = logging.INFO, now: float = MOMENT, *args: object) -> logging.LogRecord:
    record = logging.LogRecord("x", level, __file__, 1, text, args, None)
    record.created = now
    return record


@pytest.mark.parametrize(
    ("level", "name"),
    [(10, "DEBUG"), (20, "INFO"), (30, "WARN"), (40, "ERROR"), (50, "ERROR")],
)
def test_a_line_says_how_bad_it_is(level: int, name: str) -> None:
    assert logged("hello", level=level) == [f"[{name}] hello\n"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ansic", "Wed Mar  4 15:06:07 2026"),
        ("unixdate", "Wed Mar  4 15:06:07 CET 2026"),
        ("rubydate", "Wed Mar 04 15:06:07 +0100 2026"),
        ("rfc822", "04 Mar 26 15:06 CET"),
        ("rfc822z", "04 Mar 26 15:06 +0100"),
        ("rfc850", "Wednesday, 04-Mar-26 15:06:07 CET"),
        ("rfc1123", "Wed, 04 Mar 2026 15:06:07 CET"),
        ("rfc1123z", "Wed, 04 Mar 2026 15:06:07 +0100"),
        ("rfc3339", "2026-03-04T15:06:07+01:00"),
        ("rfc3339nano", "2026-03-04T15:06:07.089+01:00"),
        ("kitchen", "3:06PM"),
        ("stamp", "Mar  4 15:06:07"),
        ("stampmilli", "Mar  4 15:06:07.089"),
        ("stampmicro", "Mar  4 15:06:07.089000"),
        ("stampnano", "Mar  4 15:06:07.089000000"),
    ],
)
def test_times(name: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1")
        time.tzset()
        moment = datetime(2026, 3, 4, 15, 6, 7, 89_000).timestamp()  # noqa: DTZ001
        assert logged("x", time_format=name, now=moment) == [f"{shown} [INFO] x\n"]
    time.tzset()


def test_the_configuration_knows_the_same_times() -> None:
    assert set(LOG_TIMES) == set(TIME_FORMATS)


def test_utc_is_z(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC0")
        time.tzset()
        assert logged("x", time_format="rfc3339", now=0.0) == ["1970-01-01T00:00:00Z [INFO] x\n"]
        assert logged("x", time_format="rfc3339nano", now=0.0) == ["1970-01-01T00:00:00Z [INFO] x\n"]
    time.tzset()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n[INFO] forged", "a\n    [INFO] forged"),
        ("a\r[INFO] forged", "a\n    [INFO] forged"),
        ("a\u2028[INFO] forged", "a\n    [INFO] forged"),
        ("a\x1b[2J\x07\x00b\tc", "a\ufffd[2J\ufffd\ufffdb\tc"),
        ("\ud800", "\ufffd"),
        ("x" * 20_000, "x" * 16_384 + "…"),
        ("Authorization: Bearer abcdefgh12345678", None),
    ],
)
def test_nothing_in_a_text_can_pass_for_more(text: str, line: str | None) -> None:
    (written,) = logged(text)
    if line is None:
        assert "abcdefgh" not in written
    else:
        assert written == f"[INFO] {line}\n"


def test_tracebacks_are_indented() -> None:
    written: list[bytes] = []
    try:
        raise ValueError("broken")  # noqa: TRY301
    except ValueError:
        record = entry("failed", logging.ERROR)
        record.exc_info = sys.exc_info()
    Lines(written.append).handle(record)
    head, *rest = written[0].decode().splitlines()
    assert head == "[ERROR] failed"
    assert rest[-1] == "    ValueError: broken"
    assert all(line.startswith("    ") for line in rest)


def test_what_is_repeated_is_left_out_and_counted() -> None:
    """T-41: one warning, a hundred thousand times."""
    written: list[bytes] = []
    lines = Lines(written.append)
    for number in range(100_000):
        lines.handle(entry("cannot reach %d", logging.WARNING, MOMENT + number / 10_000, number))
    assert len(written) == 20
    lines.handle(entry("another", logging.WARNING, MOMENT + 5))
    assert written[20] == b"[WARN] another\n"
    lines.handle(entry("cannot reach %d", logging.WARNING, MOMENT + 30, 7))
    assert written[21] == b"[WARN] cannot reach 7 (99980 more like this were left out before)\n"
    lines.handle(entry("cannot reach %d", logging.WARNING, MOMENT + 30, 8))
    assert written[22] == b"[WARN] cannot reach 8\n"


def test_what_is_debugged_is_all_there() -> None:
    assert len(logged(*["x"] * 2000, level=logging.DEBUG)) == 2000


def test_wordings_that_are_made_up_do_not_fill_the_memory() -> None:
    lines = Lines(lambda _: None)
    for number in range(3 * loglines.MOST_WORDINGS):
        lines.handle(entry(f"number {number}"))
    assert len(lines._wordings) <= loglines.MOST_WORDINGS
