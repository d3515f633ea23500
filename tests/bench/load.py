"""Asks a server for things, in a process of its own, and says how that went.

Started as a program, with one JSON object as its argument, in which `pid` is the server's; prints one JSON
object, in which `cpu` is the seconds of CPU time that the server has used:

    {"do": "closed", "port", "connections", "seconds", "path", "body"}      as fast as answers come
    {"do": "open", "port", "rate", "seconds", "path", "body"}               at a rate, whoever answers when
    {"do": "streams", "port", "connections", "path", "body"}                each connection reads one stream;
                                                                            `count` and `cpu` are of the time
                                                                            in which all of them flow
    {"do": "get", "port", "path"}                                           one large answer
    {"do": "put", "port", "path", "bytes"}                                  one large request
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

import psutil

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
SENT = re.compile(rb'"sent":([\d.]+)')


class Client(asyncio.Protocol):
    """One connection: sends a request, reads its answer, says so."""

    def __init__(self, request: bytes, told: Any, begun: Any = None) -> None:
        self.request = request
        self.told = told
        self.answer_begun = begun
        self.received = b""
        self.begun = 0.0
        self.first = 0.0
        self.needed = 0
        """Bytes of the answer that are to come, if its length is known."""

        self.in_chunks = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self) -> None:
        self.first = 0.0
        self.begun = time.monotonic()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if not self.first:
            self.first = now
            if self.answer_begun is not None:
                self.answer_begun()
        if self.needed:
            self.needed -= len(data)
            if not self.needed:
                self.told(self, now)
            return
        if self.in_chunks:
            self.tell_events(data, now)
            self.received = self.received[-5:] + data[-5:]
            if self.received.endswith(b"0\r\n\r\n"):
                self.in_chunks = False
                self.received = b""
                self.told(self, now)
            return
        self.received += data
        head, end, rest = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        if head[9:12] != b"200":
            raise RuntimeError(self.received[:500])
        match = LENGTH.search(head)
        self.received = b""
        if match:
            self.needed = int(match[1]) - len(rest)
            if not self.needed:
                self.told(self, now)
        else:
            self.in_chunks = True
            if rest:
                self.data_received(rest)

    def tell_events(self, data: bytes, now: float) -> None:
        held.extend(now - float(stamp) for stamp in SENT.findall(data))

    def connection_lost(self, exc: Exception | None) -> None:
        raise RuntimeError(f"the server hung up: {exc}")


held: list[float] = []
"""Seconds between the sending of each event and its arrival here."""


def request_of(order: dict[str, Any]) -> bytes:
    body = json.dumps(order["body"]).encode() if order.get("body") else b""
    method = "POST" if body else "GET"
    return (
        f"{method} {order['path']} HTTP/1.1\r\nHost: 127.0.0.1:{order['port']}\r\nAccept: */*\r\n"
        f"Accept-Encoding: gzip, deflate\r\nUser-Agent: bench/1.0\r\nAuthorization: Bearer sk-none\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def spent(order: dict[str, Any]) -> float:
    """Return the seconds of CPU time that the server has used."""
    if sys.platform != "linux":
        times = psutil.Process(order["pid"]).cpu_times()
        return times.user + times.system
    # What psutil reads counts in hundredths; this is the clock that `clock_getcpuclockid` makes of a pid.
    return time.clock_gettime(~order["pid"] << 3 | 2)


async def connect(order: dict[str, Any], request: bytes, told: Any, begun: Any = None) -> Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: Client(request, told, begun), "127.0.0.1", order["port"])
    return client


async def closed(order: dict[str, Any]) -> dict[str, Any]:
    took: list[float] = []
    until = 0.0
    left = order["connections"]
    done = asyncio.Event()

    def told(client: Client, now: float) -> None:
        nonlocal left
        took.append(now - client.begun)
        if now < until:
            client.ask()
        else:
            left -= 1
            if not left:
                done.set()

    request = request_of(order)
    clients = [await connect(order, request, told) for _ in range(order["connections"])]
    for client in clients:
        client.ask()
    # The connections to the upstream, and whatever is made at its first use, are not counted.
    await done.wait()
    done.clear()
    took.clear()
    left = len(clients)
    begun, cpu = time.monotonic(), spent(order)
    until = begun + order["seconds"]
    for client in clients:
        client.ask()
    await done.wait()
    return {"count": len(took), "seconds": time.monotonic() - begun, "cpu": spent(order) - cpu}


async def opened(order: dict[str, Any]) -> dict[str, Any]:
    took, first = [], []
    idle: list[Client] = []
    loop = asyncio.get_running_loop()
    request = request_of(order)
    count = int(order["rate"] * order["seconds"])
    done = asyncio.Event()

    def told(client: Client, now: float) -> None:
        took.append(now - client.begun)
        first.append(client.first - client.begun)
        idle.append(client)
        if len(took) == count:
            done.set()

    idle += [await connect(order, request, told) for _ in range(order.get("connections", 16))]
    begun = loop.time()
    extra = []
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / order["rate"] - loop.time()))
        if idle:
            idle.pop(0).ask()
        else:
            extra.append(asyncio.ensure_future(connect(order, request, told)))
            extra[-1].add_done_callback(lambda task: task.result().ask())
    await done.wait()
    return {"count": count, "seconds": loop.time() - begun, "took": took, "first": first}


async def streams(order: dict[str, Any]) -> dict[str, Any]:
    waiting = left = order["connections"]
    flowing: list[tuple[int, float, float]] = []
    """Events, time and CPU time when the last stream began, and when the first one ended."""

    done = asyncio.Event()

    def note() -> None:
        flowing.append((len(held), time.monotonic(), spent(order)))

    def begun() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            note()

    def told(client: Client, now: float) -> None:
        nonlocal left
        if left == order["connections"]:
            if waiting:
                raise RuntimeError("a stream ended before all had begun")
            note()
        left -= 1
        if not left:
            done.set()

    request = request_of(order)
    clients = [await connect(order, request, told, begun) for _ in range(order["connections"])]
    for client in clients:
        client.ask()
    await done.wait()
    count, seconds, cpu = (after - before for before, after in zip(*flowing, strict=True))
    return {"count": count, "seconds": seconds, "held": held, "cpu": cpu}


async def get(order: dict[str, Any]) -> dict[str, Any]:
    done = asyncio.Event()
    client = await connect(order, request_of(order), lambda *_: done.set())
    begun, cpu = time.monotonic(), spent(order)
    client.ask()
    await done.wait()
    return {"count": 1, "seconds": time.monotonic() - begun, "cpu": spent(order) - cpu}


async def put(order: dict[str, Any]) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", order["port"])
    begun, cpu = time.monotonic(), spent(order)
    size = order["bytes"]
    head = f"PUT {order['path']} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
    writer.write(head.encode())
    piece = bytes(1 << 18)
    while size > 0:
        writer.write(piece[:size])
        size -= len(piece)
        await writer.drain()
    line = await reader.readline()
    if b" 200 " not in line:
        raise RuntimeError(line)
    took = time.monotonic() - begun
    writer.close()
    return {"count": 1, "seconds": took, "cpu": spent(order) - cpu}


def main() -> None:
    order = json.loads(sys.argv[1])
    do = {"closed": closed, "open": opened, "streams": streams, "get": get, "put": put}[order["do"]]
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: (loop.default_exception_handler(context), loop.stop()))
    result = loop.run_until_complete(do(order))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
