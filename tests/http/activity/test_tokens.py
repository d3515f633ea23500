"""Are the numbers of an answer found, in each API's form, wherever they stand?"""

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.activity.ends import HEAD, TAIL, Ends
from swapcore_http.activity.tokens import Reading, Tokens, read_tokens

JSON, SSE = "application/json; charset=utf-8", "text/event-stream"
CHAT, INFILL = "/v1/chat/completions", "/infill"

TIMINGS = {
    "prompt_n": 10, "prompt_ms": 50.0, "prompt_per_second": 200.5, "cache_n": 4,
    "predicted_n": 20, "predicted_ms": 1000.0, "predicted_per_second": 20.25,
}  # fmt: skip
MEASURED = Tokens(10, 20, 4, input_speed=200.5, output_speed=20.25)


def read(kind: str, path: str, body: bytes) -> Reading | None:
    ends = Ends()
    ends.feed(body)
    return read_tokens(kind, path, *ends.cut())


def events(*data: Any) -> bytes:
    return (
        b"".join(b"event: x\ndata: " + json.dumps(each).encode() + b"\n\n" for each in data)
        + b"data: [DONE]\n\n"
    )


def usage(**numbers: Any) -> dict[str, Any]:
    return {"usage": numbers}


JSON_ANSWERS: list[tuple[str, str, Any, Tokens | None]] = [
    ("chat", CHAT, usage(prompt_tokens=3, completion_tokens=5, total_tokens=8), Tokens(3, 5)),
    ("cached, as OpenAI's chat says it", CHAT,
     usage(prompt_tokens=3, completion_tokens=5, prompt_tokens_details={"cached_tokens": 2}),
     Tokens(3, 5, 2)),
    ("responses", "/v1/responses",
     usage(input_tokens=7, output_tokens=9, input_tokens_details={"cached_tokens": 0}), Tokens(7, 9, 0)),
    ("messages", "/v1/messages",
     usage(input_tokens=7, output_tokens=9, cache_read_input_tokens=100), Tokens(7, 9, 100)),
    ("cache_read_input_tokens goes before the details", CHAT,
     usage(input_tokens=1, cache_read_input_tokens=5, input_tokens_details={"cached_tokens": 6},
           prompt_tokens_details={"cached_tokens": 7}), Tokens(1, 0, 5)),
    ("input_tokens_details goes before prompt_tokens_details", CHAT,
     usage(input_tokens=1, input_tokens_details={"cached_tokens": 6},
           prompt_tokens_details={"cached_tokens": 7}), Tokens(1, 0, 6)),
    ("prompt_tokens goes before input_tokens", CHAT,
     usage(prompt_tokens=1, input_tokens=2, completion_tokens=3, output_tokens=4), Tokens(1, 3)),
    ("embeddings", "/v1/embeddings", usage(prompt_tokens=8, total_tokens=8), Tokens(8)),
    ("rerankers that know one number", "/v1/rerank", usage(total_tokens=12), Tokens(12)),
    ("llama.cpp's timings override usage", CHAT,
     {**usage(prompt_tokens=1, completion_tokens=1), "timings": TIMINGS}, MEASURED),
    ("timings alone", "/completion", {"content": "x", "timings": TIMINGS}, MEASURED),
    ("draft numbers", CHAT, {"timings": {**TIMINGS, "draft_n": 9, "draft_n_accepted": 6}},
     evolve(MEASURED, drafted=9, accepted=6)),
    ("one draft number alone is none", CHAT, {"timings": {**TIMINGS, "draft_n": 9}}, MEASURED),
    ("infill answers a list, the last counts", INFILL,
     [{"timings": {"prompt_n": 1}}, {"timings": TIMINGS}], MEASURED),
    ("infill answers an object too", INFILL, {"timings": TIMINGS}, MEASURED),
    ("a list elsewhere says nothing", CHAT, [{"timings": TIMINGS}], None),
    ("vLLM's metrics", CHAT,
     {**usage(prompt_tokens=100, completion_tokens=5, prompt_tokens_details={"cached_tokens": 60}),
      "metrics": {"time_to_first_token_ms": 500, "mean_itl_ms": 20,
                  "speculative_decoding": {"num_draft_tokens": 8, "num_accepted_draft_tokens": 5}}},
     Tokens(100, 5, 60, 8, 5, 80.0, 50.0)),
    ("vLLM's metrics without speculation or times", CHAT,
     {**usage(prompt_tokens=1), "metrics": {"time_to_first_token_ms": 0, "mean_itl_ms": None,
                                           "speculative_decoding": {"num_draft_tokens": 8}}}, Tokens(1)),
    ("metrics do not overwrite the timings' drafts", CHAT,
     {"timings": {**TIMINGS, "draft_n": 9, "draft_n_accepted": 6},
      "metrics": {"speculative_decoding": {"num_draft_tokens": 1, "num_accepted_draft_tokens": 1}}},
     evolve(MEASURED, drafted=9, accepted=6)),
    ("nothing", CHAT, {"choices": []}, None),
    ("usage that is null", CHAT, {"usage": None}, None),
    ("nonsense for numbers", CHAT,
     usage(prompt_tokens="7", completion_tokens=-3, cache_read_input_tokens=True, total_tokens=1e300),
     Tokens()),
    ("the word within a text", CHAT,
     {"text": '"usage": {"prompt_tokens": 9}', **usage(prompt_tokens=1)}, Tokens(1)),
    ("the word deeper down", CHAT, {"a": usage(prompt_tokens=9)}, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "answer", "tokens"), [row[1:] for row in JSON_ANSWERS], ids=[row[0] for row in JSON_ANSWERS]
)
@pytest.mark.parametrize("filling", [0, 3 * TAIL])
@pytest.mark.parametrize("at_the_end", [True, False])
def test_json(path: str, answer: Any, tokens: Tokens | None, filling: int, *, at_the_end: bool) -> None:
    """It reads the same when the numbers stand before or after something far too long to keep."""
    if filling and isinstance(answer, dict):
        filler = {"data": [{"embedding": [0.5] * (filling // 5)}, '"}]\\', {"usage": "none"}]}
        answer = filler | answer if at_the_end else answer | filler
    elif filling:
        answer = [{"content": "x" * filling}, *answer]
    found = read(JSON, path, json.dumps(answer).encode())
    assert (found and found.tokens) == tokens


STREAMS: list[tuple[str, str, list[Any], Tokens | None]] = [
    ("chat", CHAT, [{"choices": [], **usage(prompt_tokens=3, completion_tokens=5)}], Tokens(3, 5)),
    ("responses", "/v1/responses",
     [{"type": "response.created", "response": {"usage": None}},
      {"type": "response.completed", "response": usage(input_tokens=3, output_tokens=5)}], Tokens(3, 5)),
    ("messages", "/v1/messages",
     [{"type": "message_start", "message": usage(input_tokens=25, cache_read_input_tokens=4)},
      {"type": "message_delta", **usage(output_tokens=15)}], Tokens(25, 15, 4)),
    ("zeros do not overwrite", CHAT,
     [usage(prompt_tokens=3, completion_tokens=5), usage(prompt_tokens=0, completion_tokens=0)],
     Tokens(3, 5)),
    ("later ones overwrite", CHAT,
     [usage(prompt_tokens=3, completion_tokens=5), usage(prompt_tokens=4, completion_tokens=6)],
     Tokens(4, 6)),
    ("later caches overwrite, zero too", CHAT,
     [usage(prompt_tokens=3, cache_read_input_tokens=2), usage(cache_read_input_tokens=0)], Tokens(3, 0, 0)),
    ("the last timings", CHAT, [{"timings": {"prompt_n": 1}}, {"timings": TIMINGS}], MEASURED),
    ("timings do not forget what usage says is cached", CHAT,
     [{"timings": {"prompt_n": 5, "predicted_n": 6}, **usage(cache_read_input_tokens=3)}], Tokens(5, 6, 3)),
    ("nothing", CHAT, [{"choices": [{"delta": {"content": "usage timings"}}]}], None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "data", "tokens"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
@pytest.mark.parametrize("filling", [0, 3 * TAIL])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_streams(path: str, data: list[Any], tokens: Tokens | None, filling: int, end: bytes) -> None:
    first, *rest = data
    filler = [{"choices": [{"delta": {"content": "word"}}]}] * (filling // 50)
    body = events(first, *filler, *rest).replace(b"\n", end)
    found = read(SSE, path, body)
    assert (found and found.tokens) == tokens


def test_the_last_event_may_be_longer_than_what_is_kept() -> None:
    done = {"type": "response.completed", "response": {"output": ["x" * (3 * TAIL), '{"usage": {}}'],
            **usage(input_tokens=3, output_tokens=5), "metadata": {"a": '"}'}}}  # fmt: skip
    found = read(SSE, "/v1/responses", events({"a": 1}, done))
    assert found is not None
    assert found.tokens == Tokens(3, 5)


@pytest.mark.parametrize(
    "body",
    [b"", b"no JSON", b"{", b'{"usage": {"prompt_tokens": 1}', b"\xff\xfe", b"null", b"[" * 100_000, b"5"],
)
@pytest.mark.parametrize("kind", [JSON, SSE, "", "image/png"])
def test_what_is_broken_says_nothing(kind: str, body: bytes) -> None:
    assert read(kind, CHAT, body) is None


@pytest.mark.parametrize("body", [b"data: {broken\n\n", b"data: [1]\n\n", b"data: [DONE]\n", b"usage: 1\n"])
def test_events_that_are_broken_are_passed_over(body: bytes) -> None:
    found = read(SSE, CHAT, body + events(usage(prompt_tokens=3)))
    assert found is not None
    assert found.tokens == Tokens(3)


def test_how_long_llama_cpp_took() -> None:
    found = read(JSON, CHAT, json.dumps({"timings": TIMINGS}).encode())
    assert found is not None
    assert found.seconds == pytest.approx(1.05)


texts = st.text(st.sampled_from('"\\{}[]:, ue\né') | st.characters(), max_size=30)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | texts,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts | st.sampled_from(["usage", "timings"]), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(texts, values), st.dictionaries(texts, values), st.integers(0, 10**6))
def test_the_end_alone_tells_what_the_whole_does(
    before: dict[str, Any], after: dict[str, Any], count: int
) -> None:
    """A second implementation, on the whole text, agrees; whatever lies around and looks like usage."""
    for each in (before, after):
        for key in ("usage", "timings", "metrics"):
            each.pop(key, None)
    fields = [*before.items(), ("usage", {"prompt_tokens": count}), *after.items()]
    text = "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in fields) + "}"
    padded = ('{"pad": "' + "x" * 2 * TAIL + '", ' + text[1:]).encode()
    found = read(JSON, CHAT, padded)
    if len(text) <= TAIL:
        assert found is not None
        assert found.tokens == Tokens(count)


@given(st.binary(max_size=200), st.binary(max_size=HEAD))
def test_no_bytes_are_too_strange(head: bytes, tail: bytes) -> None:
    for kind in (JSON, SSE):
        read_tokens(kind, CHAT, head, tail)
        read_tokens(kind, CHAT, head, None)
