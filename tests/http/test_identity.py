"""Tests of what an upstream is asked to say that it serves."""

import json

import anyio
import pytest

from swapcore_http import identity
from swapcore_http.identity import what_else
from tests.http.test_readiness import ENDLESS, LOADING, OK, REDIRECT, Upstream

pytestmark = pytest.mark.anyio


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def listing(*ids: str) -> bytes:
    return answer(json.dumps({"object": "list", "data": [{"id": one} for one in ids]}).encode())


async def asked(*answers: bytes, path: str = "", patience: float = 5.0) -> tuple[str | None, list[str]]:
    upstream = Upstream(*answers)
    async with upstream.listening() as port:
        with anyio.fail_after(60):
            said = await what_else(f"http://127.0.0.1:{port}{path}", "mine", patience=patience)
    return said, [head[0] for head in upstream.heads]


async def test_one_that_lists_the_model_is_right() -> None:
    assert await asked(listing("other", "mine")) == (None, ["GET /v1/models HTTP/1.1"])
    assert await asked(listing("mine"), path="/base/") == (None, ["GET /base/v1/models HTTP/1.1"])


async def test_one_that_does_not_answer_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "AGAIN", 0.0)
    said, heads = await asked(LOADING, LOADING, listing("mine"))
    assert said is None
    assert len(heads) == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (listing("other"), "it serves 'other' instead of 'mine', as GET /v1/models says"),
        (listing(), "it serves no model instead of 'mine', as GET /v1/models says"),
        (
            listing(*"abcdefg", "x" * 1000),
            "it serves 'a', 'b', 'c', 'd', 'e' and 3 more instead of 'mine', as GET /v1/models says",
        ),
        (OK, "whether it serves 'mine' cannot be told: its answer to GET /v1/models is no list of models"),
        (
            answer(b'{"data": 3}'),
            "whether it serves 'mine' cannot be told: its answer to GET /v1/models is no list of models",
        ),
        (
            answer(b"[" * 100_000),
            "whether it serves 'mine' cannot be told: its answer to GET /v1/models is no list of models",
        ),
        (
            ENDLESS.replace(b"503 Loading", b"200 OK"),
            "whether it serves 'mine' cannot be told: its answer to GET /v1/models is no list of models",
        ),
        (REDIRECT, "whether it serves 'mine' cannot be told: it answers GET /v1/models with status 302"),
        (
            answer(b"", b"401 No"),
            "whether it serves 'mine' cannot be told: it answers GET /v1/models with status 401",
        ),
    ],
    ids=["another", "none", "many", "not JSON", "no list", "deep", "endless", "elsewhere", "refused"],
)
async def test_what_is_wrong_is_said(given: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "LIST_BYTES", 65536 if given.startswith(ENDLESS[:8]) else 1024)
    assert (await asked(given))[0] == said
