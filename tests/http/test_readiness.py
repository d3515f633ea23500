"""Readiness: seen at once, asked for politely, and never mistaken."""

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
import pytest

from swapcore_http import readiness
from swapcore_http.readiness import is_this_machine, probe_url, wait_until_ready
from tests.http.processes import open_files

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOADING = b"HTTP/1.1 503 Loading\r\nContent-Length: 4\r\n\r\nwait"
LATE = b"HTTP/1.1 503 Loading\r\nContent-Length: 4\r\n\r\nlate"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
SILENT = b"HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n"
ENDLESS = (
    b"HTTP/1.1 503 Loading\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n"
)
NOTHING = b""


class Upstream:
    """A server that gives these answers in turn, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.heads: list[list[str]] = []
        self.connections = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = True
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                # A raw connect says nothing; it is no connection that anything is asked over.
                self.connections += first
                first = False
                self.heads.append(head.decode().split("\r\n"))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is LATE:
                    writer.write(answer.removesuffix(b"late"))
                    await asyncio.sleep(0.02)
                    answer = b"late"
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[int]:
        server = await asyncio.start_server(self.converse, host, port)
        async with server:
            yield server.sockets[0].getsockname()[1]


def never(said: str) -> None:
    pytest.fail(f"that was no progress: {said}")


async def ready(
    url: str, endpoint: str = "/health", progressed: Callable[[str], None] = never, patience: float = 5.0
) -> str:
    with anyio.fail_after(60):
        return await wait_until_ready(
            url, endpoint, spawned=time.monotonic(), patience=patience, progressed=progressed
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


async def test_an_upstream_that_answers_is_ready_at_once() -> None:
    upstream = Upstream(OK)
    async with upstream.listening() as port:
        assert await ready(f"http://127.0.0.1:{port}") == f"http://127.0.0.1:{port}"
    assert [head[0] for head in upstream.heads] == ["GET /health HTTP/1.1"]


async def test_it_waits_while_the_port_refuses() -> None:
    port = free_port()
    async with anyio.create_task_group() as tasks:
        found: list[str] = []

        async def wait() -> None:
            found.append(await ready(f"http://127.0.0.1:{port}"))

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert found == []
        async with Upstream(OK).listening(port=port):
            with anyio.fail_after(60):
                while not found:  # noqa: ASYNC110 - the task tells nobody.
                    await anyio.sleep(0.005)
    assert found == [f"http://127.0.0.1:{port}"]


async def test_a_503_that_says_something_is_progress_over_one_kept_connection() -> None:
    upstream = Upstream(LOADING, LATE, REDIRECT, SILENT, LOADING, OK)
    progress: list[tuple[int, str]] = []
    async with upstream.listening() as port:
        await ready(
            f"http://127.0.0.1:{port}", progressed=lambda said: progress.append((len(upstream.heads), said))
        )
    assert progress == [(1, "wait"), (2, "late"), (5, "wait")]
    assert upstream.connections == 1


async def test_redirects_are_not_followed() -> None:
    upstream = Upstream(REDIRECT, REDIRECT, OK)
    async with upstream.listening() as port:
        await ready(f"http://127.0.0.1:{port}")
    assert [head[0] for head in upstream.heads] == ["GET /health HTTP/1.1"] * 3


async def test_one_that_accepts_and_never_answers_is_asked_again() -> None:
    upstream = Upstream(NOTHING, NOTHING, OK)
    async with upstream.listening() as port:
        await ready(f"http://127.0.0.1:{port}", patience=0.05)
    assert len(upstream.heads) == 3


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", id="head-without-bound"),
    ],
)
async def test_what_is_no_answer_is_not_ready(noise: bytes) -> None:
    upstream = Upstream(noise, OK)
    async with upstream.listening() as port:
        await ready(f"http://127.0.0.1:{port}")
    assert len(upstream.heads) == 2


async def test_an_endless_answer_is_hung_up_on() -> None:
    upstream = Upstream(ENDLESS, OK)
    progress: list[str] = []
    async with upstream.listening() as port:
        await ready(f"http://127.0.0.1:{port}", progressed=progress.append)
    assert progress == ["x" * readiness.SHOWN_BYTES]
    assert upstream.connections == 2


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_localhost_is_whichever_address_answers(host: str, address: str) -> None:
    upstream = Upstream(OK)
    async with upstream.listening(host) as port:
        assert await ready(f"http://localhost:{port}/base") == f"http://{address}:{port}/base"
    assert f"Host: localhost:{port}" in upstream.heads[0]


async def test_credentials_of_the_url_are_kept() -> None:
    upstream = Upstream(OK)
    async with upstream.listening() as port:
        assert await ready(f"http://u:p@localhost:{port}") == f"http://u:p@127.0.0.1:{port}"
    assert f"Host: localhost:{port}" in upstream.heads[0]
    assert "Authorization: Basic dTpw" in upstream.heads[0]


async def test_a_name_is_looked_up() -> None:
    upstream = Upstream(OK)
    # The one name beside localhost that every machine knows is its own.
    async with upstream.listening("0.0.0.0") as port:  # noqa: S104 - whatever address the name has.
        name = socket.gethostname()
        assert await ready(f"http://{name}:{port}") == f"http://{name}:{port}"


async def test_a_name_that_nobody_knows_is_not_listening() -> None:
    assert not await readiness._accepts("no-such-host.invalid", 80)


async def test_https_keeps_the_name_that_its_certificate_has() -> None:
    async with Upstream(OK).listening() as port:
        base = urlsplit(f"https://localhost:{port}")
        with anyio.fail_after(60):
            assert await readiness._wait_until_listening(base, time.monotonic()) == base


async def test_https_is_asked_through_tls() -> None:
    """A plain server gets a TLS greeting, and that is no answer."""
    greeted = anyio.Event()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(1)) == b"\x16":
            greeted.set()
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    async with server, anyio.create_task_group() as tasks:
        port = server.sockets[0].getsockname()[1]
        tasks.start_soon(ready, f"https://127.0.0.1:{port}")
        with anyio.fail_after(60):
            await greeted.wait()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("age", "shortest", "longest"),
    [(0.0, 0.002, 0.1), (5.0, 0.1, 0.25), (10.0, 0.2, 0.25), (1000.0, 0.25, 0.25)],
)
async def test_it_is_asked_the_more_rarely_the_longer_it_takes(
    age: float, shortest: float, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = anyio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(anyio, "sleep", sleep)
    async with Upstream(LOADING, LOADING, OK).listening() as port:
        await wait_until_ready(
            f"http://127.0.0.1:{port}",
            "/health",
            spawned=time.monotonic() - age,
            patience=5.0,
            progressed=lambda _: None,
        )
    assert len(pauses) == 2
    assert all(shortest <= pause <= longest for pause in pauses)


async def test_cancelled_it_leaves_nothing_open() -> None:
    files = open_files()
    upstream = Upstream(NOTHING)
    async with upstream.listening() as port, anyio.create_task_group() as tasks:
        tasks.start_soon(ready, f"http://127.0.0.1:{port}")
        with anyio.fail_after(60):
            while not upstream.heads:  # noqa: ASYNC110 - the server tells nobody.
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    # Connections are closed in the next turn of the loop.
    with anyio.fail_after(60):
        while open_files() > files:  # noqa: ASYNC110 - likewise.
            await anyio.sleep(0.005)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_connect_that_meets_itself_is_not_a_listener(
    at_once: bool,  # noqa: FBT001 - whether the system tells it at once.
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Give the raw connect the very port as its own, as the system does once in many thousand times."""
    port = free_port()
    real = socket.socket
    if not at_once:
        monkeypatch.setattr(readiness, "_accepts_here", lambda *_: None)

    def same_port(family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        sock = real(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    monkeypatch.setattr(socket, "socket", same_port)
    assert not await readiness._accepts("127.0.0.1", port)
    monkeypatch.undo()
    # And the upstream can bind it, without asking for the reuse of addresses.
    with real(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", port))


async def test_whether_an_address_of_this_machine_accepts_is_mostly_known_at_once() -> None:
    async with Upstream(OK).listening() as port:
        assert readiness._accepts_here("127.0.0.1", port) in (True, None)
        # Only the other family's address is free.
        assert readiness._accepts_here("::1", port) in (False, None)
        assert await readiness._accepts("127.0.0.1", port)
    assert not await readiness._accepts("127.0.0.1", port)


async def test_where_it_is_not_known_at_once_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_accepts_here", lambda *_: None)
    async with Upstream(OK).listening() as port:
        assert await readiness._accepts("127.0.0.1", port)
    assert not await readiness._accepts("127.0.0.1", port)


@pytest.mark.parametrize(("age", "pause"), [(0.0, 0.002), (0.2, 0.004), (60.0, 0.005)])
def test_a_port_is_tried_the_more_rarely_the_longer_it_refuses(age: float, pause: float) -> None:
    found = readiness._pause(time.monotonic() - age, readiness.CONNECT_OFTEN, readiness.CONNECT_EVERY)
    assert pause <= found <= readiness.CONNECT_EVERY


async def test_a_host_that_swallows_connects_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def swallow(*_: object) -> None:
        await anyio.sleep(math.inf)

    monkeypatch.setattr(readiness, "CONNECT_TIMEOUT", 0.01)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", swallow)
    with anyio.fail_after(60):
        assert not await readiness._accepts("192.0.2.1", 80)


@pytest.mark.parametrize(
    ("url", "endpoint", "expected"),
    [
        ("http://h:1", "/health", "http://h:1/health"),
        ("http://h:1", "health", "http://h:1/health"),
        ("http://h:1", "", "http://h:1/"),
        ("http://h:1/", " ", "http://h:1/"),
        ("http://h:1/base", "", "http://h:1/base"),
        ("http://h:1/base/", "/health", "http://h:1/base/health"),
        ("http://h:1/base", "/v1/models?x=1&y=%2F#part", "http://h:1/base/v1/models?x=1&y=%2F"),
        ("http://h:1/a%2Fb", "/c%2Fd", "http://h:1/a%2Fb/c%2Fd"),
        ("http://h:1/base", "http://other:9/ping?x=1", "http://h:1/base/ping?x=1"),
        ("http://h:1/base", "https://other", "http://h:1/base"),
        ("http://h:1", "//odd/path", "http://h:1//odd/path"),
        ("http://h:1", "/a:b", "http://h:1/a:b"),
        ("http://h:1", "?x=1", "http://h:1/?x=1"),
    ],
)
def test_where_the_health_check_is(url: str, endpoint: str, expected: str) -> None:
    assert probe_url(url, endpoint) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", True),  # noqa: S104 - as people write it.
        ("192.0.2.1", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
        (None, False),
    ],
)
def test_which_hosts_are_this_machine(host: str | None, expected: bool) -> None:  # noqa: FBT001 - a table.
    assert is_this_machine(host) is expected
