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

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}

    def __str__(self) -> str:
        low, high = self.spread
        text = f"{self.name:<44} {self.value:9.3f} {self.unit:<4} [{low:.3f} … {high:.3f}] n={self.rounds}"
        if self.ratio is not None:
            text += f"  {self.ratio:.2f} × {self.baseline:.3f}"
        if self.limit is not None:
            text += f"  (to reach: ≤ {self.limit:g}{' ×' if self.ratio is not None else ''})"
        return text


def figure(
    name: str,
    values: Sequence[float],
    unit: str,
    *,
    baseline: Sequence[float] = (),
    limit: float | None = None,
) -> Figure:
    """Sum several rounds up."""
    low, middle, high = statistics.quantiles(values, n=4)
    base = statistics.median(baseline) if baseline else None
    return Figure(name, middle, unit, (low, high), len(values), base, limit)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_health(port: int, child: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Return as soon as GET /health answers 200."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if child.poll() is not None:
            raise RuntimeError(f"{child.args!r} exited with status {child.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
            connection.request("GET", "/health")
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


@contextmanager
def swapcore(config: Path) -> Iterator[int]:
    """Run `swapcore-http serve` with that configuration; gives its port."""
    port = free_port()
    command = ("-m", "swapcore_http.cli", "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}")
    with process(sys.executable, *command) as child:
        wait_for_health(port, child)
        yield port
