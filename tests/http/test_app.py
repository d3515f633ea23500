"""Is every outcome told as it should be, and does nothing leak?"""

import asyncio
import json
from typing import Any

import pytest

from swapcore import Phase, Tick
from swapcore_http.config import ModelConfig
from swapcore_http.delivery import ToClient
from swapcore_http.routes import listing
from tests.http.serving import Served, Wire, answering_at, fake, scripted, serving, unrun

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


def message(answer: object) -> str:
    """Check the envelope and return what it says."""
    assert isinstance(answer, dict)
    assert answer.keys() == {"src", "error"}
    assert answer["src"] == "swapcore"
    assert answer["error"].keys() == {"message", "type", "param", "code"}
    return str(answer["error"]["message"])


# Requests that lead nowhere -----------------------------------------------------


async def test_paths_and_methods_that_do_not_exist() -> None:
    async with serving(fake("a")) as served:
        for path in ("/nowhere", "/v1/models/", "/v1", "/api/models/unload/"):
            status, fields, body = await served.ask("GET", path)
            assert (status, body) == (404, b"404 page not found\n"), path
            assert fields["Content-Type"] == "text/plain; charset=utf-8"
        status, fields, body = await served.ask("DELETE", "/v1/models")
        assert (status, body) == (405, b"Method Not Allowed\n")
        assert fields["Allow"] == "GET,HEAD"
        status, fields, _ = await served.ask("GET", CHAT)
        assert (status, fields["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b'{"model":', 400, "the body is not valid JSON: Expecting value at line 1 column 10"),
        (b"", 400, "the body is not valid JSON: Expecting value at line 1 column 1"),
        (b"[]", 404, "no model id could be identified: the body is not a JSON object"),
        (b'{"messages":[]}', 404, "no model id could be identified: the body has no `model`"),
        (b'{"model":""}', 404, "no model id could be identified: the body has no `model`"),
        (b'{"model":"nope"}', 404, "no model is called 'nope'; GET /v1/models lists them"),
        (b'{"model":"\\ud800"}', 404, "no model is called '\\ud800'; GET /v1/models lists them"),
        (
            b'{"model":"%b"}' % (b"n" * 1000),
            404,
            f"no model is called '{'n' * 200}…'; GET /v1/models lists them",
        ),
        (b'{"x":"%b"}' % (b"n" * 2_000_000), 404, "no model id could be identified: the body has no `model`"),
    ],
)
async def test_requests_that_name_no_model(body: bytes, status: int, says: str) -> None:
    async with serving(fake("a")) as served:
        got, fields, answer = await served.ask(
            "POST", CHAT, body, headers={"Content-Type": "application/json"}
        )
        assert (got, message(answer)) == (status, says)
        assert fields["Content-Type"] == "application/json"
        assert "Server" not in fields
        assert served.view("a").phase is Phase.STOPPED


@pytest.mark.parametrize("framing", ["Content-Length: 11", "Transfer-Encoding: chunked"])
async def test_body_over_the_limit(framing: str) -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        served.bodies.largest = 10
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        await wire.send(head.encode())
        if "chunked" in framing:
            await wire.send(b'b\r\n{"model":1}\r\n')
        line, _ = await wire.head()
    assert line.startswith("HTTP/1.1 413 ")


async def test_body_of_exactly_the_limit_passes() -> None:
    async with serving(fake("a")) as served:
        served.bodies.largest = len(b'{"model": "a", "fake": {}}')
        assert (await served.chat("a"))[0] == 200


async def test_errors_in_the_form_that_is_wanted() -> None:
    async with serving(fake("a")) as served:
        _, fields, body = await served.ask("POST", CHAT, {"model": "<x>"}, headers={"Accept": "text/plain"})
        assert fields["Content-Type"] == "text/plain; charset=utf-8"
        assert body == b"swapcore: no model is called '<x>'; GET /v1/models lists them\n"
        _, fields, body = await served.ask("POST", CHAT, {"model": "<x>"}, headers={"Accept": "text/html"})
        assert fields["Content-Type"] == "text/html; charset=utf-8"
        assert b"&lt;x&gt;" in body


# Models that do not come up -----------------------------------------------------


async def test_upstream_that_exits_at_once_shows_its_last_words() -> None:
    flags: dict[str, object] = {"exit_at_start": 7, "print": ["loading", "error: no such file: model.gguf"]}
    async with serving(fake("a", flags=flags), fake("b")) as served:
        status, fields, answer = await served.chat("a")
        assert status == 502
        assert fields["x-should-retry"] == "false"
        assert message(answer).startswith("starting a failed: exited with status 7 after ")
        assert message(answer).endswith("error: no such file: model.gguf")
        # What fails with one model leaves the others alone.
        assert (await served.chat("b"))[0] == 200


async def test_command_that_does_not_exist() -> None:
    async with serving(ModelConfig("a", cmd="/no/such/llama-server --port ${PORT}")) as served:
        status, fields, answer = await served.chat("a")
    assert status == 502
    assert fields["x-should-retry"] == "false"
    assert "could not be started" in message(answer)
    assert "/no/such/llama-server" in message(answer)


@pytest.mark.parametrize("flag", ["never_ready", "no_listen", "hang_health"])
async def test_upstream_that_is_never_ready(flag: str) -> None:
    async with serving(fake("a", flags={flag: True, "print": "hello"}, health_check_timeout=1)) as served:
        status, _, answer = await served.chat("a")
        assert status == 502
        assert message(answer).startswith("starting a failed: not ready within 1 s\nits last output:\nhello")
        await served.until_phase("a", Phase.STOPPED)


async def test_everyone_who_waits_for_a_failed_start_is_told() -> None:
    async with serving(fake("a", flags={"exit_at_start": 1})) as served:
        answers = await asyncio.gather(*(served.chat("a") for _ in range(5)))
    assert [status for status, _, _ in answers] == [502] * 5


# Ending -------------------------------------------------------------------------


async def test_callers_are_refused_while_the_server_ends() -> None:
    async with serving(fake("a", concurrency_limit=1)) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "fake": {"gate": "g"}})
        await served.events_once_leased("a", "request")
        waiting = asyncio.create_task(served.chat("a"))
        await served.until_waiting("a")
        ending = asyncio.create_task(served.driver.shutdown())
        for status, _, answer in (await waiting, await served.chat("a")):
            assert (status, message(answer)) == (503, "the server is shutting down")
        # Who is being served may finish.
        await served.open_gate("a", "g")
        line, _ = await wire.head()
        assert line.startswith("HTTP/1.1 200 ")
        await ending


async def test_stopping_the_server_cuts_what_is_left() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.get("/upstream/a/stream?bytes=9", "X-Fake-Gate: g")
        await wire.head()
        await served.runner.cleanup()
        # The last chunk, which would say that it is whole, is missing.
        assert await wire.rest() == b""


# Our own faults -----------------------------------------------------------------


async def test_unexpected_exceptions_are_logged_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(listing, "model_rows", fail)
    async with serving(fake("a")) as served:
        status, _, answer = await served.ask("GET", "/v1/models?token=hidden")
    assert status == 500
    assert message(answer) == "internal error; the server's log says more"
    (record,) = [record for record in caplog.records if record.name == "swapcore_http.entrance"]
    assert record.getMessage() == "GET /v1/models failed"
    assert record.exc_info is not None
    assert "hidden" not in caplog.text


@pytest.mark.parametrize(
    ("error", "logged"),
    # A client that has gone is no fault of anybody's.
    [(RuntimeError("a bug"), True), (ConnectionResetError("Cannot write to closing transport"), False)],
)
async def test_an_exception_after_the_answer_began_breaks_it_off(
    error: Exception, *, logged: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = ToClient.write
    written = 0

    def fail_later(self: ToClient, *args: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:  # The head, and two words.
            raise error
        write(self, *args)

    monkeypatch.setattr(ToClient, "write", fail_later)
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await wire.head()
        await served.open_gate("a", "g")
        assert b"w0" in await wire.chunk()
        await served.open_gate("a", "g")
        assert await wire.rest() == b""
    assert bool([record for record in caplog.records if record.exc_info]) is logged


async def test_a_broken_engine_refuses_everybody() -> None:
    served: Served | None = None

    async def use() -> None:
        nonlocal served
        async with serving(fake("a")) as served:

            def fail(*_: object) -> None:
                raise ValueError("a bug of the engine")

            served.driver._engine.handle = fail  # type: ignore[assignment, method-assign]
            served.driver.report(Tick())
            status, _, answer = await served.chat("a")
            assert status == 500
            assert message(answer) == "the server has failed and is ending; its log says why"

    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="the engine failed"), flatten_subgroups=True):
        await use()


# Headers of requests that are large ---------------------------------------------


async def test_large_header_fields_pass_both_ways() -> None:
    large = "x" * 40_000
    head = f"HTTP/1.1 200 OK\r\nX-Large: {large}\r\nContent-Length: 0\r\n\r\n".encode()
    seen = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await reader.readuntil(b"\r\n\r\n")
        writer.write(head)

    async with (
        scripted(answer) as url,
        serving(unrun("a"), launch=answering_at(url)) as served,
        Wire.to(served) as wire,
    ):
        await wire.get(f"/upstream/a/x?{large}", f"X-Large: {large}", "Connection: close")
        got = await wire.rest()
    assert f"/x?{large} ".encode() in seen
    assert f"X-Large: {large}".encode() in seen
    assert f"X-Large: {large}".encode() in got


async def test_many_at_once_while_everything_is_busy() -> None:
    """Three models, room for one, and a client that keeps the first busy meanwhile."""
    async with serving(fake("a"), fake("b"), fake("c")) as served, Wire.to(served) as wire:
        await wire.post(CHAT, {"model": "a", "fake": {"gate": "g"}})
        await served.events_once_leased("a", "request")
        asked = [asyncio.create_task(served.chat(model)) for model in "bcbcbc"]
        await served.until_waiting("b", 3)
        await served.until_waiting("c", 3)
        assert served.view("a").phase is Phase.READY
        await served.open_gate("a", "g")
        await wire.head()
        for model, (status, _, answer) in zip("bcbcbc", await asyncio.gather(*asked), strict=True):
            assert (status, answer["model"]) == (200, model)
            assert json.dumps(answer).count(f"{model} says") == 1
