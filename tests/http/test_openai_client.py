"""Does the client that everybody uses find an OpenAI API here?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from swapcore_http.config import ApiKeyConfig, ModelConfig
from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def client(*models: ModelConfig, **fields: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        serving(*models, **fields) as served,
        openai.AsyncOpenAI(api_key="none", base_url=served.base + "/v1", max_retries=0) as api,
    ):
        yield api


async def say(api: openai.AsyncOpenAI, model: str) -> str | None:
    answer = await api.chat.completions.create(model=model, messages=[{"role": "user", "content": "hello"}])
    assert answer.model == model
    return answer.choices[0].message.content


async def test_list() -> None:
    async with client(fake("a"), fake("b")) as api:
        assert [model.id async for model in api.models.list()] == ["a", "b"]


async def test_chat() -> None:
    async with client(fake("a")) as api:
        assert await say(api, "a") == "a says: w0 w1 w2 "


async def test_stream() -> None:
    async with client(fake("a")) as api:
        stream = await api.chat.completions.create(
            model="a", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        words = [chunk.choices[0].delta.content async for chunk in stream]
    assert words == ["a says: w0 ", "w1 ", "w2 "]


async def test_embeddings_and_transcription() -> None:
    async with client(fake("a"), fake("ears")) as api:
        vectors = await api.embeddings.create(model="a", input=["one", "two"], encoding_format="float")
        assert [vector.embedding for vector in vectors.data] == [[1.0, 0.5], [1.0, 0.5]]
        heard = await api.audio.transcriptions.with_raw_response.create(
            model="ears", file=("a.wav", b"sound" * 1000)
        )
        assert heard.status_code == 200
        assert heard.headers["x-model"] == "ears"


async def test_unknown_model() -> None:
    async with client(fake("a")) as api:
        with pytest.raises(openai.NotFoundError, match="no model is called 'nobody'") as caught:
            await say(api, "nobody")
    assert caught.value.code == "not_found"
    assert caught.value.type == "invalid_request_error"


async def test_failed_start_is_not_repeated_by_itself() -> None:
    async with client(fake("a", flags={"exit_at_start": 3})) as api:
        patient = api.with_options(max_retries=5)
        with pytest.raises(openai.InternalServerError, match="exited with status 3"):
            # Were it to repeat this, it would take seconds and six starts.
            await asyncio.wait_for(say(patient, "a"), 20)


async def test_keys() -> None:
    keys = ["full", ApiKeyConfig("weak", models=["b"])]
    async with (
        serving(fake("a"), fake("b"), api_keys=keys) as served,
        openai.AsyncOpenAI(api_key="full", base_url=served.base + "/v1", max_retries=0) as api,
    ):
        assert await say(api, "a") == "a says: w0 w1 w2 "
        weak, wrong = api.with_options(api_key="weak"), api.with_options(api_key="wrong")
        assert [model.id async for model in weak.models.list()] == ["b"]
        with pytest.raises(openai.PermissionDeniedError, match="the key that was shown is not for 'a'"):
            await say(weak, "a")
        with pytest.raises(openai.AuthenticationError, match="a key that is not known here was shown"):
            await say(wrong, "a")


async def test_stream_that_breaks_off_is_an_error() -> None:
    async with client(fake("a")) as api:
        stream = await api.chat.completions.create(
            model="a",
            messages=[{"role": "user", "content": "hello"}],
            stream=True,
            extra_body={"fake": {"die_after": 2}},
        )
        words = []
        with pytest.raises(openai.APIConnectionError):
            async for chunk in stream:
                words.append(chunk.choices[0].delta.content)  # noqa: PERF401 - what came before the error counts.
    assert words[:1] == ["a says: w0 "]


async def test_three_models_of_which_one_fits() -> None:
    async with client(fake("a"), fake("b"), fake("c")) as api:
        models = "abcabcabc"
        answers = await asyncio.gather(*(say(api, model) for model in models))
    assert answers == [f"{model} says: w0 w1 w2 " for model in models]


@pytest.mark.parametrize("fields", [{"keep_alive_after": 0.05}, {"send_loading_state": True}])
async def test_stream_that_waits_for_a_load(fields: dict[str, Any]) -> None:
    async with client(fake("a", flags={"load": 0.5}), **fields) as api:
        stream = await api.chat.completions.create(
            model="a", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        deltas = [chunk.choices[0].delta async for chunk in stream]
    said = [delta.content for delta in deltas if delta.content]
    thought = "".join(getattr(delta, "reasoning_content", "") for delta in deltas)
    assert said == ["a says: w0 ", "w1 ", "w2 "]
    assert thought.startswith("\u2501") is ("send_loading_state" in fields)


@pytest.mark.parametrize("fields", [{"keep_alive_after": 0.05}, {"send_loading_state": True}])
async def test_load_that_fails_behind_a_stream(fields: dict[str, Any]) -> None:
    async with client(fake("a", flags={"no_listen": True}), health_check_timeout=1, **fields) as api:
        stream = await api.chat.completions.create(
            model="a", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        with pytest.raises(openai.APIError, match="starting a failed") as caught:
            _ = [chunk async for chunk in stream]
        assert caught.value.type == "server_error"
        assert caught.value.code == "bad_gateway"


async def test_responses_that_fail_behind_a_stream() -> None:
    async with client(
        fake("a", flags={"no_listen": True}), health_check_timeout=1, keep_alive_after=0.05
    ) as api:
        stream = await api.responses.create(model="a", input="hello", stream=True)
        with pytest.raises(openai.APIError, match="starting a failed"):
            _ = [event async for event in stream]
