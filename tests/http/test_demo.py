"""The demo: three upstreams that only talk about themselves, and what one is told to try."""

import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import openai
import pytest
from anyio import to_thread
from attrs import evolve

from swapcore import Engine
from swapcore_http.config import ModelConfig
from swapcore_http.demo import upstream as demo_upstream
from swapcore_http.demo.config import demo_config, demo_hints
from swapcore_http.driver import Driver
from swapcore_http.launcher import process_launch
from swapcore_http.ports import Ports
from tests.http.processes import MARK, mark, strays

WAIT = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@contextmanager
def upstream(*flags: str) -> Iterator[str]:
    """Run a demo upstream for as long as the context lasts, and give its URL once it listens."""
    url = f"http://127.0.0.1:{free_port()}"
    port = url.rpartition(":")[2]
    words = [
        "-m",
        "swapcore_http.demo.upstream",
        "--port",
        port,
        "--model",
        "echo",
        "--says",
        "I am a test.",
        *flags,
    ]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        # The line that says that it loads comes after it listens.
        assert process.stderr.readline() == b"echo: loading, 0 %\n"
        try:
            yield url
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Run one demo upstream that is loaded, for all tests that only ask it things."""
    with upstream("--load", "0", "--pause", "0") as url:
        while call(f"{url}/health")[0] != 200:
            pass
        yield url


def call(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own URL.
    try:
        with urllib.request.urlopen(request, timeout=WAIT) as answer:  # noqa: S310 - likewise.
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=WAIT) as client:
        yield client


def test_it_answers_503_while_it_loads() -> None:
    with upstream("--load", "1000") as url:
        for status, answer in (
            call(f"{url}/health"),
            call(f"{url}/v1/models"),
            call(f"{url}/v1/completions", b"{}"),
        ):
            assert status == 503
            assert answer["error"]["message"] == "Loading model"


def test_it_lists_itself(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["echo"]


def test_it_says_who_it_is_and_what_it_was_asked(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="x", messages=[{"role": "user", "content": "Who are you?"}])
    text = answer.choices[0].message.content
    assert text is not None
    assert re.fullmatch(r"This is echo, process \d+\. I am a test\. You said: Who are you\?", text)
    assert answer.model == "echo"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == len(text.split())


def test_it_streams_the_same_word_by_word(client: openai.OpenAI) -> None:
    with client.chat.completions.create(
        model="x",
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "Who are"}, {"type": "text", "text": "you?"}],
            }
        ],
        stream=True,
    ) as stream:
        chunks = list(stream)
    words = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert re.fullmatch(r"This is echo, process \d+\. I am a test\. You said: Who are you\? ", "".join(words))
    assert len(words) > 10
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3, len(words) - 1)


def test_it_completes_prompts_streamed_and_not(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="x", prompt="hi").choices[0].text
    with client.completions.create(model="x", prompt="hi", stream=True) as stream:
        streamed = "".join(chunk.choices[0].text for chunk in stream)
    assert streamed.rstrip() == whole
    assert whole.endswith("You said: hi")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the request cannot be read: Expecting property name"),
        (b"[]", "the request cannot be read: it is no JSON object"),
        (b"", "the request cannot be read: its Content-Length is 0"),
        (b"\xff", "the request cannot be read: "),
    ],
)
def test_it_refuses_what_it_cannot_read(url: str, body: bytes, message: str) -> None:
    status, answer = call(f"{url}/v1/chat/completions", body)
    assert status == 400
    assert answer["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    "body", [{}, {"messages": 3}, {"messages": [{"content": [3, None]}]}, {"messages": ["x"]}]
)
def test_a_chat_without_a_question_is_answered_all_the_same(url: str, body: object) -> None:
    status, answer = call(f"{url}/v1/chat/completions", json.dumps(body).encode())
    assert status == 200
    assert answer["choices"][0]["message"]["content"].endswith("I am a test.")


def test_it_refuses_a_body_larger_than_it_reads(url: str) -> None:
    length = str(demo_upstream.BODY_BYTES + 1)
    status, answer = call(f"{url}/v1/completions", b"{}", **{"Content-Length": length})
    assert status == 400
    assert length in answer["error"]["message"]


def test_elsewhere_there_is_nothing(url: str) -> None:
    assert call(f"{url}/nowhere")[0] == 404
    assert call(f"{url}/v1/embeddings", b"{}")[0] == 404


def test_a_caller_who_hangs_up_is_no_trouble() -> None:
    with upstream("--load", "0", "--pause", "0.01") as url:
        while call(f"{url}/health")[0] != 200:
            pass
        body = json.dumps({"prompt": "hi", "stream": True}).encode()
        answer = urllib.request.urlopen(f"{url}/v1/completions", body, timeout=WAIT)  # noqa: S310 - our own URL.
        answer.read(10)
        answer.close()
        assert call(f"{url}/health") == (200, {"status": "ok"})


# The configuration


def test_three_models_each_with_words_of_its_own() -> None:
    config = demo_config()
    assert list(config.models) == ["alpha", "bravo", "charlie"]
    said = set()
    for name, model in config.models.items():
        words = model.argv(5800)
        assert words[0] == sys.executable
        assert words[words.index("--model") + 1] == name
        assert words[words.index("--port") + 1] == "5800"
        said.add(words[words.index("--says") + 1])
    assert len(said) == 3


@pytest.mark.anyio
async def test_the_demo_swaps_its_models() -> None:
    marked = mark()
    config = demo_config()

    def model(name: str) -> ModelConfig:
        # On ports that a demo running on this machine does not have, and in less than a second.
        quick = config.models[name].cmd + " --load 0.05 --pause 0"
        return evolve(config.models[name], cmd=quick, port=free_port(), env=(marked,))

    async with Driver(Engine(config.catalog()), process_launch(model, ports=Ports())) as driver:
        for name in ("alpha", "bravo", "charlie", "alpha"):
            with anyio.fail_after(WAIT):
                async with driver.lease(name) as lease:
                    _, answer = await to_thread.run_sync(
                        call, f"{lease.url}/v1/completions", b'{"prompt": "hi"}'
                    )
                    assert answer["choices"][0]["text"].startswith(f"This is {name}, process ")
                    assert len(strays(marked)) == 1
    assert marked.startswith(MARK)
    assert strays(marked) == []


def test_the_hints_can_be_pasted() -> None:
    hints = demo_hints("http://127.0.0.1:8080")
    commands = [line for line in hints.replace("\\\n", "").splitlines() if line.startswith("  curl")]
    assert len(commands) == 4
    for line in commands:
        words = shlex.split(line)
        target = next(word for word in words if word.startswith("http://127.0.0.1:8080/"))
        if "-d" in words:
            body = json.loads(words[words.index("-d") + 1])
            assert body["model"] in demo_config().models
            assert target.endswith("/v1/chat/completions")
            assert words[words.index("-H") + 1] == "Content-Type: application/json"
            assert body.get("stream", False) is ("-N" in words)
    assert subprocess.run(["sh", "-n"], input=hints.encode(), check=True).returncode == 0  # noqa: S607 - any shell.
