"""Do pages of other origins learn what they may ask?"""

import pytest

from swapcore import Phase
from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio

PLAIN = "Content-Type, Authorization, Accept, X-Requested-With"


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (None, PLAIN),
        ("", PLAIN),
        ("X-One", "X-One"),
        ("x-one,X-Two ,  authorization", "x-one, X-Two, authorization"),
        ("good, bad header, b@d, ok", "good, ok"),
        ("bad:header", ""),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/upstream/a/x", "/nowhere", "/v1//models"])
async def test_every_preflight_is_answered_here(path: str, asked: str | None, allowed: str) -> None:
    async with serving(fake("a")) as served:
        headers = {} if asked is None else {"Access-Control-Request-Headers": asked}
        status, fields, body = await served.ask("OPTIONS", path, headers=headers)
        assert (status, body) == (204, b"")
        assert fields["Access-Control-Allow-Origin"] == "*"
        assert fields["Access-Control-Allow-Methods"] == "GET, POST, PUT, PATCH, DELETE, OPTIONS"
        assert fields["Access-Control-Allow-Headers"] == allowed
        assert fields["Access-Control-Max-Age"] == "86400"
        assert served.view("a").phase is Phase.STOPPED


async def test_only_lists_of_models_are_open_to_pages() -> None:
    async with serving(fake("a")) as served:
        origin = {"Origin": "http://page.example"}
        for path in ("/v1/models", "/models"):
            _, fields, _ = await served.ask("GET", path, headers=origin)
            assert fields["Access-Control-Allow-Origin"] == "http://page.example", path
            assert fields["Vary"] == "Origin"
        for path in ("/running", "/health", "/nowhere"):
            _, fields, _ = await served.ask("GET", path, headers=origin)
            assert "Access-Control-Allow-Origin" not in fields, path
        _, fields, _ = await served.ask("GET", "/v1/models")
        assert "Access-Control-Allow-Origin" not in fields
        # A cache must not show it to a page.
        assert fields["Vary"] == "Origin"


@pytest.mark.parametrize("origin", [None, "https://ui.example", "https://other.example"])
async def test_caches_are_told_that_answers_depend_on_the_page(origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    async with serving(fake("a"), cors_origins=["https://ui.example"]) as served:
        for path in ("/running", "/v1/models", "/nowhere"):
            _, fields, _ = await served.ask("GET", path, headers=headers)
            assert fields["Vary"] == "Origin", path
        await served.chat("a")
        own = "X-Fake-Headers"
        path = "/upstream/a/x"
        async with served.http.get(served.base + path, headers={**headers, own: "Vary: Accept"}) as answer:
            # What the upstream itself says stands beside it. A page that is in no list is refused.
            refused = origin == "https://other.example"
            assert answer.headers.getall("Vary") == (["Origin"] if refused else ["Accept", "Origin"])
            assert answer.status == (403 if refused else 200)
            shown = answer.headers.get("Access-Control-Allow-Origin")
            assert shown == (None if refused else origin)
    async with serving(fake("a")) as served:
        _, fields, _ = await served.ask("GET", "/running", headers=headers)
        assert "Vary" not in fields
