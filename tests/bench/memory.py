"""How much memory does what waits or streams take, and does anything stay behind?"""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.bench.measure import HERE, Figure, figure, free_port, process, swapcore, wait_for_answer
from tests.bench.targets import BODY, CHAT, OURS, PLAIN, Options, Target, load, targets
from tests.http import fake_upstream

WAITING = 2000
STREAMS = 500
LONG = 1_000_000_000
REQUESTS = 200_000
ROUNDS = 3
PADDING = 65_536
"""Bytes of each event of the long stream, and a few more."""

PAUSE_AFTER = 10_000_000
"""Bytes between two pauses of its reader."""


def run(options: Options) -> Iterator[Figure]:
    ours, parked = [], []
    for _ in range(ROUNDS):
        ours.append(waiting())
        parked.append(parked_handlers())
    yield figure("memory of a waiting request", ours, "KB", baseline=parked, limit=1.5)
    streams: dict[str, list[float]] = {PLAIN: [], OURS: []}
    for _ in range(ROUNDS):
        # Anew each time: what one round has freed is not asked of the system again by the next.
        with targets(options, (PLAIN, OURS)) as servers:
            for server in servers:
                streams.setdefault(server.name, []).append(streaming(server))
    yield figure("memory of an open stream", streams[OURS], "KB", baseline=streams[PLAIN])
    yield figure(f"growth by {LONG / 1e9:g} GB to a slow reader", [slow_reader()], "MB", limit=20)
    with targets(options, (OURS,)) as servers:
        yield figure(f"growth after {REQUESTS} requests", [growth(servers[-1])], "MB", limit=1)


def waiting() -> float:
    """Return the KB that each of many requests takes that wait for a model which never comes up."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(
            f"models:\n  a:\n    cmd: sleep 1000000\n    proxy: http://127.0.0.1:{free_port()}\n"
        )
        with swapcore(config) as (port, child):
            return per_request(port, child.pid)


def parked_handlers() -> float:
    """Return the same of a bare server whose handlers wait for nothing in particular."""
    port = free_port()
    with process(sys.executable, str(HERE / "bare.py"), str(port)) as child:
        wait_for_answer(port, child)
        return per_request(port, child.pid)


def per_request(port: int, pid: int) -> float:
    server = psutil.Process(pid)
    with asking(port, 50):
        before = settled(server)
        with asking(port, WAITING):
            return (settled(server) - before) / WAITING / 1024


@contextmanager
def asking(port: int, count: int) -> Iterator[None]:
    """Send that many requests, each on a connection of its own, and wait for no answer."""
    body = json.dumps(BODY).encode()
    fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST {CHAT} HTTP/1.1\r\n{fields}\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(head.encode() + body)
        yield


def streaming(server: Target) -> float:
    """Return the KB that each of many open streams takes."""
    before = settled(server.process)
    head = b"GET /upstream/a/stream?count=1000&every=0.5 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(STREAMS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(head)
        return (settled(server.process) - before) / STREAMS / 1024


def slow_reader() -> float:
    """Return the MB that the server takes more at most while a client reads a long stream with pauses."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        command = fake_upstream.command(port="${PORT}", name="a")
        config.write_text(json.dumps({"models": {"a": {"cmd": command}}}))
        with swapcore(config) as (port, child):
            server = psutil.Process(child.pid)
            # One small answer first, so that everything is imported.
            for chunks in (3, LONG // PADDING):
                before = most = int(server.memory_info().rss)
                fake = {"chunks": chunks, "padding": PADDING}
                body = json.dumps({"model": "a", "stream": True, "fake": fake}).encode()
                fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
                head = f"POST {CHAT} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n"
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(head.encode() + body)
                    read = pauses = 0
                    while piece := client.recv(1 << 18):
                        read += len(piece)
                        if read // PAUSE_AFTER > pauses:
                            pauses += 1
                            time.sleep(0.1)
                            most = max(most, int(server.memory_info().rss))
                assert read > chunks * PADDING, f"only {read} bytes came"
            return (most - before) / 1e6


def growth(server: Target) -> float:
    """Return the MB that stay behind after many requests, of which the first ones only warm up."""
    order = {"do": "closed", "connections": 16, "path": CHAT, "body": BODY}
    sent = 0
    while sent < REQUESTS // 10:
        sent += load(server, order | {"seconds": 2})["count"]
    before = settled(server.process)
    sent = 0
    while sent < REQUESTS:
        sent += load(server, order | {"seconds": 5})["count"]
    return (settled(server.process) - before) / 1e6


def settled(server: psutil.Process) -> float:
    """Return the resident bytes once they no longer change."""
    last, now = -1, int(server.memory_info().rss)
    while now != last:
        time.sleep(0.5)
        last, now = now, int(server.memory_info().rss)
    return now
