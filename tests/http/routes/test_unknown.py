"""Does a path of nobody's lead to the model that is named, to a tidy path, or nowhere?"""

import pytest

from swapcore import Phase
from swapcore_http.routes.unknown import tidy
from tests.http.serving import Wire, fake, serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("//a", "/a"),
        ("///a//b///", "/a/b/"),
        ("/a/./b/.", "/a/b/"),
        ("/a/../b", "/b"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("//evil.example/x", "/evil.example/x"),
        ("//\\evil.example", "/%5Cevil.example"),
        ("/a%2Fb//c%20d", "/a%2Fb/c%20d"),
        ("/a...b/..c", "/a...b/..c"),
        ("/back\\slash", "/back\\slash"),
    ],
)
def test_paths_are_tidied(path: str, clean: str) -> None:
    assert tidy(path) == clean
    assert tidy(clean) == clean


async def test_untidy_paths_are_sent_to_the_tidy_ones() -> None:
    async with serving(fake("a")) as served, Wire.to(served) as wire:
        for method, path, location in (
            ("GET", "/v1//models?x=1&x=%2F", "/v1/models?x=1&x=%2F"),
            ("POST", "//v1/chat/completions", "/v1/chat/completions"),
            ("DELETE", "/a/../v1/./models", "/v1/models"),
        ):
            await wire.get(path, "Content-Length: 0", method=method)
            line, fields = await wire.head()
            assert line.startswith("HTTP/1.1 307 "), path
            assert dict(fields)["Location"] == location


@pytest.mark.parametrize("path", ["/api/chat", "/v2/brand/new?x=%2f", "/tokenize", "/v1/models/a"])
async def test_a_post_that_names_a_model_reaches_it(path: str) -> None:
    async with serving(fake("a", aliases=("b",))) as served:
        status, _, answer = await served.ask("POST", path, {"model": "b"})
        assert (status, answer["model"], answer["target"]) == (200, "a", path)


@pytest.mark.parametrize(
    "body", [b'{"model":"nobody"}', b'{"no":"model"}', b"[]", b"{", b"", b"\xff", b'{"model":5}']
)
async def test_a_post_that_names_no_model_finds_nothing(body: bytes) -> None:
    async with serving(fake("a")) as served:
        for kind in ("application/json", "text/plain"):
            status, fields, answer = await served.ask("POST", "/new", body, headers={"Content-Type": kind})
            assert (status, answer) == (404, b"404 page not found\n")
            assert fields["Content-Type"] == "text/plain; charset=utf-8"


async def test_other_methods_and_known_paths_stay_as_they_are() -> None:
    async with serving(fake("a")) as served:
        for method in ("GET", "PUT", "DELETE"):
            assert (await served.ask(method, "/new?model=a", {"model": "a"}))[0] == 404, method
        for path in ("/v1/models", "/health", "/running"):
            status, fields, _ = await served.ask("POST", path, {"model": "a"})
            assert (status, fields["Allow"]) == (405, "GET,HEAD"), path
        assert served.view("a").phase is Phase.STOPPED


async def test_it_can_be_switched_off() -> None:
    async with serving(fake("a"), route_unknown_paths=False) as served:
        status, _, body = await served.ask("POST", "/api/chat", {"model": "a"})
        assert (status, body) == (404, b"404 page not found\n")
        assert served.view("a").phase is Phase.STOPPED
