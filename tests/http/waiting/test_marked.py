"""Which bodies ask for a stream of events?"""

import json

import pytest

from swapcore_http.bodies import Body
from swapcore_http.waiting.marked import LARGE, asks_for_stream

pytestmark = pytest.mark.anyio

JSON = "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"stream": true}', True),
        (b'{"model": "a", "stream":true, "stream": false}', True),
        (b'{"stream": 1}', True),
        (b'{"stream": 0.5}', True),
        (b'{"stream": "true"}', True),
        (b'{"stream": "T"}', True),
        (b'{"stream": true, "broken', True),
        (b'{"broken": nonsense, "stream": true}', True),
        (b'{"stream": false}', False),
        (b'{"stream": 0}', False),
        (b'{"stream": "no"}', False),
        (b'{"stream": null}', False),
        (b'{"stream": {}}', False),
        (b'{"inner": {"stream": true}}', False),
        (b'["stream", true]', False),
        (b"{}", False),
        (b"", False),
        (b"\xff", False),
    ],
)
async def test_json(body: bytes, *, expected: bool) -> None:
    assert await asks_for_stream(JSON, Body.of(body)) is expected


async def test_other_types_say_nothing() -> None:
    assert not await asks_for_stream("text/plain", Body.of(b'{"stream": true}'))


@pytest.mark.parametrize("stream", [True, False])
async def test_large(*, stream: bool) -> None:
    body = json.dumps({"text": "x" * LARGE, "stream": stream}).encode()
    assert await asks_for_stream(JSON, Body.of(body)) is stream
