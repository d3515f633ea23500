"""What has an upstream written, and what of it is worth keeping?"""

import asyncio
import logging
import os
import re
from collections.abc import Callable

from attrs import frozen

from swapcore_http.loglines import printable

__all__ = ["TAIL_BYTES", "TAIL_LINES", "Output", "Written", "upstream_logger"]

upstream_logger = logging.getLogger("swapcore_http.upstream")
"""Hears all that upstreams write, at DEBUG: each entry has a name and a `Written` for arguments."""

TAIL_BYTES = 100 * 1024
"""How much of the newest output is kept."""

TAIL_LINES = 20
"""How many of the last lines an error message shows."""

LINE_BYTES = 4096
"""Where a line is cut, in the log and in error messages."""

READ_BYTES = 64 * 1024
"""What is read at once: the whole of a pipe as Linux makes them."""

DRAIN_BYTES = 1024 * 1024
"""What is read at most when there has to be an end to reading."""

NEWLINE = re.compile(rb"\r\n|\n|\r")
"""What ends a line; a lone return is how progress bars redraw themselves."""


@frozen(eq=False, repr=False)
class Written:
    """What an upstream has written, as it came; as a text it is fit to be shown."""

    data: bytes

    def __str__(self) -> str:
        lines = (line for line in NEWLINE.split(self.data) if line)
        return "\n    ".join(_text(line) for line in lines)


class Output:
    """The pipe that one process and its children write to, and the newest of what came.

    It is read as fast as the loop turns and never makes the writer wait. All
    of it goes to `upstream_logger`, with the name.

    Args:
        name: What it is logged under.
        on_data: Called whenever something was written.
    """

    def __init__(self, name: str, on_data: Callable[[], None] | None = None) -> None:
        self._name = name
        self._on_data = on_data
        self._tail = bytearray()
        self._loop = asyncio.get_running_loop()
        # Both ends close on exec, so no other child holds them open.
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._loop.add_reader(self._read_end, self._read)

    def close_write_end(self) -> None:
        """Leave the writing to the child; called once, after it was spawned or could not be."""
        os.close(self.write_end)

    def drain(self) -> None:
        """Take in what is in the pipe now, within bounds."""
        for _ in range(DRAIN_BYTES // READ_BYTES):
            if not self._read():
                return

    def close(self) -> None:
        """Take in what is left and stop reading, even if someone could still write."""
        self.drain()
        self._end()

    def last_lines(self) -> str:
        """Return the last lines that are not blank, each cut to a bounded length."""
        lines = [line for line in NEWLINE.split(self._tail[-TAIL_BYTES:]) if line.strip()]
        return "\n".join(_text(line) for line in lines[-TAIL_LINES:])

    def _read(self) -> bool:
        """Read once and say whether there may be more."""
        if self._read_end < 0:
            return False
        try:
            data = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._end()
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        self._tail += data
        # Cut at twice the size, so that the copying costs one byte per byte.
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        upstream_logger.debug("%s: %s", self._name, Written(data))
        if self._on_data is not None:
            self._on_data()

    def _end(self) -> None:
        if self._read_end >= 0:
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1


def _text(line: bytes | bytearray) -> str:
    """Decode a line for people, without control characters, cut to its bound."""
    shown = printable(line[:LINE_BYTES].decode("utf-8", "replace"))
    return shown + ("…" if len(line) > LINE_BYTES else "")
