"""Is what was asked recorded, shown and captured, for real requests through a real server?"""

import asyncio
import base64
import contextlib
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from swapcore_http.activity.entries import Entry
from swapcore_http.config import ApiKeyConfig, FiltersConfig, PeerConfig
from swapcore_http.routes.context import CONTEXT
from tests.http.serving import Served, Wire, answering_at, fake, read_request, scripted, serving, unrun

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def rows(served: Served, query: str = "") -> list[dict[str, Any]]:
    status, _, answer = await served.ask("GET", "/api/metrics/activity" + query)
    assert status == 200
    return list(answer["data"])


async def only_row(served: Served) -> dict[str, Any]:
    (row,) = await rows(served)
    return row


def answer_with(body: bytes, *fields: str, status: str = "200 OK") -> Callable[..., Awaitable[None]]:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await read_request(reader)
            except asyncio.IncompleteReadError:
                return
            writer.write(head.encode() + body)

    return serve


async def recorded(
    body: bytes, *fields: str, status: str = "200 OK", path: str = CHAT, **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Have an upstream answer one request like that; return the row and the capture, or an empty one."""
    async with (
        scripted(answer_with(body, *fields, status=status)) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
    ):
        async with served.http.post(served.base + path, json={"model": "a"}, **options) as response:
            await response.read()
        row = await only_row(served)
        captured, _, capture = await served.ask("GET", f"/api/captures/{row['id']}")
        assert captured == (200 if row["has_capture"] else 404)
        return row, capture if captured == 200 else {}


USAGE = json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 5}}).encode()
JSON = "Content-Type: application/json"


async def test_a_row() -> None:
    async with serving(fake("a")) as served:
        await served.chat("a")
        row = await only_row(served)
    assert row.pop("timestamp").endswith("Z")
    assert row.pop("duration_ms") >= 0
    assert 0 < row["load_ms"] <= row["queue_ms"] <= row.pop("ttfb_ms")
    del row["load_ms"], row["queue_ms"]
    assert row == {
        "id": 1,
        "model": "a",
        "req_path": CHAT,
        "resp_content_type": "application/json",
        "resp_status_code": 200,
        "tokens": {
            "cache_tokens": -1, "draft_tokens": -1, "draft_acc_tokens": -1, "input_tokens": 1,
            "output_tokens": 3, "prompt_per_second": -1.0, "tokens_per_second": -1.0,
        },
        "has_capture": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "shown"),
    [
        ("POST", "/v1/embeddings?x=1", "/v1/embeddings"),
        ("POST", "/v/chat/completions", "/chat/completions"),
        ("POST", "/upstream/a/v1/completions", "/v1/completions"),
        ("POST", "/audioapi/v1/tasks/run", "/v1/tasks/run"),
        ("POST", "/v9/new", "/v9/new"),
        ("POST", "/upstream/a/tokenize", None),
        ("GET", "/upstream/a/v1/completions", None),
        ("GET", "/props?model=a", None),
        ("GET", "/v1/models", None),
    ],
)
async def test_which_requests_are_recorded(method: str, path: str, shown: str | None) -> None:
    async with serving(fake("a")) as served:
        await served.ask(method, path, {"model": "a"} if method == "POST" else None)
        assert [row["req_path"] for row in await rows(served)] == ([] if shown is None else [shown])


async def test_a_stream() -> None:
    events = b'data: {"usage": {"prompt_tokens": 3, "completion_tokens": 5}}\n\ndata: [DONE]\n\n'
    row, capture = await recorded(events, "Content-Type: text/event-stream")
    assert (row["tokens"]["input_tokens"], row["tokens"]["output_tokens"]) == (3, 5)
    assert base64.b64decode(capture["resp_body"]) == events


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress)],
)
@pytest.mark.parametrize("filling", [0, 300_000])
async def test_a_packed_answer(encoding: str, pack: Callable[[bytes], bytes], filling: int) -> None:
    noise = b"".join(b"%08x" % (number * 2654435761 % 2**32) for number in range(filling // 8))
    plain = b'{"x": "' + noise + b'", ' + USAGE[1:]
    row, capture = await recorded(pack(plain), JSON, f"Content-Encoding: {encoding}")
    assert row["tokens"]["output_tokens"] == 5
    assert base64.b64decode(capture["resp_body"]) == plain
    assert "Content-Encoding" not in capture["resp_headers"]


async def test_an_answer_that_is_not_packed_as_it_says() -> None:
    row, _ = await recorded(USAGE, JSON, "Content-Encoding: gzip")
    assert row["error_msg"].startswith("the answer cannot be unpacked")
    assert not row["has_capture"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        ("400 Bad", b'{"error": {"message": "too long"}}', "too long"),
        ("500 Bad", b'{"error": "out of memory"}', "out of memory"),
        ("422 Bad", b'{"message": "no such thing"}', "no such thing"),
        ("422 Bad", b'{"error": {"message": " "}, "detail": "d"}', "d"),
        ("503 Bad", b"<html>", "503 Service Unavailable"),
        ("503 Bad", b'{"error": 5}', "503 Service Unavailable"),
        ("599 Bad", b"", "599"),
        ("201 Made", USAGE, "201 Created"),
        ("400 Bad", json.dumps({"detail": "ä" * 400}).encode(), "ä" * 250 + "..."),
    ],
)
async def test_an_answer_that_is_an_error(status: str, body: bytes, error: str) -> None:
    row, capture = await recorded(body, JSON, status=status)
    assert row["error_msg"] == error
    assert row["resp_status_code"] == int(status[:3])
    assert row["tokens"] == dict.fromkeys(row["tokens"], 0)
    assert capture["resp_body"] is None
    assert capture["req_body"] is not None


async def test_an_empty_answer() -> None:
    row, _ = await recorded(b"")
    assert row["resp_status_code"] == 200
    assert row["tokens"] == dict.fromkeys(row["tokens"], 0)


@pytest.mark.parametrize(
    ("path", "asked", "answered"),
    [
        (CHAT, True, True),
        ("/v1/audio/speech", True, False),
        ("/v1/images/generations", True, False),
        ("/sdapi/v1/txt2img", True, False),
        ("/v1/audio/voices", False, True),
        ("/v1/audio/transcriptions", False, True),
        ("/v1/images/edits", False, False),
        ("/sdapi/v1/img2img", False, False),
    ],
)
async def test_what_is_captured_where(path: str, *, asked: bool, answered: bool) -> None:
    _, capture = await recorded(b"an answer", path=path)
    assert capture["req_path"] == path
    assert (capture["req_body"] is not None) == asked
    assert (capture["resp_body"] is not None) == answered


async def test_no_secret_is_captured() -> None:
    secrets = {
        "Authorization": "Bearer s3cret", "Proxy-Authorization": "s3cret", "Cookie": "s3cret",
        "X-Api-Key": "s3cret", "X-Other": "seen",
    }  # fmt: skip
    _, capture = await recorded(
        b"{}", "Set-Cookie: s3cret", "set-cookie: s3cret", "X-Seen: 1", headers=secrets
    )
    assert "s3cret" not in json.dumps(capture)
    assert capture["req_headers"]["X-Other"] == "seen"
    assert capture["req_headers"]["Authorization"] == "[REDACTED]"
    assert capture["resp_headers"]["Set-Cookie"] == "[REDACTED]"
    assert "Content-Length" not in capture["req_headers"]


async def test_captures_show_what_was_sent_on() -> None:
    filters = FiltersConfig(strip_params="x", set_params={"y": 1})
    async with serving(fake("a", use_model_name="real", filters=filters)) as served:
        body = {"model": "a", "x": 0}
        headers = {"X-Mine": "1"}
        assert (await served.ask("POST", "/v1/rerank", body, headers=headers))[0] == 200
        row = await only_row(served)
        _, _, capture = await served.ask("GET", f"/api/captures/{row['id']}")
    assert row["model"] == "a"
    assert json.loads(base64.b64decode(capture["req_body"])) == {"model": "real", "y": 1}
    assert capture["req_headers"]["X-Mine"] == "1"


async def test_what_peers_answer_is_recorded() -> None:
    async with scripted(answer_with(USAGE, JSON)) as url:
        far = PeerConfig("far", proxy=url, models=("m",))
        async with serving(fake("a"), peers=[far]) as served:
            for path in (CHAT, f"/upstream/far/m{CHAT}"):
                assert (await served.ask("POST", path, {"model": "m"}))[0] == 200
            later, first = await rows(served)
            _, _, capture = await served.ask("GET", f"/api/captures/{first['id']}")
    for row in (first, later):
        assert (row["model"], row["req_path"], row["tokens"]["output_tokens"]) == ("far/m", CHAT, 5)
    assert base64.b64decode(capture["resp_body"]) == USAGE


async def test_captures_can_be_off() -> None:
    async with serving(fake("a"), capture_buffer=0) as served:
        await served.chat("a")
        row = await only_row(served)
        assert not row["has_capture"]
        status, _, _ = await served.ask("GET", f"/api/captures/{row['id']}")
        assert status == 404


async def test_captures_are_bounded_and_the_oldest_go_first() -> None:
    async with serving(fake("a"), capture_buffer=1) as served:
        for _ in range(4):
            await served.chat("a", padding=100_000)
        assert [row["has_capture"] for row in await rows(served)] == [True, True, True, False]
        await served.chat("a", padding=400_000)
        assert [row["has_capture"] for row in await rows(served)] == [False, True, True, True, False]
        captures = served.runner.app[CONTEXT].recorder.captures
        assert captures.reserved == 0


@pytest.mark.parametrize("text", ["x", "1.5", "%20"])
async def test_captures_have_numbers(text: str) -> None:
    async with serving(fake("a")) as served:
        status, _, _ = await served.ask("GET", f"/api/captures/{text}")
        assert status == 400


@pytest.mark.parametrize("text", ["7", "-1", "9" * 40])
async def test_a_capture_that_is_not_there(text: str) -> None:
    async with serving(fake("a")) as served:
        status, _, _ = await served.ask("GET", f"/api/captures/{text}")
        assert status == 404


# What went wrong ----------------------------------------------------------------


async def test_a_refused_request() -> None:
    async with serving(fake("a", flags={"exit_at_start": 3})) as served:
        await served.chat("a")
        row = await only_row(served)
    assert row["resp_status_code"] == 502
    assert "starting a failed" in row["error_msg"]
    assert row["ttfb_ms"] is None


async def test_a_caller_who_leaves_while_waiting() -> None:
    async with serving(fake("a", flags={"never_ready": True})) as served:
        async with Wire.to(served) as wire:
            await wire.post(CHAT, {"model": "a"})
            await served.until_waiting("a")
            wire.hang_up()
            await served.until_waiting("a", 0)
        row = await only_row(served)
    assert (row["resp_status_code"], row["error_msg"]) == (499, "the client hung up")


async def test_an_upstream_that_dies_in_the_middle() -> None:
    async with serving(fake("a")) as served:
        async with Wire.to(served) as wire:
            await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"die_after": 1}})
            await wire.rest()
        row = await only_row(served)
    assert (row["resp_status_code"], row["error_msg"]) == (200, "the answer broke off")


async def test_an_upstream_that_hangs_up_at_once() -> None:
    async with serving(fake("a")) as served:
        await served.ask("POST", CHAT, {"model": "a"}, headers={"X-Fake-Drop": "always"})
        row = await only_row(served)
    assert row["resp_status_code"] == 502
    assert "did not answer" in row["error_msg"]


# What can be asked --------------------------------------------------------------


async def test_pages_and_filters() -> None:
    async with serving(fake("a"), fake("b"), metrics_max_in_memory=4) as served:
        for model in "aabab":
            await served.chat(model)
        _, _, answer = await served.ask("GET", "/api/metrics/activity?limit=3&order=asc&sort=model&page=1")
        assert [(row["id"], row["model"]) for row in answer.pop("data")] == [(2, "a"), (4, "a"), (3, "b")]
        assert answer == {"page": 1, "limit": 3, "total": 4, "total_pages": 2}
        assert [row["id"] for row in await rows(served, "?model=b&model=x")] == [5, 3]
        assert [row["id"] for row in await rows(served, "?min_id=3&max_id=4")] == [4, 3]
        status, _, answer = await served.ask("GET", "/api/metrics/activity?limit=0")
        assert (status, answer["error"]["code"]) == (400, "bad_request")
        _, _, stats = await served.ask("GET", "/api/metrics/stats")
        assert (stats["total_requests"], stats["total_output_tokens"]) == (4, 12)
        _, _, stats = await served.ask("GET", "/api/metrics/stats?model=a")
        assert stats == {
            "total_requests": 2, "total_input_tokens": 2, "total_output_tokens": 6, "total_cache_tokens": 0,
            "prompt_histogram": None, "gen_histogram": None,
        }  # fmt: skip


async def test_what_else_was_decided_is_remembered() -> None:
    from swapcore_http.config import SelectorConfig  # noqa: PLC0415

    chosen = SelectorConfig("s", strategy="pin", targets=("a",))
    async with serving(fake("a"), selectors=[chosen], priorities={"a": 7}) as served:
        await served.chat("s")
        row = await only_row(served)
    assert (row["model"], row["metadata"]) == ("a", {"selector": "s", "fifo_priority": 7})


async def test_subscribers_hear_of_each_request_once() -> None:
    heard: list[tuple[int, Entry]] = []
    async with serving(fake("a")) as served:
        recorder = served.runner.app[CONTEXT].recorder
        end = recorder.subscribe(lambda number, entry: heard.append((number, entry)))
        await served.chat("a")
        await served.chat("a")
        await rows(served)
        end()
        await served.chat("a")
        await rows(served)
    assert [(number, entry.model) for number, entry in heard] == [(1, "a"), (2, "a")]


async def test_a_file_outlives_the_server(tmp_path: Any) -> None:
    from swapcore_http.config.recording import StoreConfig  # noqa: PLC0415

    path = tmp_path / "activity.db"
    for count in (1, 2):
        async with serving(fake("a"), store=StoreConfig(str(path))) as served:
            await served.chat("a")
            assert len(await rows(served)) == count
    assert path.exists()


async def test_a_file_that_is_no_database_stops_nobody(tmp_path: Any) -> None:
    from swapcore_http.config.recording import StoreConfig  # noqa: PLC0415

    path = tmp_path / "activity.db"
    path.write_text("not one" * 1000)
    async with serving(fake("a"), store=StoreConfig(str(path))) as served:
        status, _, _ = await served.chat("a")
        assert status == 200
        status, _, answer = await served.ask("GET", "/api/metrics/activity")
        assert status == 503
        assert "not a database" in answer["error"]["message"]


async def test_only_what_can_be_unpacked_is_offered_to_upstreams() -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                seen.append(await read_request(reader))
                writer.write(b"HTTP/1.1 204 OK\r\n\r\n")

    async with scripted(answer) as url, serving(unrun("a"), launch=answering_at(url)) as served:
        for accepted in ("gzip, compress;q=0.5, deflate", "gzip", None):
            headers = {} if accepted is None else {"Accept-Encoding": accepted}
            await served.ask("POST", CHAT, {"model": "a"}, headers=headers)
    lines = [
        [line for line in one.split(b"\r\n") if line.lower().startswith(b"accept-encoding")] for one in seen
    ]
    assert lines == [[b"Accept-Encoding: gzip, deflate"], [b"Accept-Encoding: gzip"], []]


async def test_a_long_stream_is_not_held() -> None:
    """However long an answer is, no more of it is held than captures may take."""
    async with serving(fake("a"), capture_buffer=1) as served:
        recorder = served.runner.app[CONTEXT].recorder
        most = 0

        async def look() -> None:
            nonlocal most
            while True:
                most = max(most, recorder.captures.reserved)
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            status, _, body = await served.ask("POST", CHAT, {"model": "a", "fake": {"padding": 6_000_000}})
            tasks.cancel_scope.cancel()
        assert status == 200
        assert len(json.dumps(body)) > 10_000_000
        assert 0 < most <= 1024 * 1024
        row = await only_row(served)
        assert row["tokens"]["output_tokens"] == 3
        _, _, capture = await served.ask("GET", f"/api/captures/{row['id']}")
        assert capture["resp_body"] is None
        assert capture["req_body"] is not None


# Whose --------------------------------------------------------------------------


async def test_a_key_that_is_for_some_models_sees_no_others() -> None:
    some = ApiKeyConfig("some", models=["b*"])
    models = unrun("a"), unrun("b"), unrun("c", aliases=["bravo"])
    async with (
        scripted(answer_with(USAGE, JSON)) as url,
        serving(*models, launch=answering_at(url), api_keys=[ApiKeyConfig("all"), some]) as served,
    ):
        for model in ("a", "b", "c"):
            assert (await served.ask("POST", CHAT, {"model": model}, headers={"x-api-key": "all"}))[0] == 200

        async def seen(path: str, key: str = "some") -> tuple[int, Any]:
            status, _, answer = await served.ask("GET", path, headers={"x-api-key": key})
            return status, answer

        for key, ids in (("all", [3, 2, 1]), ("some", [3, 2])):
            _, found = await seen("/api/metrics/activity", key)
            assert [row["id"] for row in found["data"]] == ids
            assert found["total"] == len(ids)
            _, summed = await seen("/api/metrics/stats", key)
            assert summed["total_requests"] == len(ids)
            assert summed["total_input_tokens"] == 3 * len(ids)
            assert [(await seen(f"/api/captures/{number}", key))[0] == 200 for number in (1, 2, 3)] == [
                number in ids for number in (1, 2, 3)
            ]
        assert (await seen("/api/metrics/activity?model=a"))[1]["data"] == []
        assert (await seen("/api/metrics/stats?model=a"))[1]["total_requests"] == 0
        # Of a model that is gone counts what it was called.
        await served.replace(unrun("b"), api_keys=[ApiKeyConfig("all"), some])
        assert [row["id"] for row in (await seen("/api/metrics/activity"))[1]["data"]] == [2]
