"""Does the server say what it is, how it is set up and what it would do, and nothing that is secret?"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from swapcore_http.config import ApiKeyConfig, PeerConfig
from swapcore_http.routes import about
from tests.http.serving import fake, serving, unrun

pytestmark = pytest.mark.anyio


async def test_version() -> None:
    async with serving(unrun("a")) as served:
        status, _, told = await served.ask("GET", "/api/version")
    assert status == 200
    assert set(told) == {"version", "commit", "build_date"}
    assert told["version"][0].isdigit()
    assert told["commit"] == "unknown" or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", told["commit"])


@pytest.mark.parametrize("copied", [True, False])
def test_a_working_copy_knows_its_commit(
    *, copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "swapcore_http" / "routes"
    place.mkdir(parents=True)
    monkeypatch.setattr(about, "__file__", str(place / "about.py"))
    if not copied:
        assert about._checked_out() is None
        return
    git = ("git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e")
    for words in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "x"), ("tag", "v1")):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    assert about._checked_out() == commit.strip()


async def test_config_shows_all_that_holds_and_no_secret() -> None:
    model = fake("a", env=("TOKEN=sk-env",), ttl=7)
    command = unrun("b", cmd="serve --api-key sk-cmd --port ${PORT}", macros={"api-token": "sk-macro"})
    peers = {"far": PeerConfig("far", proxy="http://me:sk-url@127.0.0.1:9", api_key="sk-peer", models=("x",))}
    keys = (ApiKeyConfig("sk-full"),)
    async with serving(model, command, peers=peers, api_keys=keys) as served:
        headers = {"Authorization": "Bearer sk-full"}
        status, _, told = await served.ask("GET", "/api/config", headers=headers)
    assert status == 200
    assert "sk-" not in json.dumps(told)
    assert told["models"]["a"]["env"] == ["TOKEN=***"]
    assert told["models"]["a"]["ttl"] == 7
    assert told["models"]["b"]["cmd"].startswith("serve --api-key *")
    assert told["apiKeys"][0]["key"] == "***"
    # Defaults are there as well.
    assert told["keepAliveAfter"] == 15
    assert told["models"]["b"]["checkEndpoint"] == "/health"
    assert told["upstream"]["ignorePaths"]


@pytest.mark.parametrize(
    ("running", "evicted"), [(None, ["a"]), ([], []), (["b"], ["b"]), (["a", "b"], ["a", "b"])]
)
async def test_explain(running: list[str] | None, evicted: list[str]) -> None:
    async with serving(fake("a"), unrun("b"), unrun("c")) as served:
        await served.chat("a")
        asked = {"model": "c"} | ({} if running is None else {"running": running})
        status, _, told = await served.ask("POST", "/api/explain", asked)
    assert status == 200
    assert told["target"] == "c"
    assert told["evict"] == evicted
    assert len(told["reasons"]) == len(evicted)


async def test_explain_what_cannot_be() -> None:
    async with serving(unrun("a", pinned=True), unrun("b")) as served:
        _, _, told = await served.ask("POST", "/api/explain", {"model": "b", "running": ["a"]})
    assert told["cost"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"[" * 100_000, 400),
        ({}, 400),
        ({"model": 1}, 400),
        ({"model": "a", "running": "a"}, 400),
        ({"model": "a", "running": [1]}, 400),
        ({"model": "nobody"}, 404),
        ({"model": "a", "running": ["nobody"]}, 404),
    ],
)
async def test_questions_that_have_no_answer(body: Any, status: int) -> None:
    async with serving(unrun("a")) as served:
        got, _, told = await served.ask("POST", "/api/explain", body)
    assert got == status
    assert told["error"]["message"]
