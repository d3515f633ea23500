"""How long after an upstream begins to listen does the client have its answer?"""

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import UPSTREAM, Figure, figure, swapcore

ROUNDS = 24
LOADS = (0.0, 0.5)


def run() -> Iterator[Figure]:
    for load in LOADS:
        lags, times = measure(load)
        yield figure(f"swap lag: listening to answer, {load} s load", lags, "ms", limit=30)
        yield figure(f"swap: request to answer, {load} s load", times, "ms")


def measure(load: float) -> tuple[list[float], list[float]]:
    """Ask for two models in turn, of which one fits."""
    lags, times = [], []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        command = f"{sys.executable} -I -S {UPSTREAM} ${{PORT}} {load}"
        config.write_text(f"models:\n  a:\n    cmd: {command}\n  b:\n    cmd: {command}\n")
        with swapcore(config) as port:
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for number in range(ROUNDS):
                body = json.dumps({"model": "ab"[number % 2]})
                begun = time.monotonic()
                client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
                response = client.getresponse()
                answer = json.loads(response.read())
                now = time.monotonic()
                if response.status != http.client.OK:
                    raise RuntimeError(f"{response.status}: {answer}")
                lags.append((now - answer["listening_at"]) * 1000)
                times.append((now - begun) * 1000)
            client.close()
    return lags, times
