"""Does all of it hold with the real llama-server behind it?

Runs only where `LLAMA_SERVER=/path/to/llama-server` is set; test_openai_client.py
covers the same ground with fake upstreams everywhere. The three tiny models
have random weights; each says only words that begin with its own letter, so a
wrong route shows. They are looked for in `LLAMA_MODELS`, by default
`../shared/models` beside the project.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from openai import AsyncOpenAI, NotFoundError
from openai.types.chat import ChatCompletionMessageParam

from swapcore import Phase
from swapcore_http.config import ModelConfig
from tests.http.serving import Served, serving

SERVER = os.environ.get("LLAMA_SERVER", "")
MODELS = Path(os.environ.get("LLAMA_MODELS", Path(__file__).parents[3] / "shared" / "models"))
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.llama_server,
    pytest.mark.skipif(
        not SERVER, reason="LLAMA_SERVER is not set; test_openai_client.py covers it with fakes"
    ),
]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    models = [
        ModelConfig(
            letter, cmd=f"{SERVER} --port ${{PORT}} -m {MODELS}/tiny-{letter}.gguf -c 256 --parallel 2"
        )
        for letter in "abc"
    ]
    async with serving(*models) as served:
        yield served


@pytest.fixture
async def client(served: Served) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{served.base}/v1", api_key="none", max_retries=0) as client:
        yield client


def assert_from(letter: str, text: str | None) -> None:
    words = (text or "").split()
    assert words
    assert all(word.startswith(letter) for word in words), f"{letter} did not say {text!r}"


async def test_list(client: AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["a", "b", "c"]


async def test_chat_with_each_swaps(client: AsyncOpenAI, served: Served) -> None:
    for letter in "abca":
        answer = await client.chat.completions.create(model=letter, messages=HELLO, max_tokens=8)
        assert_from(letter, answer.choices[0].message.content)
        assert served.view(letter).phase is Phase.READY
        await served.until_idle()


async def test_stream(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="b", messages=HELLO, max_tokens=16, stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert len(pieces) > 8
    assert_from("b", "".join(pieces))


async def test_unknown_model(client: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError):
        await client.chat.completions.create(model="d", messages=HELLO)


async def test_concurrent_calls_to_all_three(client: AsyncOpenAI, served: Served) -> None:
    async def ask(letter: str) -> None:
        answer = await client.chat.completions.create(model=letter, messages=HELLO, max_tokens=8)
        assert_from(letter, answer.choices[0].message.content)

    async with anyio.create_task_group() as tasks:
        for letter in "abcabcabc":
            tasks.start_soon(ask, letter)
    runs = [view.run for view in served.driver.snapshot().upstreams if view.run is not None]
    assert runs == [3], "nine calls, three loads"


async def test_its_own_routes_through_upstream(served: Served) -> None:
    status, _, props = await served.ask("GET", "/upstream/c/props")
    assert status == 200
    assert props["model_path"].endswith("tiny-c.gguf")


async def test_a_model_file_that_is_not_there() -> None:
    cmd = f"{SERVER} --port ${{PORT}} -m {MODELS}/tiny-z.gguf"
    async with serving(ModelConfig("z", cmd=cmd)) as served:
        status, headers, body = await served.ask(
            "POST", "/v1/chat/completions", {"model": "z", "messages": HELLO}
        )
        assert status == 502
        assert headers["x-should-retry"] == "false"
        assert "tiny-z.gguf" in body["error"]["message"]
