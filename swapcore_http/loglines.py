"""How does what is logged become lines that can be believed and will not fill a disk?

Whatever a line's text is made of, no part of it can pass for another line or
move a terminal's cursor, and what is repeated all the time is left out and counted.
"""

import logging
import math
from collections.abc import Callable
from datetime import datetime

from attrs import define

from swapcore_http.config.problems import masked

__all__ = ["TIME_FORMATS", "Lines", "printable"]

LEVELS = {logging.DEBUG: "DEBUG", logging.INFO: "INFO", logging.WARNING: "WARN", logging.ERROR: "ERROR"}
"""What the levels are called; those that lie above are errors."""

TIME_FORMATS = {
    "ansic": "%a %b %e %H:%M:%S %Y",
    "unixdate": "%a %b %e %H:%M:%S %Z %Y",
    "rubydate": "%a %b %d %H:%M:%S %z %Y",
    "rfc822": "%d %b %y %H:%M %Z",
    "rfc822z": "%d %b %y %H:%M %z",
    "rfc850": "%A, %d-%b-%y %H:%M:%S %Z",
    "rfc1123": "%a, %d %b %Y %H:%M:%S %Z",
    "rfc1123z": "%a, %d %b %Y %H:%M:%S %z",
    "rfc3339": "%Y-%m-%dT%H:%M:%S{zone}",
    "rfc3339nano": "%Y-%m-%dT%H:%M:%S{fraction}{zone}",
    "kitchen": "{hour}:%M%p",
    "stamp": "%b %e %H:%M:%S",
    "stampmilli": "%b %e %H:%M:%S.{milli}",
    "stampmicro": "%b %e %H:%M:%S.%f",
    "stampnano": "%b %e %H:%M:%S.%f000",
}
"""The values of `logTimeFormat`, and what each means to `strftime` once the names in it are filled in."""

LONGEST = 16 * 1024
"""Characters of one entry, its further lines included, that are kept."""

WINDOW = 10.0
"""Seconds for which repeated entries are counted together."""

MOST_REPEATED = {logging.INFO: 500, logging.WARNING: 20}
"""How many entries with the same wording are let through in that time; what is debugged is not counted."""

MOST_WORDINGS = 1000
"""Wordings that are told apart; there are far fewer, but other libraries may make them up."""


def stamp(name: str, seconds: float) -> str:
    """Write a time, given in seconds since 1970, in the local zone; empty for no format of that name."""
    pattern = TIME_FORMATS.get(name)
    if pattern is None:
        return ""
    moment = datetime.fromtimestamp(seconds).astimezone()
    zone = moment.strftime("%z")
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    filled = pattern.format(
        zone="Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}",
        fraction=fraction,
        hour=moment.hour % 12 or 12,
        milli=f"{moment.microsecond // 1000:03d}",
    )
    return moment.strftime(filled)


def printable(text: str) -> str:
    """Replace everything that does not print, but for tabs."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


@define(eq=False, repr=False)
class Wording:
    """How often one wording was used lately."""

    since: float
    passed: int = 0
    left_out: int = 0


class Lines(logging.Handler):
    """Hands each entry on as bytes, one line and indented ones after it.

    Args:
        write: Takes the bytes; it must not wait.
        time_format: A name out of `TIME_FORMATS`; with any other there are no times.
    """

    def __init__(self, write: Callable[[bytes], None], time_format: str = "") -> None:
        super().__init__()
        self._write = write
        self._time_format = time_format
        self._wordings: dict[tuple[str, object], Wording] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hand an entry on, unless it repeats others too often."""
        try:
            left_out = self._left_out(record)
            if left_out is None:
                return
            text = self.format(record)
            if left_out:
                text += f" ({left_out} more like this were left out before)"
            head = f"[{LEVELS.get(record.levelno, 'ERROR')}]"
            when = stamp(self._time_format, record.created)
            line = f"{when} {head} {text}\n" if when else f"{head} {text}\n"
            self._write(line.encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001 - `handleError` is what logging has for these.
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """Write its text, and the traceback if there is one, so that only the first line looks like one."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        cut = text if len(text) <= LONGEST else text[:LONGEST] + "…"
        return "\n    ".join(printable(masked(line)) for line in cut.splitlines())

    def _left_out(self, record: logging.LogRecord) -> int | None:
        """Say how many like it were left out since the last one; None if it is to be left out itself."""
        if record.levelno < logging.INFO:
            return 0
        most = MOST_REPEATED[logging.WARNING if record.levelno > logging.INFO else logging.INFO]
        key = (record.name, record.msg if isinstance(record.msg, str) else type(record.msg))
        wording = self._wordings.get(key)
        if wording is None:
            if len(self._wordings) >= MOST_WORDINGS:
                self._wordings.clear()
            wording = self._wordings[key] = Wording(-math.inf)
        if record.created - wording.since > WINDOW or record.created < wording.since:
            wording.since, wording.passed = record.created, 0
        if wording.passed >= most:
            wording.left_out += 1
            return None
        wording.passed += 1
        left_out, wording.left_out = wording.left_out, 0
        return left_out
