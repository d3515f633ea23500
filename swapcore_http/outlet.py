"""How does the log leave the process, even if nobody takes it or the disk is full?"""

import os
import select
import threading
from collections import deque

__all__ = ["Outlet"]

WAITING = 1024 * 1024
"""Bytes that may wait to be written; what comes then is lost."""

LOOK_EVERY = 1.0
"""Seconds between two looks at a descriptor that takes nothing and does not make its writer wait either."""

PATIENCE = 1.0
"""Seconds in which what waits can still be written at the end."""


class Outlet:
    """Writes bytes to a descriptor in a thread of its own, and never makes anybody wait.

    What cannot be written is lost; how much that was is written as soon as
    writing works again.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._missed = 0
        self._closed = False
        self._thread: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        """Have these bytes written, if not too many wait already; from any thread."""
        with self._changed:
            if self._closed or self._size + len(data) > WAITING:
                self._missed += len(data)
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._thread is None:
                # A daemon: what takes nothing more must not keep the process.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Wait a little until what waits is written, and write nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if not self._waiting:
                    return
                # All at once: a system call for each line would be slower than lines can come.
                data = b"".join(self._waiting)
                self._waiting.clear()
                missed = self._missed
            written = self._written(self._notice(missed) + data)
            with self._changed:
                # Until now it counted as waiting, so that the bound holds.
                self._size -= len(data)
                if written:
                    self._missed -= missed
                else:
                    self._missed += len(data)

    def _notice(self, missed: int) -> bytes:
        return f"[WARN] {missed} bytes of the log were lost: nobody took them\n".encode() if missed else b""

    def _written(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], LOOK_EVERY)
            except OSError:
                return False
        return True
