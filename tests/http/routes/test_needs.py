"""Does every route ask for what it should, before it does anything?"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from swapcore import Engine, Phase
from swapcore_http.app import make_app
from swapcore_http.config import ApiKeyConfig, Config
from swapcore_http.driver import Driver
from swapcore_http.gate import GATE
from swapcore_http.present import Present
from swapcore_http.routes.needs import FULL, NEEDS, Need, need_of
from tests.http.serving import answering_at, fake, serving

pytestmark = pytest.mark.anyio

OPEN = {"GET /", "GET /favicon.ico", "GET /health", "GET /wol-health", "GET /upstream", "* /upstream"}
"""What llama-swap's routes of the same paths ask no key for."""

FILLED = {"{path}": "", "{rest}": "a/tokenize", "{model}": "a", "{name}": "a", "{id}": "1"}
SCOPES = ("infer", "swap", "admin", "logs")


def registered() -> Iterator[web.AbstractRoute]:
    config = Config([fake("a")])
    driver = Driver(Engine(config.catalog()), answering_at("http://not.used"))
    yield from make_app(driver, Present(config)).router.routes()


ROUTES = [
    (method, path, need_of(route))
    for route in registered()
    if route.resource is not None
    for path in [re.sub(r"\{\w+\}", lambda match: FILLED[match[0]], route.resource.canonical)]
    for method in ([route.method] if route.method != "*" else ["GET", "POST", "DELETE"])
]


def test_the_table_has_every_route_and_no_other() -> None:
    names = set()
    for route in registered():
        assert route.resource is not None
        if route.method != "HEAD":
            names.add(f"{route.method} {route.resource.canonical}")
    assert names == set(NEEDS)


def test_readme_has_every_route() -> None:
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"/[\w./-]*", text[text.index("### Routes") : text.index("### Coming from")]))
    paths = {re.sub(r"/?\{\w+\}.*", "", name.partition(" ")[2]) for name in NEEDS}
    assert paths - {path.rstrip("/") or "/" for path in shown} == set()


def test_only_what_llama_swap_has_open_is_open() -> None:
    assert {name for name, need in NEEDS.items() if not need.key} == OPEN


async def test_a_route_that_is_not_in_the_table_takes_a_key_that_may_do_everything() -> None:
    app = web.Application()

    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    assert need_of(app.router.add_get("/new", handler)) is FULL


def weak_keys(need: Need) -> Iterator[ApiKeyConfig]:
    """Make keys of which each lacks one thing that is needed."""
    if need.everything:
        yield ApiKeyConfig("weak", scopes=SCOPES[:-1])
    if need.scope is not None:
        yield ApiKeyConfig("weak", scopes=[each for each in SCOPES if each != need.scope])
    if need.all_models:
        yield ApiKeyConfig("weak", models=["a", "b*"])


BODY = {"model": "a"}


async def test_every_route_without_with_a_wrong_with_a_too_weak_and_with_a_full_key() -> None:
    """One server for all: starting one for each would take minutes."""
    full = ApiKeyConfig("full")
    async with serving(fake("a"), api_keys=[full]) as served:
        app = served.runner.app
        assert len(app[GATE]) > 60
        refused = 0
        cases = [*ROUTES, ("POST", "/some/new/api", FULL)]
        for method, path, need in cases:
            where = f"{method} {path}"
            body = BODY if method in ("POST", "PUT") else None
            for shown in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": "fulll"}):
                status, fields, answer = await served.ask(method, path, body, headers=shown)
                assert (status == 401) is need.key, where
                if status == 401:
                    refused += 1
                    assert fields["WWW-Authenticate"] == 'Basic realm="swapcore"', where
                    if method != "HEAD":
                        assert answer["error"]["type"] == "authentication_error", where
                        assert "full" not in answer["error"]["message"].replace("fulll", ""), where
        assert refused > 150
        # Nothing has come of all that.
        assert served.view("a").phase is Phase.STOPPED
        for weak, method, path in [
            (weak, method, path) for method, path, need in cases for weak in weak_keys(need)
        ]:
            if served.config.api_keys != (full, weak):
                await served.replace(fake("a"), api_keys=[full, weak])
            body = BODY if method in ("POST", "PUT") else None
            status, _, answer = await served.ask(method, path, body, headers={"x-api-key": "weak"})
            assert status == 403, f"{method} {path} {weak}"
            if method != "HEAD":
                kind = answer["error"]["type"]
                assert kind in ("authentication_error", "permission_error"), path
        assert served.view("a").phase is Phase.STOPPED
        for method, path, _ in cases:
            body = BODY if method in ("POST", "PUT") else None
            # Some answers never end.
            async with served.http.request(
                method, served.base + path, json=body, headers={"x-api-key": "full"}, allow_redirects=False
            ) as answer:
                assert answer.status not in (401, 403), f"{method} {path}"
