"""Does Anthropic's own client find its API here?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam

from swapcore_http.config import ApiKeyConfig, ModelConfig
from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio

HELLO: list[MessageParam] = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def client(
    *models: ModelConfig, base: str = "", **fields: Any
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with (
        serving(*models, **fields) as served,
        anthropic.AsyncAnthropic(api_key="none", base_url=served.base + base, max_retries=0) as api,
    ):
        yield api


async def test_message() -> None:
    async with client(fake("a", aliases=("claude",))) as api:
        message = await api.messages.create(model="claude", max_tokens=9, messages=HELLO)
    assert message.model == "a"
    assert [block.text for block in message.content if block.type == "text"] == ["a says: w0 w1 w2 "]


async def test_stream() -> None:
    async with (
        client(fake("a")) as api,
        api.messages.stream(model="a", max_tokens=9, messages=HELLO) as stream,
    ):
        words = [word async for word in stream.text_stream]
        final = await stream.get_final_message()
    assert words == ["a says: w0 ", "w1 ", "w2 "]
    assert final.usage.output_tokens == 3


@pytest.mark.parametrize("base", ["", "/upstream/a"])
async def test_errors_are_read_as_such(base: str) -> None:
    async with client(fake("a", flags={"exit_at_start": 3}), base=base) as api:
        with pytest.raises(anthropic.InternalServerError) as caught:
            await api.messages.create(model="a", max_tokens=9, messages=HELLO)
        assert caught.value.type == "api_error"
        assert caught.value.status_code == 502
        assert "exited with status 3" in str(caught.value.body)


async def test_unknown_model() -> None:
    async with client(fake("a")) as api:
        with pytest.raises(anthropic.NotFoundError, match="no model is called 'nobody'") as caught:
            await api.messages.count_tokens(model="nobody", messages=HELLO)
        assert caught.value.type == "not_found_error"


async def test_stream_that_waits_for_a_load() -> None:
    async with (
        client(fake("a", flags={"load": 0.5}), keep_alive_after=0.05) as api,
        api.messages.stream(model="a", max_tokens=9, messages=HELLO) as stream,
    ):
        words = [word async for word in stream.text_stream]
    assert words == ["a says: w0 ", "w1 ", "w2 "]


async def test_load_that_fails_behind_a_stream() -> None:
    async with client(
        fake("a", flags={"no_listen": True}), health_check_timeout=1, keep_alive_after=0.05
    ) as api:
        with pytest.raises(anthropic.APIStatusError) as caught:
            async with api.messages.stream(model="a", max_tokens=9, messages=HELLO) as stream:
                _ = [word async for word in stream.text_stream]
        assert "starting a failed" in str(caught.value.body)


async def test_keys() -> None:
    keys = ["full", ApiKeyConfig("weak", scopes=["infer"])]
    async with client(fake("a"), api_keys=keys) as api:
        weak, wrong = api.with_options(api_key="weak"), api.with_options(api_key="wrong")
        # This client shows its token as a Bearer.
        token = api.with_options(api_key=None, auth_token="full")  # noqa: S106 - the test's own.
        with pytest.raises(anthropic.PermissionDeniedError) as refused:
            await weak.messages.create(model="a", max_tokens=9, messages=HELLO)
        assert refused.value.body["error"]["type"] == "permission_error"  # type: ignore[index]
        with pytest.raises(anthropic.AuthenticationError, match="a key that is not known here was shown"):
            await wrong.messages.create(model="a", max_tokens=9, messages=HELLO)
        assert (await token.messages.create(model="a", max_tokens=9, messages=HELLO)).model == "a"
        # It is up now, and whoever may not swap is served.
        assert (await weak.messages.create(model="a", max_tokens=9, messages=HELLO)).model == "a"
