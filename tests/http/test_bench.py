"""The benchmarks: another server is put beside ours by its command alone."""

import sys
from pathlib import Path

import pytest

from tests.bench.targets import BODY, CHAT, OTHER, Options, load, targets


def test_the_command_of_another_server_is_filled_in_word_by_word() -> None:
    options = Options("serve '{config}' --listen=127.0.0.1:{port} --json '{}'")
    assert options.other(Path("/a folder/config.yaml"), 80) == (
        "serve",
        "/a folder/config.yaml",
        "--listen=127.0.0.1:80",
        "--json",
        "{}",
    )
    assert Options().other(Path("config.yaml"), 80) == ()


def test_another_server_is_asked_like_ours() -> None:
    ours = f"'{sys.executable}' -m swapcore_http.cli serve --config {{config}} --listen 127.0.0.1:{{port}}"
    with targets(Options(ours), ()) as servers:
        (server,) = servers
        order = {"do": "closed", "connections": 2, "seconds": 0.1, "path": CHAT, "body": BODY}
        assert server.name == OTHER
        assert load(server, order)["count"] > 0


def test_another_server_that_does_not_come_up_is_told() -> None:
    with (
        pytest.raises(RuntimeError, match="exited with status 3"),
        targets(Options(f"'{sys.executable}' -c 'raise SystemExit(3)' {{port}}"), ()),
    ):
        pass
