"""How many tokens does an answer say that it took, and how fast were they?

Pure, and made for answers of which only the two ends were kept: where the
middle is missing, objects are found by how deep they lie, counted from the
end that is there.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, evolve

__all__ = ["Reading", "Tokens", "read_tokens"]

UNKNOWN = -1
MOST = 2**53
"""What is counted beyond this is nonsense, and too much for a database."""

KEYS = ("usage", "timings", "metrics")
KEY = re.compile(r'(?<!\\)"(usage|timings|metrics)"\s*:\s*(?=\{)')
"""Inside of a string, every quote has a backslash before it: what this matches is a key."""

QUICK = {key: f'"{key}"'.encode() for key in KEYS}
"""What an answer has somewhere if it has anything to say."""

STEP = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
"""A string, which means nothing here, or a step up or down."""


# Not frozen: to make one would take four times as long, and one is made for each request.
@define(repr=False)
class Tokens:
    """What one answer took; nobody changes it. All but the two counts are -1 if the answer does not say."""

    input: int = 0
    """Tokens that were read."""

    output: int = 0
    """Tokens that were written."""

    cached: int = UNKNOWN
    """Tokens that need not be read again."""

    drafted: int = UNKNOWN
    """Tokens that a draft model proposed."""

    accepted: int = UNKNOWN
    """How many of these were used."""

    input_speed: float = UNKNOWN
    """Tokens read per second."""

    output_speed: float = UNKNOWN
    """Tokens written per second."""


@define(eq=False, repr=False)
class Reading:
    """What an answer says about itself."""

    tokens: Tokens
    seconds: float
    """How long its upstream says that it took; 0 if it does not say."""


def read_tokens(kind: str, path: str, head: bytes, tail: bytes | None) -> Reading | None:
    """Find what an answer says about its tokens.

    Args:
        kind: Its content type.
        path: What was asked for: `/infill` answers with a list.
        head: Its start; all of it if there is no tail.
        tail: Its end.

    Returns:
        `None` if it says nothing.
    """
    if "text/event-stream" in kind.lower():
        found: Iterable[tuple[str, Mapping[str, Any]]] = _in_events(head, tail)
    elif tail is None:
        found = _in_json(head, path)
    else:
        found = _in_ends(head, tail, path)
    usages: list[Mapping[str, Any]] = []
    timings: Mapping[str, Any] | None = None
    metrics: Mapping[str, Any] | None = None
    for key, value in found:
        if key == "usage":
            usages.append(value)
        elif key == "timings":
            timings = value
        else:
            metrics = value
    if not usages and timings is None and metrics is None:
        return None
    tokens = _sum(usages)
    seconds = 0.0
    if timings:
        tokens, seconds = _with_timings(tokens, timings)
    if metrics:
        tokens = _with_metrics(tokens, metrics)
    return Reading(tokens, seconds)


# Where it stands ----------------------------------------------------------------

Found = Iterator[tuple[str, Mapping[str, Any]]]


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(_text(data))
    except (ValueError, RecursionError):
        return None


def _in_json(text: bytes, path: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Find the objects in a whole answer, mostly without parsing all of it."""
    found = []
    for key, quoted in QUICK.items():
        if quoted not in text:
            continue
        place = text.rfind(quoted)
        near = _text(text[place:])
        match = KEY.match(near)
        value = None if match is None else _object_at(near, match.end())
        if (
            text[:1] != b"{"
            or text[place - 1 : place] == b"\\"
            or value is None
            # Mostly it is the last of all.
            or ((rest := near[value[1] :]) != "}" and _depth(rest) != -1)
        ):
            # Not where it is expected: what it is takes a closer look.
            return _parsed_own(text, path)
        found.append((key, value[0]))
    return found


def _parsed_own(text: bytes, path: str) -> Found:
    data = _parsed(text)
    if isinstance(data, list) and data and path.startswith("/infill"):
        data = data[-1]
    if isinstance(data, dict):
        yield from _own(data)


def _own(data: Mapping[str, Any]) -> Found:
    for key in KEYS:
        value = data.get(key)
        if isinstance(value, dict):
            yield key, value


def _in_events(head: bytes, tail: bytes | None) -> Found:
    lines = head.split(b"\n")
    if tail is None:
        for line in lines:
            yield from _in_event(line)
        return
    for line in lines[:-1]:
        yield from _in_event(line)
    first, *rest = tail.split(b"\n")
    # The end of an event that may have begun in what is missing: as deep as `response` or `message`.
    yield from _from_the_end(_text(first), 1)
    yield from (pair for pair in _from_the_end(_text(first), 2) if pair[0] == "usage")
    for line in rest:
        yield from _in_event(line)


def _in_event(line: bytes) -> Found:
    if not line.startswith(b"data:") or not any(key in line for key in QUICK.values()):
        return
    data = _parsed(line[5:])
    if not isinstance(data, dict):
        return
    yield from _own(data)
    for key in ("response", "message"):
        inner = data.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("usage"), dict):
            yield "usage", inner["usage"]


def _in_ends(head: bytes, tail: bytes, path: str) -> Found:
    text = _text(head)
    if text.lstrip().startswith("["):
        # Only the last element counts, and that is not here.
        if path.startswith("/infill"):
            yield from _from_the_end(_text(tail), 2)
        return
    for match in KEY.finditer(text):
        if _depth(text[: match.start()]) == 1:
            value = _object_at(text, match.end())
            if value is not None:
                yield match[1], value[0]
    yield from _from_the_end(_text(tail), 1)


def _from_the_end(text: str, depth: int) -> Found:
    """Find the objects that lie so deep in the value that ends with this text."""
    for match in KEY.finditer(text):
        value = _object_at(text, match.end())
        if value is not None and _depth(text[value[1] :]) == -depth:
            yield match[1], value[0]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _object_at(text: str, position: int) -> tuple[Mapping[str, Any], int] | None:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None
    return value, end


_DECODER = json.JSONDecoder()


def _depth(text: str) -> int:
    """Count the steps down less the steps up in a text that begins outside of strings."""
    steps = [step for step in STEP.findall(text) if len(step) == 1]
    return sum(1 if step in "{[" else -1 for step in steps)


# What it means ------------------------------------------------------------------


def _sum(usages: list[Mapping[str, Any]]) -> Tokens:
    """Sum up usage objects as OpenAI or Anthropic write them; what a later one counts replaces the count."""
    tokens_in, tokens_out, cached = 0, 0, UNKNOWN
    for usage in usages:
        given_in = _first_count(usage, "prompt_tokens", "input_tokens")
        given_out = _first_count(usage, "completion_tokens", "output_tokens")
        if given_in < 0:
            # Rerankers say only how many there were in all.
            given_in = _count(usage.get("total_tokens")) - max(given_out, 0)
        tokens_in = given_in if given_in > 0 else tokens_in
        tokens_out = given_out if given_out > 0 else tokens_out
        given_cached = _count(usage.get("cache_read_input_tokens"))
        for key in ("input_tokens_details", "prompt_tokens_details"):
            if given_cached < 0 and isinstance(details := usage.get(key), dict):
                given_cached = _count(details.get("cached_tokens"))
        cached = given_cached if given_cached >= 0 else cached
    return Tokens(tokens_in, tokens_out, cached)


def _with_timings(tokens: Tokens, timings: Mapping[str, Any]) -> tuple[Tokens, float]:
    """Take over what llama.cpp measured; also return the seconds it took."""
    drafted, accepted = _count(timings.get("draft_n")), _count(timings.get("draft_n_accepted"))
    both = drafted >= 0 and accepted >= 0
    cached = _count(timings.get("cache_n"))
    tokens = evolve(
        tokens,
        input=max(_count(timings.get("prompt_n")), 0),
        output=max(_count(timings.get("predicted_n")), 0),
        cached=cached if cached >= 0 else tokens.cached,
        drafted=drafted if both else tokens.drafted,
        accepted=accepted if both else tokens.accepted,
        input_speed=_number(timings.get("prompt_per_second")),
        output_speed=_number(timings.get("predicted_per_second")),
    )
    took = max(_number(timings.get("prompt_ms")), 0.0) + max(_number(timings.get("predicted_ms")), 0.0)
    return tokens, took / 1000


def _with_metrics(tokens: Tokens, metrics: Mapping[str, Any]) -> Tokens:
    """Take over what vLLM measured, where llama.cpp's timings are not there to say it."""
    speculative = metrics.get("speculative_decoding")
    if isinstance(speculative, dict) and tokens.drafted == UNKNOWN:
        drafted, accepted = (
            _count(speculative.get("num_draft_tokens")),
            _count(speculative.get("num_accepted_draft_tokens")),
        )
        if drafted >= 0 and accepted >= 0:
            tokens = evolve(tokens, drafted=drafted, accepted=accepted)
    first, between = _number(metrics.get("time_to_first_token_ms")), _number(metrics.get("mean_itl_ms"))
    if first > 0 and tokens.input_speed < 0:
        fresh = max(tokens.input - max(tokens.cached, 0), 0)
        tokens = evolve(tokens, input_speed=fresh / (first / 1000))
    if between > 0 and tokens.output_speed < 0:
        tokens = evolve(tokens, output_speed=1000 / between)
    return tokens


def _first_count(data: Mapping[str, Any], key: str, other: str) -> int:
    """Return the first of the two that is a number of things; -1 if none is."""
    count = _count(data.get(key))
    return count if count >= 0 else _count(data.get(other))


def _count(value: object) -> int:
    """Return a number of things; -1 if it is none."""
    # Exactly: true is no number.
    if type(value) is int:
        return value if 0 <= value <= MOST else UNKNOWN
    return int(_number(value))


def _number(value: object) -> float:
    """Return a number that is 0 or more; -1 if it is none."""
    return value if (type(value) is int or type(value) is float) and 0 <= value <= MOST else UNKNOWN
