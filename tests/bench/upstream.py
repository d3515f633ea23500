"""The fastest upstream that plain Python makes, and one that says when it began to listen.

Started as a program: `python -I -S upstream.py PORT [LOAD_SECONDS]`. It answers everything with one short
chat, but for these, whatever the path before them:

    ?count=N&every=S    N events, one each S seconds, each with the time at which it was sent
    ?count=N            N bytes
    /sink               a short answer, once all of the body has come
"""

import re
import selectors
import socket
import sys
import time
from heapq import heappop, heappush
from typing import Any

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}],"sent":%.6f}\n\n'
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
QUERY = re.compile(rb"[?&](\w+)=([\d.]+)")


class Client:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = bytearray()
        self.out = bytearray()
        self.skip = 0
        """Bytes of a body that are still to come and of no interest."""

        self.events = 0
        """Events that are still to be sent."""

        self.every = 0.0


class Upstream:
    """All connections, in one loop."""

    def __init__(self, port: int) -> None:
        self.waiting = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        # The monotonic clock is one for all processes of the machine.
        body = b'{"listening_at":%.6f,"choices":[{"message":{"role":"assistant","content":"hello"}}]}'
        body = body % time.monotonic() + b" " * 100
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\n"
        self.answer = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self.due: list[tuple[float, int, Client]] = []

    def run(self) -> None:
        self.waiting.register(self.listener, selectors.EVENT_READ)
        while True:
            timeout = max(0.0, self.due[0][0] - time.monotonic()) if self.due else None
            for key, mask in self.waiting.select(timeout):
                if key.data is None:
                    self.accept()
                elif mask & selectors.EVENT_WRITE:
                    self.flush(key.data)
                else:
                    self.read(key.data)
            while self.due and self.due[0][0] <= time.monotonic():
                self.send_event(*heappop(self.due))

    def accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting.register(sock, selectors.EVENT_READ, Client(sock))

    def close(self, client: Client) -> None:
        if client.sock.fileno() >= 0:
            self.waiting.unregister(client.sock)
            client.sock.close()

    def read(self, client: Client) -> None:
        try:
            data = client.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.close(client)
            return
        if client.skip:
            client.skip -= len(data)
            if client.skip > 0:
                return
            self.send(client, self.answer)
            client.skip = 0
            return
        client.received += data
        self.answer_requests(client)

    def answer_requests(self, client: Client) -> None:
        received = client.received
        while (end := received.find(b"\r\n\r\n")) >= 0:
            match = LENGTH.search(received, 0, end)
            total = end + 4 + (int(match[1]) if match else 0)
            line = bytes(received[: received.index(b"\r\n")])
            if b"/sink" in line:
                client.skip = total - len(received)
                received.clear()
                if client.skip <= 0:
                    client.skip = 0
                    self.send(client, self.answer)
                return
            if len(received) < total:
                return
            del received[:total]
            if b"?" not in line:
                self.send(client, self.answer)
                continue
            query: dict[bytes, Any] = dict(QUERY.findall(line))
            count = int(query[b"count"])
            if b"every" in query:
                client.events, client.every = count, float(query[b"every"])
                self.send(client, STREAM)
                heappush(self.due, (time.monotonic() + client.every, id(client), client))
            else:
                self.send(client, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count + bytes(count))

    def send_event(self, due: float, number: int, client: Client) -> None:
        event = EVENT % time.monotonic()
        client.events -= 1
        last = b"" if client.events else b"0\r\n\r\n"
        self.send(client, b"%x\r\n%b\r\n%b" % (len(event), event, last))
        if client.events and client.sock.fileno() >= 0:
            heappush(self.due, (due + client.every, number, client))

    def send(self, client: Client, data: bytes) -> None:
        if not client.out:
            try:
                sent = client.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close(client)
                return
            if sent == len(data):
                return
            data = data[sent:]
            self.waiting.modify(client.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
        client.out += data

    def flush(self, client: Client) -> None:
        try:
            with memoryview(client.out) as view:
                sent = client.sock.send(view[: 1 << 20])
        except OSError:
            self.close(client)
            return
        del client.out[:sent]
        if not client.out:
            self.waiting.modify(client.sock, selectors.EVENT_READ, client)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        time.sleep(float(sys.argv[2]))
    Upstream(int(sys.argv[1])).run()
