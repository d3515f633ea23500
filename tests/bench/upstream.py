"""The fastest upstream that plain Python makes: one answer for everything, and when it began to listen.

Started as a program: `python -I -S upstream.py PORT [LOAD_SECONDS]`.
"""

import selectors
import socket
import sys
import time


def main() -> None:
    port = int(sys.argv[1])
    if len(sys.argv) > 2:
        time.sleep(float(sys.argv[2]))
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    # The monotonic clock is one for all processes of the machine.
    body = b'{"listening_at": %.6f, "choices": [{"message": {"content": "hello"}}]}' % time.monotonic()
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting.register(client, selectors.EVENT_READ, bytearray())
                continue
            client = key.fileobj  # type: ignore[assignment]
            try:
                data = client.recv(65536)
            except OSError:
                data = b""
            if not data:
                waiting.unregister(client)
                client.close()
                continue
            key.data.extend(data)
            while (length := whole(key.data)) is not None:
                del key.data[:length]
                client.sendall(answer)


def whole(received: bytearray) -> int | None:
    """Return the length of the first request received, once it is there as a whole."""
    head, end, _ = bytes(received).partition(b"\r\n\r\n")
    if not end:
        return None
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    total = len(head) + 4 + length
    return total if len(received) >= total else None


if __name__ == "__main__":
    main()
