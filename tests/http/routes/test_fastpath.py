"""Tests of `swapcore_http.routes.fastpath`: whoever is answered without a task must not notice."""

import asyncio
import base64
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from swapcore_http.config import (
    ApiKeyConfig,
    FiltersConfig,
    ProfileConfig,
    SelectorConfig,
)
from swapcore_http.conversation import Conversation
from swapcore_http.routes.inference import PATHS
from tests.http.bothways import (
    ANSWER,
    PATH,
    TIMES,
    Upstream,
    at_rest,
    both,
    conversation_of,
    post,
    read_message,
    resting,
)
from tests.http.processes import until
from tests.http.serving import unrun

pytestmark = pytest.mark.anyio

A = {"model": "a"}
KEY, GUEST, WEAK = "key-of-all", "key-of-a-guest", "key-of-few"


def basic(key: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"user:{key}".encode()).decode()


PLAIN = [
    post(A),
    post({"model": "a", "stream": True, "messages": [{"role": "user", "content": "é" * 100}]}),
    post(b'{"messages": [{"content": "no \\"model\\" here"}] , "model" : "a" }'),
    post(b'\n\t{"model":"a"}\r\n'),
    post(A, length="content-length"),
    post(A, length="CONTENT-length"),
    post(A, "X-After: the length", length="content-length"),
    post(A, "Connection: keep-alive"),
    post(A, "Connection: keep-alive, X-Hop, Content-Type", "X-Hop: 1", "x-hop: 2", "X-Kept: 3"),
    post(A, "Connection: content-length"),
    post(A, "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X"),
    post(A, "Proxy-Authorization: Basic abc", "X-Swap-Priority: 5", "X-Swap-Patience: no number"),
    post(A, "Authorization: Bearer upstream", "x-api-key: other"),
    post(A, "AUTHORIZATION: Bearer one", "X-Api-Key: two", "Cookie: a=b", "cookie: c=d"),
    post(A, "X-Forwarded-For: 1.2.3.4", "x-forwarded-for: 5.6.7.8, 9.9.9.9", "X-Real-IP: 7.7.7.7"),
    post(A, "Accept-Encoding: gzip, deflate"),
    post(A, "Accept-Encoding: GZIP;q=1.0,*;q=0.5, identity, madeup, €"),
    post(A, "accept-encoding: madeup"),
    post(A, "Accept-Encoding: gzip, madeup", "Accept-Encoding: deflate"),
    post(A, "Content-Encoding: identity"),
    post(A, "Content-Encoding: snappy"),
    post(A, "X-Odd:", "X-Spaced:    both   ", "x-É: no"[:2] + "-a: \udcff\udcfe", "X-Utf: ü€"),
    post(A, "X-Many: 1", "X-Many: 2", "x-many: 1"),
    post(A, "User-Agent: someone", "Accept: text/event-stream", "Origin: http://test"),
    post(A, kind="content-type: text/x; APPLICATION/JSON; charset=latin-1"),
    post({"model": "a", "x": "y" * 60_000}),
    post(A, "X-Long: " + "z" * 20_000),
    *[post(A, path=PATH + query) for query in ("?", "?x=1", "?model=b&x=%2F&x=a+b%20c", "?x=1#y")],
    *[post(A, path=path) for path in ("/v1/embeddings", "/infill", "/v1/messages", "/v1/audio/speech")],
    *[post(A, path=path) for path in ("/v1/images/edits", "/v1/audio/transcriptions", "/rerank")],
]
"""What is answered without a task."""

OTHERS = [
    post(A, path=PATH + "#y"),
    post(b""),
    post(b"{}"),
    post(b"[1]"),
    post(b"{"),
    post(b"\xff\xfe"),
    post(b'{"model": "a", "model": "b"}'),
    post(b'{"model": "a", "mod\\u0065l": "b"}'),
    post(b'{"x": "\\u0061", "messages": 1, "model": "\\u0061"}'),
    post(b'{"x": {"model": "b"}, "model": "a"}'),
    post(b'{"x": {"model": "a"}}'),
    post(b'{"x": 1, "model": null}'),
    post(b'{"x": 1, "model": 7}'),
    post(b'{"x": 1, "model": ""}'),
    post(b'{"x": 1, "model": "a"'),
    post({"model": "unknown"}),
    post({"model": "A"}),
    post({"model": "a", "x": "y" * 70_000}),
    post({"model": "a", "x": "y" * 1_100_000}),
    post(A, path="/v1/nothing"),
    post(A, path="/v/chat/completions"),
    post(A, path="/upstream/a" + PATH),
    post(A, path="http://test" + PATH),
    post(A, path=PATH + "/"),
    post(A, path="/v1/chat/%63ompletions"),
    post(A, kind=""),
    post(A, kind="Content-Type: text/plain"),
    post(b"model=a", kind="Content-Type: application/x-www-form-urlencoded"),
    post(
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--b--\r\n',
        kind="Content-Type: multipart/form-data; boundary=b",
    ),
    post(A, "Connection: close"),
    post(A, "Connection: Keep-Alive, Close"),
    post(A, "Content-Encoding: gzip"),
    post(A).replace(b"HTTP/1.1", b"HTTP/1.0"),
    post(A, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    post(A).replace(b"POST ", b"PUT "),
    post(A).replace(b"POST ", b"GET "),
    post(A).replace(b"POST ", b"OPTIONS "),
    post(A, "Origin: http://evil.example"),
    post(A, "Sec-Fetch-Site: cross-site", "Origin: null"),
    b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'd\r\n{"model":"a"}\r\n0\r\n\r\n' % PATH.encode(),
    post(A, "Upgrade: other", "Connection: Upgrade"),
]
"""What is answered by a task."""


async def test_plain_requests_are_answered_as_by_a_task() -> None:
    async with both(unrun("a"), unrun("b"), max_body_mb=1) as ways:
        for request in PLAIN:
            answer = await ways.same(request, fast=True)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        for request in OTHERS:
            await ways.same(request, fast=False)
            # Whatever it was, the next one goes its way.
            await ways.same(PLAIN[0], fast=True)


async def test_all_paths_that_are_answered_without_a_task_are_recorded_alike() -> None:
    async with both(unrun("a")) as ways:
        for path in PATHS:
            await ways.same(post(A, path=path), fast=True)


NAMES = [
    *(
        "X-A",
        "x-a",
        "Accept",
        "accept-ENCODING",
        "Connection",
        "connection",
        "X-Forwarded-For",
        "x-hop",
        "Via",
    ),
    *("Authorization", "x-api-key", "X-Api-Key", "Cookie", "Origin", "X-Swap-Priority", "X-Swap-Patience"),
    *("Keep-Alive", "Content-Encoding", "Expires", "User-Agent", "Date", "Priority"),
]
VALUES = [
    *("", "1", "7", "inf", "1.2.3.4", "a" * 300, "\udce9\udcff", "é"),
    *("x-hop", "keep-alive", "close", "X-A, x-hop", "gzip, br, zstd;q=0", "identity", "http://test"),
    *("Bearer " + KEY, "Bearer " + GUEST, KEY, GUEST),
]


@pytest.mark.parametrize("seed", range(4))
async def test_any_fields_are_treated_as_by_a_task(seed: int) -> None:
    """Fields, their spellings and their order are drawn; who asks may be anybody."""
    drawn = random.Random(seed)
    keys: list[Any] = [KEY, ApiKeyConfig(GUEST, name="guest", priority=3, patience=9.0, scopes=["infer"])]
    fields: dict[str, Any] = {"api_keys": keys, "key": KEY} if seed % 2 else {}
    fields["caller_headers"] = bool(seed & 2)
    fast = 0
    async with both(unrun("a", forward_auth=seed == 3), **fields) as ways:
        for _ in range(60):
            lines = [f"{drawn.choice(NAMES)}: {drawn.choice(VALUES)}" for _ in range(drawn.randrange(6))]
            if seed % 2 and drawn.random() < 0.7:
                lines.insert(
                    drawn.randrange(len(lines) + 1), f"Authorization: Bearer {drawn.choice([KEY, GUEST])}"
                )
            length = drawn.choice(["Content-Length", "content-length", "cOntent-length"])
            await ways.same(
                post({"model": "a", "n": "x" * drawn.randrange(99)}, *lines, length=length), fast=None
            )
            fast += True in ways.taken
    assert 10 < fast < 60


KEYED: list[tuple[bool, tuple[str, ...]]] = [
    (True, (f"Authorization: Bearer {KEY}",)),
    (True, (f"authorization: bearer  {KEY} ",)),
    (True, (f"X-API-KEY: {KEY}",)),
    (True, (f"x-api-key: {KEY}", "Authorization: Bearer of the upstream")),
    (True, (f"x-api-key: {GUEST}", f"Authorization: Bearer {KEY}")),
    (True, (f"Authorization: Bearer {GUEST}", "X-Swap-Priority: 4", "X-Swap-Patience: 2.5")),
    (True, (basic(KEY),)),
    (True, (f"Authorization: Bearer {KEY}", "Origin: http://evil.example")),
    (False, (basic(KEY), "Origin: http://evil.example")),
    (False, ()),
    (False, ("Authorization: Bearer wrong",)),
    (False, (f"Authorization: Digest {KEY}",)),
    (True, (f"Authorization: Bearer {WEAK}",)),
    (False, ("Authorization: Bearer no-infer",)),
    (False, (f"Authorization: Bearer {KEY}", "X-Swap-Priority: high")),
    (False, (f"Authorization: Bearer {KEY}", "X-Swap-Patience: -1")),
]


@pytest.mark.parametrize("forward_auth", [False, True])
async def test_keys_say_who_asks_as_they_do_to_a_task(forward_auth: bool) -> None:  # noqa: FBT001
    keys: list[Any] = [
        KEY,
        ApiKeyConfig(GUEST, name="guest", priority=3, patience=9.0, scopes=["infer"]),
        ApiKeyConfig(WEAK, name="weak", models=["a*"]),
        ApiKeyConfig("no-infer", scopes=["logs"]),
    ]
    models = [unrun("a", forward_auth=forward_auth), unrun("b")]
    async with both(*models, api_keys=keys, key=KEY, caller_headers=True) as ways:
        for fast, fields in KEYED:
            await ways.same(post(A, *fields), fast=fast)
        # The guest may bring nothing up, and others not ask for it; a task tells them so, up or not.
        for key in (GUEST, WEAK, KEY, WEAK):
            await ways.same(post({"model": "b"}, f"Authorization: Bearer {key}"), fast=False)


async def test_what_names_mean_is_found_out_as_by_a_task() -> None:
    models = [
        unrun("a", aliases=["alias", "other"]),
        unrun("renamed", use_model_name="upstreams-own"),
        unrun("filtered", filters=FiltersConfig(strip_params="temperature")),
        unrun("set", filters=FiltersConfig(set_params={"top_k": 1})),
    ]
    fields: dict[str, Any] = {
        "selectors": [SelectorConfig("chosen", strategy="pin", targets=["a"])],
        "profiles": [ProfileConfig("pinning", pins={"alias": "renamed", "a": ""})],
        "groups": {},
    }
    async with both(*models, **fields) as ways:
        body: Callable[[str], dict[str, Any]] = lambda name: {"model": name, "temperature": 1, "top_k": 2}  # noqa: E731
        for name, fast in [("a", True), ("alias", True), ("other", True), ("chosen", False)]:
            await ways.same(post(body(name)), fast=fast)
        for name in ("renamed", "filtered", "set"):
            for fast in (False, True):
                await ways.same(post(body(name)), fast=fast)
            # What passes as it is where nothing changes it is nothing that can be filtered.
            await ways.same(post(b'{"model": "%b", "temperature": }' % name.encode()), fast=name == "renamed")
        await ways.same(post(body("a")), fast=False)
        for active in ("pinning", None):
            for side in ways.sides:
                status, _, _ = await side.served.ask("PUT", "/api/profiles/active", {"name": active})
                assert status == 200
            for name in ("a", "alias", "other"):
                await ways.same(post(body(name)), fast=None)
        await ways.same(post(body("a")), fast=True)


async def test_pages_may_read_what_they_may_of_a_task() -> None:
    listed = ["http://page.example", "https://sub.example"]
    async with both(unrun("a"), cors_origins=listed) as ways:
        for origin in ("http://page.example", "https://sub.example"):
            answer = await ways.same(post(A, f"Origin: {origin}"), fast=True)
            assert f"\r\nAccess-Control-Allow-Origin: {origin}\r\n".encode() in answer
        for fields in ((), ("Origin: http://test",), ("X-Origin: no",)):
            answer = await ways.same(post(A, *fields), fast=True)
            assert b"\r\nVary: Origin\r\n" in answer
            assert b"Allow-Origin" not in answer
        await ways.same(post(A, "Origin: http://other.example"), fast=False)
        for side in ways.sides:
            side.upstream.answer = allowing_all
        await ways.same(post(A, "Origin: http://page.example"), fast=True)


async def allowing_all(_: object, __: object, writer: asyncio.StreamWriter) -> None:
    fields = b"\r\nVary: Accept\r\nAccess-Control-Allow-Origin: *\r\nX-Swap-Model: forged\r\n"
    writer.write(ANSWER.replace(b"\r\n", fields, 1))


async def test_a_server_on_loopback_is_asked_by_its_names_only() -> None:
    async with both(unrun("a"), on_loopback=True) as ways:
        for host, fast in (
            ("127.0.0.1:80", True),
            ("localhost", True),
            ("[::1]", True),
            ("evil.example", False),
        ):
            await ways.same(post(A).replace(b"Host: test", f"Host: {host}".encode()), fast=fast)


async def test_nothing_is_captured_where_nothing_is_to_be() -> None:
    async with both(unrun("a"), capture_buffer=0) as ways:
        await ways.same(post(A), fast=True)


async def test_a_model_that_serves_as_many_as_it_may_is_waited_for() -> None:
    """The second waits in a task, and gets its answer when the first is done."""
    gate = asyncio.Event()

    async def answer(upstream: Upstream, _: object, writer: asyncio.StreamWriter) -> None:
        if len(upstream.asked) == 2:
            await gate.wait()
        writer.write(ANSWER)

    async with both(unrun("a", concurrency_limit=1)) as ways:
        side = ways.fast
        side.upstream.answer = ways.usual.upstream.answer = answer
        async with resting(side.served) as first, resting(side.served) as second:
            await first.send(post(A))
            await side.served.until_leased("a")
            assert ways.taken == [False, True]
            await second.send(post(A))
            await side.served.until_waiting("a")
            assert ways.taken == [False, True, False]
            gate.set()
            for wire in (first, second):
                assert (await read_message(wire.reader)).startswith(b"HTTP/1.1 200 ")
        # As many, and one after the other, of the other.
        for _ in range(2):
            await ways.usual.exchange(post(A))


CHANGES: dict[str, tuple[Any, dict[str, Any], bytes]] = {
    "nothing": (unrun("a", aliases=["b"]), {}, b" 200 "),
    "a key": (unrun("a", aliases=["b"]), {"api_keys": ["new"]}, b" 401 "),
    "another model": (unrun("z"), {}, b" 404 "),
    "no alias": (unrun("a"), {}, b" 404 "),
    "a filter": (unrun("a", aliases=["b"], filters=FiltersConfig(strip_params="x")), {}, b" 200 "),
    "a name": (unrun("a", aliases=["b"], use_model_name="n"), {}, b" 200 "),
    "another way": (
        unrun("a", aliases=["b"], name="n", patience=5.0),
        {"cors_origins": ["http://page"]},
        b" 200 ",
    ),
    "passing keys on": (unrun("a", aliases=["b"], forward_auth=True), {"api_keys": ["old"]}, b" 200 "),
    "a selector": (unrun("c"), {"selectors": [SelectorConfig("b", strategy="pin", targets=["c"])]}, b" 200 "),
    "the alias of another": (unrun("c", aliases=["b"]), {}, b" 200 "),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_another_configuration_holds_for_the_next_request_of_a_connection(change: str) -> None:
    model, fields, status = CHANGES[change]
    request = post({"model": "b", "x": 1}, "Authorization: Bearer old")
    async with both(unrun("a", aliases=["b"])) as ways:
        answers = []
        for side in ways.sides:
            async with resting(side.served) as wire:
                for _ in range(2):
                    await wire.send(request)
                    assert b" 200 " in await read_message(wire.reader)
                    await at_rest(side.served, wire)
                await side.served.replace(model, unrun("other"), **fields)
                await wire.send(request)
                answers.append(TIMES.sub(b"", await read_message(wire.reader)))
        assert answers[0] == answers[1]
        assert status in answers[0]
        assert ways.fast.upstream.asked == ways.usual.upstream.asked
        assert ways.taken[:3] == [False, True, True]
        ways.key = "new" if change == "a key" else "old"


def is_being_asked(conversation: Conversation) -> bool:
    return conversation._waiter is None


async def test_what_changes_while_a_body_comes_holds_as_for_a_task() -> None:
    request = post({"model": "a", "x": 1})
    async with both(unrun("a")) as ways:
        for side in ways.sides:
            async with resting(side.served) as wire:
                await wire.send(request[:-4])
                conversation = conversation_of(side.served, wire)
                assert conversation is not None
                await until(partial(is_being_asked, conversation))
                await side.served.replace(unrun("z"))
                await wire.send(request[-4:])
                assert b" 404 " in await read_message(wire.reader)
