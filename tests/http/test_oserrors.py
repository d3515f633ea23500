"""Tests of how errors of the operating system are told."""

import errno
import os
from pathlib import Path

import pytest

from swapcore_http.oserrors import told


def test_the_file_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none").read_text()
    assert told(caught.value) == f"'{tmp_path}/none': no such file or directory"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "no space left on device"),
        (OSError(1, "RPC struct is bad", "f"), "'f': RPC struct is bad"),
        (OSError("in words of its own"), "in words of its own"),
        (TimeoutError(), ""),
        (ValueError("no word"), "no word"),
    ],
)
def test_what_there_is(error: Exception, text: str) -> None:
    assert told(error) == text
