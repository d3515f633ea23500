"""Do requests reach the model they name, as they came?"""

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import anyio.to_thread
import pytest

from swapcore_http.config.parts import FiltersConfig
from swapcore_http.routes import inference
from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio

ECHO = "/v1/images/generations"
JSON = {"Content-Type": "application/json"}


# One row for each row of llama-swap's table, with the methods it has there.
BODY = """
/v1/chat/completions /v1/responses /v1/completions /v1/messages /v1/messages/count_tokens /v1/embeddings
/reranking /rerank /v1/rerank /v1/reranking /infill /completion /v1/audio/speech /v1/audio/voices
/v1/images/generations /sdapi/v1/txt2img /sdapi/v1/img2img
"""
MULTIPART = "/v1/audio/transcriptions /v1/images/edits"
VERSIONLESS = """
/v/chat/completions /v/responses /v/completions /v/messages /v/messages/count_tokens /v/embeddings
/v/rerank /v/reranking
"""
QUERY = "/v1/audio/voices /sdapi/v1/loras /props"


async def test_every_path_reaches_the_model_in_its_body() -> None:
    assert {*BODY.split(), *MULTIPART.split()} == set(inference.PATHS)
    async with serving(fake("a")) as served:
        for path in inference.PATHS:
            status, fields, answer = await served.ask("POST", path, {"model": "a"})
            assert (status, fields["X-Model"], answer["model"]) == (200, "a", "a"), path
            assert answer.get("path", path) == path
            form = aiohttp.FormData({"model": "a"})
            assert (await served.ask("POST", path, data=form))[0] == 200, path
            form.add_field("file", b"x", filename="x")
            assert (await served.ask("POST", path, data=form))[0] == 200, path


async def test_paths_with_a_first_segment_too_many_lose_it() -> None:
    assert {*VERSIONLESS.split(), "/audioapi/v1/tasks/run"} == set(inference.SHORTENED)
    async with serving(fake("a")) as served:
        for path in inference.SHORTENED:
            status, fields, answer = await served.ask("POST", path + "?x=%2F", {"model": "a"})
            assert (status, fields["X-Model"]) == (200, "a"), path
            if "target" in answer:
                expected = "/v1/tasks/run" if "tasks" in path else path.removeprefix("/v")
                assert answer["target"] == expected + "?x=%2F"


async def test_paths_whose_query_names_the_model() -> None:
    assert set(QUERY.split()) == set(inference.QUERIED)
    async with serving(fake("a")) as served:
        for path in inference.QUERIED:
            for method in ("GET", "HEAD"):
                status, fields, _ = await served.ask(method, path + "?model=a")
                assert (status, fields["X-Model"]) == (200, "a"), path
            _, _, answer = await served.ask("GET", path + "?x=1&model=a&y=%2f")
            assert (answer["method"], answer["target"]) == ("GET", path + "?x=1&model=a&y=%2f")
            status, _, answer = await served.ask("GET", path)
            assert (status, answer["error"]["code"]) == (404, "not_found")
            assert "no model id could be identified" in answer["error"]["message"]


async def test_body_arrives_as_it_was_sent() -> None:
    body = b' {"model" :"a", "n":1.0e5, "u":"\\u00e4\xc3\xa4"}\n'
    async with serving(fake("a")) as served:
        _, _, answer = await served.ask("POST", ECHO + "?x=%2F", body, headers=JSON)
    assert answer["body_sha256"] == hashlib.sha256(body).hexdigest()
    assert answer["target"] == ECHO + "?x=%2F"


async def test_large_body_is_looked_through_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    run_sync = anyio.to_thread.run_sync

    async def note(work: Callable[..., object], *args: object, **options: Any) -> object:
        if work.__module__ == inference.__name__:
            threads.append(work)
        return await run_sync(work, *args, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", note)
    # Many short members take the longest.
    body = b'{"model":"a"' + b',"":0' * 15_000 + b"}"
    async with serving(fake("a")) as served:
        assert (await served.ask("POST", ECHO, {"model": "a"}))[0] == 200
        assert not threads
        _, _, answer = await served.ask("POST", ECHO, body, headers=JSON)
    assert len(threads) == 1
    assert answer["body_sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("kind", "status"), [("application/json", 400), ("multipart/form-data; boundary=x", 404)]
)
async def test_packed_body_is_said_to_be_packed(kind: str, status: int) -> None:
    async with serving(fake("a")) as served:
        for encoding in ("gzip", "Zstd"):
            fields = {"Content-Type": kind, "Content-Encoding": encoding}
            got, _, answer = await served.ask("POST", ECHO, gzip.compress(b'{"model":"a"}'), headers=fields)
            assert got == status
            assert f"; its Content-Encoding is {encoding!r}, and only" in answer["error"]["message"]
        fields["Content-Encoding"] = "identity"
        _, _, answer = await served.ask("POST", ECHO, b"{", headers=fields)
        assert "Content-Encoding" not in answer["error"]["message"]


async def test_aliases_reach_their_model() -> None:
    async with serving(fake("a", aliases=("gpt-4", "org/a"))) as served:
        for name in ("a", "gpt-4", "org/a"):
            _, _, answer = await served.ask("POST", ECHO, {"model": name})
            # The body still says what the client said.
            assert (answer["model"], json.loads(answer["body"])["model"]) == ("a", name)


async def test_use_model_name_replaces_only_the_name() -> None:
    async with serving(fake("a", use_model_name='real "a"')) as served:
        _, _, answer = await served.ask("POST", ECHO, b'{"x": {"model":"a"},  "model" : "a"}', headers=JSON)
        assert answer["body"] == '{"x": {"model":"a"},  "model" : "real \\"a\\""}'
        assert ["Content-Length", str(len(answer["body"]))] in answer["headers"]


async def test_transcription_arrives_byte_for_byte() -> None:
    sound = bytes(range(256)) * 10_000
    body = (
        b'--bound\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        + sound
        + b'\r\n--bound\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--bound--\r\n'
    )
    fields = {"Content-Type": "multipart/form-data; boundary=bound"}
    async with serving(fake("a"), fake("b", use_model_name="real-b")) as served:
        _, _, answer = await served.ask("POST", "/v1/audio/transcriptions", body, headers=fields)
        assert answer["model"] == "a"
        assert answer["body_sha256"] == hashlib.sha256(body).hexdigest()
        assert ["Content-Type", fields["Content-Type"]] in answer["headers"]

        body = body.replace(b"\r\na\r\n--bound--", b"\r\nb\r\n--bound--")
        _, _, answer = await served.ask("POST", "/v1/audio/transcriptions", body, headers=fields)
        renamed = body.replace(b"\r\nb\r\n--bound--", b"\r\nreal-b\r\n--bound--")
        assert answer["body_sha256"] == hashlib.sha256(renamed).hexdigest()


async def test_form_as_aiohttp_writes_it() -> None:
    form = aiohttp.FormData({"model": "a"})
    form.add_field("file", b"sound", filename="a.wav")
    async with serving(fake("a")) as served:
        status, _, answer = await served.ask("POST", "/v1/audio/transcriptions", data=form)
    assert (status, answer["model"]) == (200, "a")


async def test_model_in_the_query_of_a_post_without_a_type() -> None:
    async with serving(fake("a")) as served:
        _, _, answer = await served.ask("POST", "/v1/audio/speech?model=a", b"raw")
    assert (answer["model"], answer["body"]) == ("a", "raw")


async def test_what_is_too_large_to_be_filtered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MOST_FILTERED", 100)
    filters = FiltersConfig(strip_params="x")
    async with serving(fake("a", filters=filters), fake("b")) as served:
        body = {"x": "y" * 100}
        assert (await served.ask("POST", ECHO, {"model": "a", **body}))[0] == 413
        assert (await served.ask("POST", ECHO, {"model": "b", **body}))[0] == 200
