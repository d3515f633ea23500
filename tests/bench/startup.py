"""How long until the server answers, and how much memory does it hold idle, beside a bare aiohttp server?

The bare server is `bare.py`: one route, and imports of all that the server
itself does not come without (aiohttp with its client, anyio, attrs, cattrs and
ruamel.yaml). What is above it is ours: our modules, our classes, reading the
configuration, listening. What is below it is what ours leaves out of what aiohttp
does as it is imported: see `swapcore_http.trust`. Both are compiled before, as
installed packages are: without that, an interpreter that is told to write no
bytecode, or a checkout that nobody has run yet, would be timed compiling our
sources and no one else's.
"""

import compileall
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.measure import HERE, ROOT, Figure, figure, free_port, process, serve_command, wait_for_answer
from tests.bench.targets import OTHER, Options

ROUNDS = 15
CONFIG = """\
models:
  tiny:
    cmd: llama-server --port ${PORT} --model tiny.gguf
  other:
    cmd: llama-server --port ${PORT} --model other.gguf
"""


def run(options: Options) -> Iterator[Figure]:
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    other: list[tuple[float, float]] = []
    for package in ("swapcore", "swapcore_http"):
        compileall.compile_dir(ROOT / package, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(CONFIG)
        for _ in range(5 if options.short else ROUNDS):
            port = free_port()
            ours.append(start(port, *serve_command(config, port)))
            port = free_port()
            bare.append(start(port, sys.executable, str(HERE / "bare.py"), str(port)))
            if options.against:
                port = free_port()
                other.append(start(port, *options.other(config, port)))
    yield figure(
        "startup: command to /health",
        [one[0] for one in ours],
        "ms",
        baseline=[one[0] for one in bare],
        limit=1.3,
    )
    yield figure(
        "startup: idle memory", [one[1] for one in ours], "MB", baseline=[one[1] for one in bare], limit=1.25
    )
    if other:
        yield figure(f"startup: command to /health, {OTHER}", [one[0] for one in other], "ms")
        yield figure(f"startup: idle memory, {OTHER}", [one[1] for one in other], "MB")


def start(port: int, *command: str) -> tuple[float, float]:
    """Return milliseconds until it answers, and its resident memory then in MB."""
    begun = time.monotonic()
    with process(*command) as child:
        wait_for_answer(port, child)
        took = (time.monotonic() - begun) * 1000
        return took, psutil.Process(child.pid).memory_info().rss / 1e6
