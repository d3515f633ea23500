"""Does the log get out, and does nobody wait if it does not?"""

import os
import select
import time

import pytest

from swapcore_http import outlet
from swapcore_http.outlet import Outlet


def drained(read_end: int) -> bytes:
    pieces = []
    while piece := os.read(read_end, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def test_everything_is_written_in_order() -> None:
    read_end, write_end = os.pipe()
    out = Outlet(write_end)
    for number in range(1000):
        out.write(b"%d\n" % number)
    out.close()
    os.close(write_end)
    assert drained(read_end) == b"".join(b"%d\n" % number for number in range(1000))
    os.close(read_end)


def test_who_does_not_read_makes_nobody_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "PATIENCE", 0.05)
    read_end, write_end = os.pipe()
    out = Outlet(write_end)
    for _ in range(1000):
        out.write(b"x" * 10_000)
    # A thread of its own waits for the pipe; what waits for it is bounded.
    assert out._size <= outlet.WAITING
    assert sum(map(len, out._waiting)) <= outlet.WAITING
    assert out._missed >= 10_000_000 - outlet.WAITING
    out.close()
    assert out._thread is not None
    assert out._thread.is_alive()
    # It comes to its end as soon as somebody reads.
    while out._thread.is_alive():
        if select.select([read_end], [], [], 0.01)[0]:
            os.read(read_end, 1 << 20)
    os.close(read_end)
    os.close(write_end)


def test_a_full_disk_loses_lines_and_says_so_afterwards() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    read_end, write_end = os.pipe()
    out = Outlet(full)
    out.write(b"12345")
    until(lambda: out._missed == 5)
    # There is room again.
    os.dup2(write_end, full)
    out.write(b"more\n")
    out.close()
    os.close(full)
    os.close(write_end)
    assert drained(read_end) == b"[WARN] 5 bytes of the log were lost: nobody took them\nmore\n"
    os.close(read_end)
    assert out._missed == 0


def test_a_reader_that_is_gone_loses_lines(capfd: pytest.CaptureFixture[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    out = Outlet(write_end)
    out.write(b"12345")
    until(lambda: out._missed == 5)
    out.close()
    os.close(write_end)
    assert capfd.readouterr() == ("", "")


def test_a_descriptor_that_does_not_wait_is_waited_for() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    out = Outlet(write_end)
    out.write(b"x" * 500_000)
    size = 0
    while size < 500_000:
        size += len(os.read(read_end, 1 << 20))
    out.close()
    os.close(read_end)
    os.close(write_end)


def until(condition: object) -> None:
    deadline = time.monotonic() + 20
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
