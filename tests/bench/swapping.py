"""How soon after an upstream listens has the client its answer, and how many swaps fit into a second?"""

import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from attrs import define, field

from tests.bench.measure import (
    UPSTREAM,
    Figure,
    figure,
    free_port,
    percentile,
    process,
    serve_command,
    wait_for_answer,
)
from tests.bench.targets import OTHER, OURS, Options

ROUNDS = 40
LOADS = (0.0, 0.5)
START_PORTS = {OURS: 5800, OTHER: 6800}
"""Where the ports of each server's upstreams begin: both run at the same time."""


def run(options: Options) -> Iterator[Figure]:
    for load in LOADS:
        servers, alone = measure(options, load, ROUNDS if not load else ROUNDS // 2)
        for server in servers:
            ours = server.name == OURS
            title = f"{load} s load" + ("" if ours else f", {server.name}")
            lags, times = server.lags, server.times
            yield figure(f"swap lag, {title}: listening to answer", lags, "ms", limit=15 if ours else None)
            yield figure(
                f"swap lag, {title}: p99", [percentile(lags, 0.99)], "ms", limit=25 if ours else None
            )
            # Beside what the upstream itself takes from its spawn until it listens.
            yield figure(f"swap, {title}: request to answer", times, "ms", baseline=alone)
            if not load:
                rates = [1000 / took for took in times]
                yield figure(f"swaps/s, A B A B, {title}", rates, "/s", least=8 if ours else None)


@define
class Server:
    """A server with two models, of which one fits."""

    name: str
    client: http.client.HTTPConnection

    lags: list[float] = field(factory=list)
    """The milliseconds of each swap from when the upstream listened until the client had its answer."""

    times: list[float] = field(factory=list)
    """The milliseconds from the request."""

    def swap(self, number: int) -> None:
        """Ask for one of the models, in turn."""
        body = json.dumps({"model": "ab"[number % 2]})
        begun = time.monotonic()
        self.client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = self.client.getresponse()
        answer = json.loads(response.read())
        now = time.monotonic()
        if response.status != http.client.OK:
            raise RuntimeError(f"{response.status}: {answer}")
        if number:
            # The first one has nothing to swap.
            self.lags.append((now - answer["listening_at"]) * 1000)
            self.times.append((now - begun) * 1000)


def measure(options: Options, load: float, rounds: int) -> tuple[list[Server], list[float]]:
    """Have each server swap in turn, and start the upstream alone in between."""
    alone = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = []
        for name in (OURS, OTHER) if options.against else (OURS,):
            config, port = folder / f"{name}.yaml", free_port()
            command = f"{sys.executable} -I -S {UPSTREAM} ${{PORT}} {load}"
            models = "".join(f"  {model}:\n    cmd: {command}\n" for model in "ab")
            config.write_text(f"startPort: {START_PORTS[name]}\nmodels:\n{models}")
            words = serve_command(config, port) if name == OURS else options.other(config, port)
            wait_for_answer(port, stack.enter_context(process(*words)))
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            stack.callback(client.close)
            servers.append(Server(name, client))
        for number in range(rounds + 1):
            for server in servers:
                server.swap(number)
            alone.append(spawn(load))
    return servers, alone


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
