"""What happens to the upstreams when the server is gone?

This runs as a process of its own, for as long as the server lives and until
nothing is left of what it started: `WATCH LIFE FILE`. Its input is the
server's pipe, on which each line says all that is running now; the newest one
counts. FILE is the number of the open, locked file of the life, or -1.
"""

import os
import signal
from contextlib import suppress

from swapcore_http.guard import registry
from swapcore_http.guard.leftovers import end
from swapcore_http.guard.table import MARK

__all__ = ["main"]

UNMOVED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""What ends a server, or everything of a terminal or a service, is no reason to leave upstreams behind."""


def main(arguments: list[str]) -> None:
    """Watch until the pipe closes, then end what is left."""
    id_, where, file = arguments[0], arguments[1], int(arguments[2])
    for number in UNMOVED:
        signal.signal(number, signal.SIG_IGN)
    # Whatever writes to the output from now on has no reader when the server is gone.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # Of the life that our server may itself belong to.
    os.environ.pop(MARK, None)
    line = _newest_line(file)
    life = registry.decode(line.partition(b"\t")[2], id_)
    _, gone = end(life, os.environ, fresh=True)
    if gone and file >= 0:
        with suppress(OSError):
            os.unlink(registry.path_of(where, id_))


def _newest_line(file: int) -> bytes:
    """Read to the end of the pipe, writing the public half of each line to the file on the way."""
    newest = rest = b""
    complained = file < 0
    while piece := os.read(0, 65536):
        *lines, rest = (rest + piece).split(b"\n")
        if not lines:
            continue
        newest = lines[-1]
        try:
            if file >= 0:
                registry.write(file, newest.partition(b"\t")[0] + b"\n")
        except OSError as error:
            # The next one may succeed, but one complaint is enough.
            if not complained:
                complained = True
                os.write(1, f"what runs cannot be written down: {error}\n".encode())
    return newest
