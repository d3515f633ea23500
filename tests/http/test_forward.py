"""Do requests and answers pass byte for byte, as they come, and break off visibly?"""

import asyncio
import gzip
import hashlib
import json
import random
import re
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise

import anyio
import pytest

from tests.http.serving import (
    DEADLINE,
    Served,
    Wire,
    answering_at,
    fake,
    read_request,
    scripted,
    serving,
    unrun,
)

pytestmark = pytest.mark.anyio

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CHAT = "/v1/chat/completions"


def stream(model: str, **knobs: object) -> dict[str, object]:
    return {"model": model, "stream": True, "fake": knobs}


def always(answer: bytes) -> Answering:
    """Answer every request of a connection with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            writer.write(answer)

    return serve


async def pass_back(answer: bytes, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Have an upstream answer with these bytes; return what the client gets, but for what we add."""
    async with (
        scripted(always(answer)) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
        Wire.to(served) as wire,
    ):
        await wire.get("/upstream/a/x", "Connection: close", *fields, method=method, version=version)
        got = await wire.rest()
    rest, count = OURS.subn(b"", got)
    assert count == 1
    return rest


OURS = re.compile(rb"X-Swap-Model: a\r\nX-Swap-Wait-Ms: [0-9]+\r\n")
"""What every answer says about itself."""


# Requests -----------------------------------------------------------------------


async def test_request_passes_byte_for_byte() -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 204 Gone Well\r\n\r\n")

    body = '{ "model" : "a","x":"ä" , "model2": 1.0 }\r\n'.encode()
    head = (
        "POST /v1/embeddings?b=%2F&a=+1&&c HTTP/1.1\r\nHost: My.Host:99\r\nX-Twice: 1\r\nx-twice: 2\r\n"
        "Content-Type: application/json\r\nCookie: a=1; b=2\r\nAuthorization: Bearer x\r\n"
        f"Connection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url + "/base/")) as served,
        Wire.to(served) as wire,
    ):
        await wire.send(head.encode() + body)
        line, _ = await wire.head()
    assert line == "HTTP/1.1 204 Gone Well"
    came, _, sent = seen[0].partition(b"\r\n\r\n")
    assert sent == body
    assert came.split(b"\r\n") == [
        b"POST /base/v1/embeddings?b=%2F&a=+1&&c HTTP/1.1",
        b"Host: My.Host:99",
        b"X-Twice: 1",
        b"x-twice: 2",
        b"Content-Type: application/json",
        b"Cookie: a=1; b=2",
        b"Authorization: Bearer x",
        b"Content-Length: %d" % len(body),
        b"X-Forwarded-For: 127.0.0.1",
    ]


@pytest.mark.parametrize(
    ("user", "fields", "expected"),
    [
        ("us%40er:p%C3%A4ss@", [], b"Authorization: Basic " + b64encode("us@er:päss".encode())),
        (":key@", [], b"Authorization: Basic " + b64encode(b":key")),
        ("user@", [], b"Authorization: Basic " + b64encode(b"user:")),
        ("user:pass@", ["authorization: Bearer x"], b"authorization: Bearer x"),
        ("", [], None),
    ],
)
async def test_user_in_the_url_of_the_upstream(user: str, fields: list[str], expected: bytes | None) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 204 OK\r\n\r\n")

    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url.replace("//", f"//{user}"))) as served,
        Wire.to(served) as wire,
    ):
        await wire.get("/upstream/a/x%2Fy?z=%20", *fields)
        line, _ = await wire.head()
    assert line == "HTTP/1.1 204 OK"
    lines = seen[0].split(b"\r\n")
    assert lines[0] == b"GET /x%2Fy?z=%20 HTTP/1.1"
    assert next((line for line in lines if line.lower().startswith(b"authorization")), None) == expected


async def test_packed_body_stays_packed() -> None:
    body = b"\x1f\x8b not really gzip, but nobody is to look"
    async with serving(fake("a")) as served:
        _, _, answer = await served.ask(
            "POST",
            "/v1/images/generations?model=a",
            body,
            headers={"Content-Encoding": "gzip", "Content-Type": "x/y"},
        )
    assert answer["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert ["Content-Encoding", "gzip"] in answer["headers"]


async def test_body_in_chunks_arrives_whole() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        body = json.dumps({"model": "a", "pad": "x" * 3_000_000}).encode()
        await wire.send(
            b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        for start in range(0, len(body), 100_000):
            piece = body[start : start + 100_000]
            await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await wire.send(b"0\r\n\r\n")
        await wire.head()
        answer = json.loads(await wire.rest())
    assert answer["body_length"] == len(body)
    assert answer["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert ["Content-Length", str(len(body))] in answer["headers"]


@pytest.mark.parametrize("framing", ["Content-Length: 300000", "Transfer-Encoding: chunked"])
async def test_body_below_upstream_is_not_collected(framing: str) -> None:
    """The upstream has the first half while the client still holds the second back."""
    half = b"y" * 150_000
    pieces = (
        [b"%x\r\n%b\r\n" % (len(half), half)] * 2 + [b"0\r\n\r\n"] if "chunked" in framing else [half] * 2
    )
    got_half = asyncio.Event()
    everything = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything.extend(await reader.readuntil(b"\r\n\r\n"))
        while everything.count(b"y") < 300_000:
            everything.extend(await reader.read(65536))
            if everything.count(b"y") >= 150_000:
                got_half.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
        Wire.to(served) as wire,
    ):
        await wire.send(f"PUT /upstream/a/x HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + pieces[0])
        await got_half.wait()
        await wire.send(b"".join(pieces[1:]))
        line, _ = await wire.head()
        assert await wire.reader.readexactly(2) == b"ok"
    assert line == "HTTP/1.1 200 OK"
    assert framing.encode() in everything


async def test_client_that_expects_a_continue_gets_one() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.send(
            b"POST /upstream/a/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
            b"Connection: close\r\n\r\n"
        )
        line, _ = await wire.head()
        assert line == "HTTP/1.1 100 Continue"
        await wire.send(b"hello")
        await wire.head()
        answer = json.loads(await wire.rest())
    assert answer["body"] == "hello"
    assert not [name for name, _ in answer["headers"] if name == "Expect"]


# Answers ------------------------------------------------------------------------


async def test_answer_passes_byte_for_byte() -> None:
    fields = (
        b"Content-Type: text/x\r\nSet-Cookie: a=1\r\nX-A: 1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\n"
        b"Server: llama.cpp\r\nDate: yesterday\r\nContent-Length: 4\r\n"
    )
    head, _, body = (
        await pass_back(
            b"HTTP/1.1 299 Rather Fine\r\n"
            + fields
            + b"Keep-Alive: 5\r\nConnection: keep-alive\r\n\r\n\x1f\x8b\x00!"
        )
    ).partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 299 Rather Fine\r\n" + fields + b"Connection: close"
    assert body == b"\x1f\x8b\x00!"


async def test_nothing_is_added_but_the_date() -> None:
    got = await pass_back(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
    names = [line.partition(b":")[0] for line in got.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    assert sorted(names) == [b"Connection", b"Content-Length", b"Date"]


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 1234\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nX-Tag: x\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\nX-Tag: x\r\n"),
        ("DELETE", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"),
        ("GET", b"HTTP/1.1 302 Found\r\nLocation: /elsewhere?x=%2F\r\nContent-Length: 0\r\n"),
        ("GET", b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n"),
    ],
)
async def test_answers_without_a_body(method: str, head: bytes) -> None:
    got = await pass_back(head + b"Date: now\r\n\r\n", method=method)
    assert got == head + b"Date: now\r\nConnection: close\r\n\r\n"


async def test_answer_in_chunks_for_a_client_without_them() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    got = await pass_back(chunked, "Connection: keep-alive", version="1.0")
    assert b"chunked" not in got
    assert got.endswith(b"\r\n\r\nabcde")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_answer_that_ends_with_its_connection(version: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")

    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
        Wire.to(served) as wire,
    ):
        await wire.get("/upstream/a/x", "Connection: close", version=version)
        got = await wire.rest()
    assert got.endswith(b"9\r\nall of it\r\n0\r\n\r\n" if version == "1.1" else b"\r\n\r\nall of it")


async def test_each_event_is_delivered_before_the_next_is_sent() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.post(CHAT, stream("a", chunks=3, gate="g"))
        _, fields = await wire.head()
        assert ("X-Accel-Buffering", "no") in fields
        assert ("Content-Type", "text/event-stream") in fields
        for number in range(3):
            # The upstream sends nothing more until its gate is opened once more.
            await served.open_gate("a", "g")
            event = await wire.chunk()
            assert event.startswith(b"data: {")
            assert event.endswith(b"\n\n")
            assert f"w{number} ".encode() in event
        # The end needs no gate, and can come together with what is before it.
        assert b"".join([event, *await wire.chunks()]).endswith(b"\n\ndata: [DONE]\n\n")


async def test_stream_is_whole_and_equal() -> None:
    async with serving(fake("a")) as served:
        _, _, direct = await served.ask("GET", "/upstream/a/stream?bytes=0")
        status, _, body = await served.ask("GET", "/upstream/a/stream?bytes=5000001&size=99991")
    assert (direct, status) == (b"", 200)
    assert body == b"x" * 5_000_001


async def test_any_answer_passes_byte_for_byte_however_it_comes() -> None:
    """Chunks and packets of all sizes, packed or not, with trailers or without."""
    written: list[tuple[bytes, list[int]]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                await read_request(reader)
                framed, cuts = written[-1]
                for start, end in pairwise([0, *cuts, len(framed)]):
                    writer.write(framed[start:end])
                    await writer.drain()
                    # Another packet.
                    await asyncio.sleep(0)

    chance = random.Random(7)
    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
        Wire.to(served) as wire,
    ):
        for _ in range(150):
            content = chance.randbytes(chance.choice([0, 1, 100, 70_000, 300_000]))
            fields, packed = b"X-Plain: yes\r\n", content
            if chance.random() < 0.5:
                fields, packed = b"Content-Encoding: gzip\r\n", gzip.compress(content)
            body = packed
            if chance.random() < 0.7:
                fields += b"Transfer-Encoding: chunked\r\n"
                cuts = sorted(chance.choices(range(len(packed) + 1), k=chance.randrange(20)))
                parts = [packed[start:end] for start, end in pairwise([0, *cuts, len(packed)])]
                body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
                trailer = chance.choice([b"", b"X-Sum: 1\r\n", b"A: 1\r\nB: two\r\n"])
                body += chance.choice([b"0", b"00;ext=1"]) + b"\r\n" + trailer + b"\r\n"
            else:
                fields += b"Content-Length: %d\r\n" % len(packed)
            framed = b"HTTP/1.1 200 OK\r\nDate: now\r\n" + fields + b"\r\n" + body
            pieces = sorted(chance.choices(range(1, len(framed)), k=chance.choice([0, 1, 5, 60])))
            written.append((framed, pieces))
            await wire.get("/upstream/a/x")
            _, got = await wire.head()
            assert [f"{name}: {value}".encode() for name, value in got if not name.startswith("X-Swap-")] == [
                b"Date: now",
                *fields.split(b"\r\n")[:-1],
            ]
            assert await wire.reader.readexactly(len(body)) == body


async def test_client_that_does_not_read_stops_the_upstream() -> None:
    total = 200_000_000
    async with serving(fake("a")) as served:
        sock = socket.socket()
        # Small, so that what the system itself takes stays far below the total.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", served.port))
        with sock:
            await loop.sock_sendall(
                sock, f"GET /upstream/a/stream?bytes={total} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            await served.until_leased("a")
            sent = -1
            with anyio.fail_after(DEADLINE):
                # It has stopped once it sends nothing more for a while.
                while (now := await taken(served)) != sent or now == 0:
                    sent = now
                    await anyio.sleep(0.3)
            assert 0 < sent < 40_000_000
            # Once the client reads, it goes on.
            with anyio.fail_after(DEADLINE):
                read = 0
                while read < 60_000_000:
                    read += len(await loop.sock_recv(sock, 1 << 20))
    assert read >= 60_000_000


async def taken(served: Served) -> int:
    answers = (await served.events("a"))["answers"]
    return int(answers[0]["sent"]) if answers else 0


async def test_upstream_that_does_not_read_stops_the_client() -> None:
    total = 200_000_000
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        # While it loads, the body would be taken all the same.
        await served.chat("a")
        head = "POST /upstream/a/echo HTTP/1.1\r\nHost: x\r\nX-Fake-Read-Gate: g"
        await wire.send(f"{head}\r\nContent-Length: {total}\r\n\r\n".encode())
        sent = 0
        with anyio.move_on_after(1.0):
            while sent < total:
                await wire.send(b"x" * 100_000)
                sent += 100_000
        assert 0 < sent < 60_000_000
        wire.hang_up()
        await served.open_gate("a", "g")
        await served.events("a", "disconnect")


async def test_cookies_are_the_clients_business() -> None:
    """No request carries a cookie that was set for another."""
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            seen.append(await read_request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: secret=1\r\nContent-Length: 0\r\n\r\n")

    async with (
        scripted(answer) as url,
        # By name, since aiohttp keeps no cookies of bare addresses anyway.
        serving(unrun("a"), launch=answering_at(url.replace("127.0.0.1", "localhost"))) as served,
        Wire.to(served) as wire,
    ):
        for _ in range(2):
            await wire.get("/upstream/a/x")
            assert ("Set-Cookie", "secret=1") in (await wire.head())[1]
    assert len(seen) == 2
    assert b"ookie" not in b"".join(seen)
