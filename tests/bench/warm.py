"""What does a request to a ready model cost beside asking its upstream directly?"""

import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.measure import UPSTREAM, Figure, figure, free_port, process, swapcore, wait_for_health

ROUNDS = 9
REQUESTS = 300
BODY = json.dumps({"model": "a", "messages": [{"role": "user", "content": "hello " * 20}]})


def run() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(f"models:\n  a:\n    cmd: {sys.executable} -I -S {UPSTREAM} ${{PORT}}\n")
        direct_port = free_port()
        upstream = process(sys.executable, "-I", "-S", str(UPSTREAM), str(direct_port))
        with upstream as child, swapcore(config) as port:
            wait_for_health(direct_port, child)
            ask(port, REQUESTS)
            ask(direct_port, REQUESTS)
            through, direct = [], []
            for _ in range(ROUNDS):
                through.append(ask(port, REQUESTS))
                direct.append(ask(direct_port, REQUESTS))
    yield figure("warm: one request after the other, p50", through, "ms", baseline=direct)
    added = [ours - theirs for ours, theirs in zip(through, direct, strict=True)]
    yield figure("warm: added to the upstream's own answer, p50", added, "ms", limit=1.5)


def ask(port: int, requests: int) -> float:
    """Return the median milliseconds of that many requests on one connection."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    took = []
    for _ in range(requests):
        begun = time.perf_counter()
        client.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        response = client.getresponse()
        response.read()
        took.append((time.perf_counter() - begun) * 1000)
        if response.status != http.client.OK:
            raise RuntimeError(f"{response.status} from port {port}")
    client.close()
    return statistics.median(took)
