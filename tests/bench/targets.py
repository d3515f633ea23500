"""Which servers are compared, and how is one of them put under load?"""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from attrs import frozen

from tests.bench.measure import HERE, UPSTREAM, free_port, process, serve_command, wait_for_answer

__all__ = [
    "ALONE",
    "BODY",
    "CHAT",
    "OTHER",
    "OURS",
    "PLAIN",
    "STREAMED",
    "Options",
    "Target",
    "load",
    "targets",
]

ALONE, PLAIN, OURS, OTHER = "upstream", "plain", "swapcore", "other"

CHAT = "/v1/chat/completions"
BODY = {"model": "a", "messages": [{"role": "user", "content": "hello " * 20}]}
STREAMED = BODY | {"stream": True}


@frozen
class Options:
    """What the command line says that all benchmarks heed."""

    against: str = ""
    """The command of one server more, with `{port}` and `{config}` to be filled in."""

    short: bool = False
    """Whether to take a minute for all, and be less exact."""

    def other(self, config: Path, port: int) -> tuple[str, ...]:
        """Fill that command in, as words; there are none if there is no such server."""
        words = shlex.split(self.against)
        return tuple(word.replace("{port}", str(port)).replace("{config}", str(config)) for word in words)


@frozen
class Target:
    """A server in front of the upstream, or the upstream itself."""

    name: str
    port: int
    process: psutil.Process


@contextmanager
def targets(options: Options, names: Sequence[str] = (ALONE, PLAIN, OURS)) -> Iterator[list[Target]]:
    """Run these servers in front of one upstream, and another if the command line has one."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        upstream = free_port()
        config = Path(folder) / "config.yaml"
        config.write_text(
            "models:\n  a:\n    cmd: sleep 1000000\n    checkEndpoint: none\n"
            f"    proxy: http://127.0.0.1:{upstream}\n    concurrencyLimit: 1000\n"
        )
        commands: dict[str, tuple[tuple[str, ...], int]] = {}
        commands[ALONE] = (sys.executable, "-I", "-S", str(UPSTREAM), str(upstream)), upstream
        port = free_port()
        commands[PLAIN] = (sys.executable, str(HERE / "passthrough.py"), str(port), str(upstream)), port
        port = free_port()
        commands[OURS] = serve_command(config, port), port
        if options.against:
            port = free_port()
            commands[OTHER] = options.other(config, port), port
        started = []
        for name, (command, port) in commands.items():
            if name in {ALONE, OTHER, *names}:
                child = stack.enter_context(process(*command))
                wait_for_answer(port, child)
                started.append(Target(name, port, psutil.Process(child.pid)))
        for target in started:
            # The model comes up, and everything is imported.
            load(target, {"do": "closed", "connections": 4, "seconds": 0.3, "path": CHAT, "body": BODY})
        yield [target for target in started if target.name in {OTHER, *names}]


def load(target: Target, order: dict[str, Any]) -> dict[str, Any]:
    """Have a process of its own do as `load.py` describes, and return what that says."""
    order = order | {"port": target.port, "pid": target.process.pid}
    command = [sys.executable, str(HERE / "load.py"), json.dumps(order)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{target.name}: {done.stderr.decode()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
