"""Does anything outlive a server that is killed at a random moment under load, and does the next one serve?

    python -m tests.bench.kill --times 100

Each time `swapcore-http serve` runs with three models, of which one fits, under
clients that keep asking for all of them; two of the models have grandchildren
that ignore SIGTERM, one of which has left its session. After a random time the
server gets SIGKILL. Then everything that it has started must be gone within
two seconds, and the next server, which comes up at once on the same ports, must
answer.
"""

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from attrs import define, field

from tests.bench.measure import ROOT, free_port, serve_command, wait_for_answer
from tests.http import fake_upstream
from tests.http.processes import mark, strays

WITHIN = 2.0
"""Seconds in which everything is to be gone."""

PATIENCE = 30.0
"""Seconds after which what is still there counts as an orphan."""

LONGEST = 1.5
"""Seconds of load before the kill, at most: some come while the first model loads, some amid swaps."""

CLIENTS = 6


@define
class Findings:
    """What has been seen so far."""

    gone_after: list[float] = field(factory=list)
    running: list[int] = field(factory=list)
    """How many processes there were at each kill, the server among them."""

    served: int = 0
    orphans: int = 0
    unserved: int = 0
    next_after: list[float] = field(factory=list)
    """How long the next server took from its start to the first answer."""

    watchdogs: list[float] = field(factory=list)
    """The resident memory of watchdogs, in MB."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kill", description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="for the same moments again")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as folder:
        found = kill_servers(options.times, random.Random(seed), Path(folder))
    late = sum(seconds > WITHIN for seconds in found.gone_after)
    print(
        f"killed {options.times} servers, seed {seed}; processes each: {statistics.mean(found.running):.1f}"
    )
    print(f"requests served before the kills: {found.served}")
    print(
        f"all gone after: median {statistics.median(found.gone_after):.2f} s, "
        f"longest {max(found.gone_after):.2f} s, later than {WITHIN:g} s: {late}"
    )
    print(f"orphans: {found.orphans}")
    print(
        f"next server: unserved {found.unserved}, first answer after "
        f"median {statistics.median(found.next_after):.2f} s, longest {max(found.next_after):.2f} s"
    )
    print(f"watchdog: {max(found.watchdogs, default=0):.1f} MB resident at most")
    return 1 if found.orphans or found.unserved else 0


def kill_servers(times: int, chance: random.Random, folder: Path) -> Findings:
    found = Findings()
    config = folder / "config.yaml"
    config.write_text(json.dumps(configuration(folder)))
    for _ in range(times):
        marked = mark()
        server, port = start(config, folder, marked)
        stop = threading.Event()
        clients = [threading.Thread(target=ask, args=(port, stop, found)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(chance.uniform(0, LONGEST))
        found.running.append(len(strays(marked)))
        found.watchdogs += watchdogs(server.pid)
        server.send_signal(signal.SIGKILL)
        begun = time.monotonic()
        server.wait()
        stop.set()
        watcher = threading.Thread(target=until_gone, args=(marked, begun, found))
        watcher.start()
        try_next(config, folder, found)
        for thread in (watcher, *clients):
            thread.join()
    return found


def configuration(folder: Path) -> dict[str, object]:
    flags: dict[str, dict[str, object]] = {
        "a": {"ignore_sigterm": True},
        "b": {"fork_grandchild": folder / "forked", "load": 0.1},
        "c": {"setsid_grandchild": folder / "away", "load": 0.2},
    }
    models = {
        name: {
            "cmd": fake_upstream.command(port="${PORT}", name=name, **each),
            "unloadTimeout": 1,
        }
        for name, each in flags.items()
    }
    return {
        "startPort": 20_000 + os.getpid() % 10_000,
        "models": models,
        "logLevel": "error",
        "patience": 0.1,
    }


def start(config: Path, folder: Path, marked: str) -> tuple["subprocess.Popen[bytes]", int]:
    name, _, value = marked.partition("=")
    port = free_port()
    server = subprocess.Popen(
        serve_command(config, port),
        cwd=ROOT,
        env={**os.environ, name: value, "XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_answer(port, server)
    return server, port


def ask(port: int, stop: threading.Event, found: Findings) -> None:
    """Ask for the models in turn until told or refused."""
    number = random.randrange(3)
    while not stop.is_set():
        number += 1
        try:
            if chat(port, "abc"[number % 3]) == http.client.OK:
                found.served += 1
        except (OSError, http.client.HTTPException):
            stop.wait(0.01)


def chat(port: int, model: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(
            "POST", "/v1/chat/completions", json.dumps({"model": model}), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def watchdogs(server: int) -> list[float]:
    found = []
    for child in psutil.Process(server).children():
        # It may be gone by now.
        with suppress(psutil.Error):
            if any("guard.watchdog" in word for word in child.cmdline()):
                found.append(child.memory_info().rss / 1e6)
    return found


def until_gone(marked: str, begun: float, found: Findings) -> None:
    """Wait until nothing carries the mark, and count what does for too long."""
    while left := strays(marked):
        if time.monotonic() > begun + PATIENCE:
            print(f"left: {left}", file=sys.stderr)
            found.orphans += len(left)
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    found.gone_after.append(time.monotonic() - begun)


def try_next(config: Path, folder: Path, found: Findings) -> None:
    """See that another server comes up and serves, and ends in order."""
    begun = time.monotonic()
    server, port = start(config, folder, mark())
    if chat(port, "a") != http.client.OK:
        found.unserved += 1
    found.next_after.append(time.monotonic() - begun)
    server.terminate()
    if server.wait(PATIENCE) != 0:
        found.unserved += 1


if __name__ == "__main__":
    sys.exit(main())
