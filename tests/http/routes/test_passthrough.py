"""Is the longest name found, and the rest of the path kept as it is?"""

import hashlib
import socket
import struct

import anyio
import pytest

from swapcore import Phase
from swapcore_http import bodies
from swapcore_http.config import Config, Names, PeerModel
from swapcore_http.responses import ApiError
from swapcore_http.routes.passthrough import find_upstream
from tests.http.serving import Wire, fake, serving, unrun

pytestmark = pytest.mark.anyio

CONFIG = Config(
    models=[
        unrun("author"),
        unrun("author/model", aliases=("alias/with/slashes", "sp ace")),
        unrun("author/model/v1/deep"),
    ]
)


@pytest.mark.parametrize(
    ("path", "model", "rest"),
    [
        ("author/", "author", "/"),
        ("author", "author", ""),
        ("author/other", "author", "/other"),
        ("author/model/v1/chat", "author/model", "/v1/chat"),
        ("author/model/v1/deep/x", "author/model/v1/deep", "/x"),
        ("author%2Fmodel/x%2Fy//z/?", "author/model", "/x%2Fy//z/?"),
        ("/author//model/a", "author/model", "/a"),
        ("author//x", "author", "//x"),
        ("alias/with/slashes/%20", "author/model", "/%20"),
        ("sp%20ace/x", "author/model", "/x"),
    ],
)
def test_longest_name_counts(path: str, model: str, rest: str) -> None:
    assert find_upstream(path, CONFIG.names()) == (model, rest)


@pytest.mark.parametrize("path", ["", "/", "nobody/x", "autho", "authors", "model/author"])
def test_no_name_no_upstream(path: str) -> None:
    with pytest.raises(ApiError) as caught:
        find_upstream(path, CONFIG.names())
    assert caught.value.status == 404


async def test_path_query_and_method_arrive_as_they_were_sent() -> None:
    async with serving(fake("org/a", aliases=("b",))) as served, Wire.to(served) as wire:
        for method in ("GET", "PUT", "DELETE", "PATCH", "PROPFIND"):
            await wire.get("/upstream/org/a/x%2fy//%7E?q=%2F&q=a+b&&z", method=method)
            line, fields = await wire.head()
            assert line.startswith("HTTP/1.1 200 "), method
            answer = await wire.json(fields)
            assert (answer["method"], answer["target"]) == (method, "/x%2fy//%7E?q=%2F&q=a+b&&z")
        await wire.get("/upstream/b/..%2f/./v1/models")
        _, fields = await wire.head()
        assert (await wire.json(fields))["target"] == "/..%2f/./v1/models"


async def test_head_passes() -> None:
    async with serving(fake("a")) as served:
        status, fields, body = await served.ask("HEAD", "/upstream/a/echo")
    assert (status, fields["X-Model"], body) == (200, "a", b"")
    assert int(fields["Content-Length"]) > 0


async def test_name_without_a_slash_is_sent_to_the_one_with() -> None:
    async with serving(fake("org/a")) as served:
        for method, expected in (("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)):
            status, fields, _ = await served.ask(method, "/upstream/org%2Fa?x=1")
            assert (status, fields["Location"]) == (expected, "/upstream/org%2Fa/?x=1")
        assert served.view("org/a").phase is Phase.STOPPED


async def test_without_a_model_it_is_sent_on() -> None:
    async with serving(fake("a")) as served:
        for method in ("POST", "DELETE"):
            status, fields, _ = await served.ask(method, "/upstream?x=%2F")
            assert (status, fields["Location"]) == (307, "/upstream/?x=%2F")
            assert (await served.ask(method, "/upstream/"))[0] == 404


async def test_unknown_model() -> None:
    async with serving(fake("a")) as served:
        status, _, answer = await served.ask("GET", "/upstream/nobody/v1/models")
    assert status == 404
    assert "model not found" in answer["error"]["message"]


async def test_redirects_of_the_upstream_are_the_clients_business() -> None:
    async with serving(fake("a")) as served:
        status, fields, _ = await served.ask("GET", "/upstream/a/echo", headers={"X-Fake-Status": "307"})
    assert (status, fields["Location"]) == (307, "/v1/models")


async def test_it_takes_a_lease_and_swaps_like_any_request() -> None:
    async with serving(fake("a"), fake("b")) as served:
        await served.ask("GET", "/upstream/a/v1/models")
        await served.ask("GET", "/upstream/b/v1/models")
        assert served.view("a").phase is Phase.STOPPED
        assert served.view("b").phase is Phase.READY


async def test_a_newline_in_the_path_is_a_character_like_others() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        await wire.get("/upstream/a/x%0Ay")
        _, fields = await wire.head()
        assert (await wire.json(fields))["target"] == "/x%0Ay"


def test_the_length_of_a_path_does_not_multiply_the_work() -> None:
    looked_up: list[str] = []

    class Counting(Names):
        def target(self, name: str) -> str | PeerModel | None:
            looked_up.append(name)
            return super().target(name)

    names = Counting(Config(models=[unrun("org/a"), unrun("b")]).models)
    assert find_upstream("b" + "/b" * 30_000, names)[0] == "b"
    assert len(looked_up) <= 3


# Paths that start nothing --------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/style.css", 409),
        ("/deep/app.js?x=1", 409),
        ("/favicon.ico", 409),
        ("/enc%6fded%2Ejson", 409),
        ("/style.css/more", 200),
        ("/api.js.map", 200),
        ("/", 200),
        ("/x?file=a.css", 200),
    ],
)
async def test_assets_start_no_model(path: str, status: int) -> None:
    async with serving(fake("a", aliases=("b",))) as served:
        for name in ("a", "b"):
            got, _, answer = await served.ask("GET", f"/upstream/{name}{path}")
            assert got == status
            if got != 200:
                assert answer["error"]["code"] == "conflict"
                assert "ignorePaths" in answer["error"]["message"]
                assert served.view("a").phase is Phase.STOPPED


async def test_assets_pass_once_the_model_is_up() -> None:
    async with serving(fake("a"), ignored_paths=["^/static/", "ping"]) as served:
        for path in ("/static/x", "/a/ping/b"):
            assert (await served.ask("POST", f"/upstream/a{path}"))[0] == 409
        assert (await served.ask("GET", "/upstream/a/x/static/app.js"))[0] == 200
        assert (await served.ask("GET", "/upstream/a/static/x"))[2]["target"] == "/static/x"


async def test_a_model_that_starts_serves_no_assets_yet() -> None:
    async with serving(fake("a", flags={"no_listen": True})) as served:
        served.driver.load(["a"])
        await served.until_phase("a", Phase.STARTING)
        assert (await served.ask("GET", "/upstream/a/x.css"))[0] == 409


# Hanging up ---------------------------------------------------------------------


def reset(wire: Wire) -> None:
    """End the connection so that the server is told at once, and nothing that is on its way arrives."""
    sock = wire.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.hang_up()


async def fill(wire: Wire, size: int) -> None:
    """Send as much of a body as the server takes."""
    with anyio.move_on_after(1):
        for _ in range(size // 100_000):
            await wire.send(b"x" * 100_000)


@pytest.mark.parametrize("ending", ["reset", "end"])
@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/upstream/b/echo", 3_000_000),
        ("/upstream/b/echo", 100_000_000),
        ("/v1/embeddings?model=b", 3_000_000),
    ],
)
async def test_client_gone_while_its_body_waits_leaves_its_place(path: str, size: int, ending: str) -> None:
    async with serving(fake("a"), fake("b")) as served, Wire.to(served) as first:
        await first.post("/v1/chat/completions", {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await served.until_leased("a")
        async with Wire.to(served) as second:
            await second.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
            if path.startswith("/upstream"):
                await served.until_waiting("b")
            await fill(second, size)
            await served.until_waiting("b")
            if ending == "reset":
                reset(second)
            else:
                second.writer.close()
            await served.until_waiting("b", 0)
        await served.open_gate("a", "g", 3)
        await first.head()
        assert (await first.chunks())[-1].endswith(b"data: [DONE]\n\n")
        await served.until_idle()
        assert served.view("a").phase is Phase.READY
        assert served.view("b").phase is Phase.STOPPED


async def test_client_gone_while_its_upstream_does_not_read_gives_up_its_lease() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        head = "POST /upstream/a/echo HTTP/1.1\r\nHost: x\r\nX-Fake-Read-Gate: g\r\nContent-Length: 100000000"
        await wire.send(f"{head}\r\n\r\n".encode())
        await fill(wire, 100_000_000)
        await served.until_leased("a")
        reset(wire)
        await served.until_leased("a", 0)


async def test_body_read_ahead_arrives_whole() -> None:
    """It is longer than what is held in memory."""
    body = bytes(range(256)) * (2 * bodies.IN_MEMORY // 256)
    async with serving(fake("a"), fake("b")) as served, Wire.to(served) as first, Wire.to(served) as second:
        await first.post("/v1/chat/completions", {"model": "a", "stream": True, "fake": {"gate": "g"}})
        await served.until_leased("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.post, "/upstream/b/echo", body)
            await served.until_waiting("b")
            await served.open_gate("a", "g", 3)
        _, fields = await second.head()
        answer = await second.json(fields)
    assert answer["body_length"] == len(body)
    assert answer["body_sha256"] == hashlib.sha256(body).hexdigest()


async def test_connection_of_who_is_refused_with_half_a_body_is_kept() -> None:
    async with serving(fake("a", flags={"no_listen": True})) as served, Wire.to(served) as wire:
        await wire.send(b"POST /upstream/a/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ")
        await served.until_waiting("a")
        await served.ask("GET", "/unload")
        line, fields = await wire.head()
        assert line.startswith("HTTP/1.1 503 ")
        await wire.json(fields)
        await wire.send(b"whole")
        await wire.get("/health")
        assert (await wire.head())[0] == "HTTP/1.1 200 OK"
