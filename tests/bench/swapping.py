"""How soon after an upstream listens has the client its answer, and how many swaps fit into a second?"""

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import UPSTREAM, Figure, figure, free_port, percentile, process, swapcore
from tests.bench.targets import Options

ROUNDS = 40
LOADS = (0.0, 0.5)


def run(_: Options) -> Iterator[Figure]:
    for load in LOADS:
        lags, times, alone = measure(load, ROUNDS if not load else ROUNDS // 2)
        title = f"swap lag, {load} s load"
        yield figure(f"{title}: listening to answer", lags, "ms", limit=15)
        yield figure(f"{title}: p99", [percentile(lags, 0.99)], "ms", limit=25)
        # Beside what the upstream itself takes from its spawn until it listens.
        yield figure(f"swap, {load} s load: request to answer", times, "ms", baseline=alone)
        if not load:
            yield figure("swaps/s, A B A B", [1000 / took for took in times], "/s", least=8)


def measure(load: float, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Ask for two models in turn, of which one fits, and start the upstream alone in between."""
    lags, times, alone = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        command = f"{sys.executable} -I -S {UPSTREAM} ${{PORT}} {load}"
        config.write_text(f"models:\n  a:\n    cmd: {command}\n  b:\n    cmd: {command}\n")
        with swapcore(config) as (port, _):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for number in range(rounds + 1):
                body = json.dumps({"model": "ab"[number % 2]})
                begun = time.monotonic()
                client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
                response = client.getresponse()
                answer = json.loads(response.read())
                now = time.monotonic()
                if response.status != http.client.OK:
                    raise RuntimeError(f"{response.status}: {answer}")
                if number:
                    # The first one has nothing to swap.
                    lags.append((now - answer["listening_at"]) * 1000)
                    times.append((now - begun) * 1000)
                    alone.append(spawn(load))
            client.close()
    return lags, times, alone


def spawn(load: float) -> float:
    """Return the milliseconds from a spawn until the upstream listens."""
    port = free_port()
    begun = time.monotonic()
    with process(sys.executable, "-I", "-S", str(UPSTREAM), str(port), str(load)):
        while True:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                client.request("GET", "/")
                listening_at = json.loads(client.getresponse().read())["listening_at"]
                return (float(listening_at) - begun) * 1000
            except OSError:
                time.sleep(0.001)
            finally:
                client.close()
