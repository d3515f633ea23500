"""How are figures measured, compared and shown?"""

import http.client
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
UPSTREAM = HERE / "upstream.py"


@frozen
class Figure:
    """One measured value: the median of several rounds, and how far they spread."""

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    """The quartiles."""

    rounds: int
    baseline: float | None = None
    """The median of the same for what it is compared with, in the same run."""

    limit: float | None = None
    """What it should not exceed: the ratio if there is a baseline, else the value."""

    least: float | None = None
    """What it should reach, likewise."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def met(self) -> bool:
        """Whether it is as it should be."""
        judged = self.value if self.ratio is None else self.ratio
        return (self.limit is None or judged <= self.limit) and (self.least is None or judged >= self.least)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "met": self.met}

    def __str__(self) -> str:
        low, high = self.spread
        text = f"{self.name:<50} {self.value:10.3f} {self.unit:<6} [{low:.3f} … {high:.3f}] n={self.rounds}"
        times = ""
        if self.ratio is not None:
            times = " ×"
            text += f"  {self.ratio:.2f} × {self.baseline:.3f}"
        for asked, sign in ((self.limit, "≤"), (self.least, "≥")):
            if asked is not None:
                text += f"  (to reach: {sign} {asked:g}{times}{'' if self.met else ', missed'})"
        return text


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    baseline: Sequence[float] = (),
    limit: float | None = None,
    least: float | None = None,
) -> Figure:
    """Sum several rounds up."""
    middle = statistics.median(values)
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (middle, middle, middle)
    base = statistics.median(baseline) if baseline else None
    return Figure(name, middle, unit, (low, high), len(values), base, limit, least)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_answer(port: int, child: subprocess.Popen[bytes], path: str = "/health") -> None:
    """Return as soon as GET of that path answers 200."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args!r} exited with status {child.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            time.sleep(0.001)
        finally:
            connection.close()
    raise RuntimeError(f"{child.args!r} does not answer")


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command from the project's root until the block is left."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.terminate()


def serve_command(config: Path, port: int) -> tuple[str, ...]:
    """Write the command that serves that configuration, on asyncio's own loop as what it is compared with."""
    serve = (sys.executable, "-m", "swapcore_http.cli", "serve", "--loop", "asyncio")
    return (*serve, "--config", str(config), "--listen", f"127.0.0.1:{port}")


@contextmanager
def swapcore(config: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run `swapcore-http serve` with that configuration; gives its port and process."""
    port = free_port()
    with process(*serve_command(config, port)) as child:
        wait_for_answer(port, child)
        yield port, child
