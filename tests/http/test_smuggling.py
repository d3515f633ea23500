"""Can a request be read in two ways, by this server and by an upstream? Then it must not get there."""

import asyncio
import json

import pytest

from swapcore_http.config import ApiKeyConfig
from tests.http.serving import Wire, answering_at, fake, scripted, serving, unrun

pytestmark = pytest.mark.anyio

BODY = b'{"model":"a"}'
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"
PASS = b"POST /upstream/a/x HTTP/1.1\r\n"
HOST = b"Host: x\r\nContent-Type: application/json\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


def framed(*fields: bytes, body: bytes = BODY, start: bytes = b"") -> list[bytes]:
    return [
        line + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body
        for line in ([start] if start else [CHAT, PASS])
    ]


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

REFUSED = {
    "two lengths that differ": framed(LENGTH, b"Content-Length: 0"),
    "two lengths that agree": framed(LENGTH, LENGTH),
    "a list of lengths": framed(b"Content-Length: %d, %d" % (len(BODY), len(BODY))),
    "a length and chunks": framed(LENGTH, CHUNKED, body=CHUNKS),
    "chunks and a length": framed(CHUNKED, LENGTH, body=CHUNKS),
    "a signed length": framed(b"Content-Length: +%d" % len(BODY)),
    "a negative length": framed(b"Content-Length: -1"),
    "a length in hex": framed(b"Content-Length: 0xd"),
    "a length with garbage": framed(b"Content-Length: %d x" % len(BODY)),
    "an enormous length": framed(b"Content-Length: " + b"9" * 40),
    "a folded field": framed(LENGTH, b"X-One: 1\r\n two"),
    "a folded length": framed(b"Content-Length:\r\n 13"),
    "bare newlines": [
        (CHAT + HOST + LENGTH + b"\r\n\r\n" + BODY).replace(b"\r\n", b"\n"),
        CHAT + HOST + b"X-One: 1\nContent-Length: 13\r\n\r\n" + BODY,
    ],
    "a bare return": framed(LENGTH, b"X-One: 1\rX-Two: 2"),
    "a space before the colon": framed(b"Content-Length : 13"),
    "a space before the first field": [CHAT + b" " + HOST + LENGTH + b"\r\n\r\n" + BODY],
    "a nul in a value": framed(LENGTH, b"X-One: \x00"),
    "a nul in a name": framed(LENGTH, b"X-\x00: 1"),
    "a field without a colon": framed(LENGTH, b"X-One"),
    "an empty name": framed(LENGTH, b": 1"),
    "chunks that are not last": framed(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "an unknown coding": framed(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunks with a disguise": framed(b"Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "a chunk size with a sign": framed(CHUNKED, body=b"+d\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk size with a prefix": framed(CHUNKED, body=b"0xd\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk that is longer than it says": framed(CHUNKED, body=b"1\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "a chunk size that overflows": framed(CHUNKED, body=b"f" * 20 + b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunks in bare newlines": framed(CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n")),
    "no version": framed(LENGTH, start=b"POST /upstream/a/x\r\n"),
    "an unknown version": framed(LENGTH, start=b"POST /upstream/a/x HTTP/1.9x\r\n"),
    "a method that is none": framed(LENGTH, start=b"PO ST /upstream/a/x HTTP/1.1\r\n"),
    "a line break in the path": framed(LENGTH, start=b"POST /upstream/a/x\nGET HTTP/1.1\r\n"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_and_never_forwarded(case: str) -> None:
    seen: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with scripted(note) as url, serving(unrun("a"), launch=answering_at(url)) as served:
        for request in REFUSED[case]:
            async with Wire.to(served) as wire:
                await wire.send(request + HIDDEN)
                answer = await wire.rest()
            assert answer.startswith(b"HTTP/1.1 400 ") or answer == b"", (case, answer)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert not answer or int(head.lower().split(b"content-length: ")[1].split()[0]) == len(body)
            # What the program is made of is nobody's business.
            assert b"server:" not in head.lower()
            assert not answer or json.loads(body)["error"]["code"] == "bad_request", (case, body)
        # What has been read of a body may be passed on as it comes, but never as if it had ended.
        for request in seen:
            assert b"chunked" in request.lower(), (case, request)
            assert not request.endswith(b"0\r\n\r\n"), (case, request)
            assert b"hidden" not in request


async def test_http_2_is_named_as_what_it_is() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 400 ")
        assert "HTTP/2" in (await wire.json(fields))["error"]["message"]


@pytest.mark.parametrize("where", ["line", "field"])
async def test_what_is_too_long_is_refused_as_that(where: str) -> None:
    long = b"x" * 70_000
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        path, value = (long, b"") if where == "line" else (b"", long)
        await wire.send(b"GET /" + path + b" HTTP/1.1\r\nHost: x\r\nX-One: " + value + b"\r\n\r\n")
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 431 ")
        assert "more than 65536 bytes" in (await wire.json(fields))["error"]["message"]


async def test_requests_in_one_packet_are_answered_one_by_one() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        requests = b""
        for number in range(5):
            body = json.dumps({"model": "a", "n": number}).encode()
            head = b"POST /v1/images/generations HTTP/1.1\r\n" + HOST
            if number % 2:
                requests += head + CHUNKED + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            else:
                requests += head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        await wire.send(requests + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        for number in range(5):
            line, fields = await wire.head()
            assert line.startswith("HTTP/1.1 200 ")
            assert json.loads((await wire.json(fields))["body"]) == {"model": "a", "n": number}
        assert (await wire.head())[0] == "HTTP/1.1 200 OK"


async def test_a_client_is_told_to_go_on_before_its_body_is_read() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        for path in ("/v1/images/generations", "/upstream/a/x"):
            head = f"POST {path} HTTP/1.1\r\n".encode() + HOST + LENGTH
            await wire.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
            assert (await wire.head())[0] == "HTTP/1.1 100 Continue"
            await wire.send(BODY)
            line, fields = await wire.head()
            assert line.startswith("HTTP/1.1 200 ")
            answer = await wire.json(fields)
            assert answer["body"] == BODY.decode()
            assert "expect" not in [name.lower() for name, _ in answer["headers"]]


async def test_other_expectations_are_not_met() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.post("/upstream/a/x", {}, "Expect: miracles")
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 417 ")
        assert "'miracles'" in (await wire.json(fields))["error"]["message"]


@pytest.mark.parametrize(
    ("path", "length", "key", "status"),
    [
        ("/v1/images/generations", 13, "wrong", 401),
        ("/api/config/reload", 13, "weak", 403),
        ("/v1/images/generations", 2_000_000, "weak", 413),
        ("/upstream/a/x", 2_000_000, "full", 413),
        ("/v1/images/generations", 13, "weak", 100),
    ],
)
async def test_who_would_send_a_body_for_nothing_is_told_before(
    path: str, length: int, key: str, status: int
) -> None:
    keys = [ApiKeyConfig("full"), ApiKeyConfig("weak", scopes=["infer", "swap"])]
    async with serving(fake("a"), api_keys=keys, max_body_mb=1) as served, Wire.to(served) as wire:
        head = f"POST {path} HTTP/1.1\r\nContent-Length: {length}\r\nx-api-key: {key}\r\n".encode()
        await wire.send(head + HOST + b"Expect: 100-continue\r\n\r\n")
        line, fields = await wire.head()
        assert line.startswith(f"HTTP/1.1 {status} ")
        if status == 100:
            await wire.send(BODY)
            assert (await wire.head())[0].startswith("HTTP/1.1 200 ")
        else:
            assert ("Connection", "close") in fields
            assert (await wire.json(fields))["error"]["message"]


async def test_fields_of_the_connection_are_not_passed_on() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.get(
            "/upstream/a/x", "Connection: close, X-Secret, Content-Length", "X-Secret: 1", "TE: trailers"
        )
        _, fields = await wire.head()
        names = [name.lower() for name, _ in (await wire.json(fields))["headers"]]
        assert not {"x-secret", "te", "connection"} & set(names) - {"connection"}
        assert await wire.rest() == b""
