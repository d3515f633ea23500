"""Tests of `swapcore_http.doors`: who is let in while the server ends?"""

import pytest

from swapcore import Phase
from swapcore_http.doors import DOORS
from tests.http.serving import Served, Wire, fake, serving

pytestmark = pytest.mark.anyio


def close(served: Served) -> None:
    """Do what the program does first when it is told to end."""
    assert served.runner.server is not None
    served.runner.app[DOORS].close(served.runner.server)


async def test_a_connection_on_which_nothing_is_asked_is_closed_at_once() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as kept, Wire.to(served) as new:
        await kept.get("/health")
        head, fields = await kept.head()
        assert " 200 " in head
        await kept.reader.readexactly(int(dict(fields)["Content-Length"]))
        close(served)
        assert await kept.rest() == b""
        assert await new.rest() == b""


async def test_a_request_that_is_answered_is_finished_and_its_connection_closed() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        # The rest of its body is yet to come when the doors are closed.
        await wire.send(b"POST /upstream/a/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nabc")
        await served.until(lambda snapshot: snapshot.upstream("a").phase is not Phase.STOPPED)
        close(served)
        await wire.send(b"def")
        head, fields = await wire.head()
        assert " 200 " in head
        answer = await wire.json(fields)
        assert answer["body"] == "abcdef"


async def test_a_request_that_comes_all_the_same_is_refused_and_its_connection_closed() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        served.runner.app[DOORS].closed = True
        await wire.get("/v1/models")
        head, fields = await wire.head()
        assert " 503 " in head
        assert dict(fields)["Connection"] == "close"
        answer = await wire.json(fields)
        assert answer["error"]["message"] == "the server is shutting down"
        assert await wire.rest() == b""
        served.runner.app[DOORS].closed = False
