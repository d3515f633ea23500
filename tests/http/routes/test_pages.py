"""Does whoever comes with a browser find the page, and does that ask only what there is?"""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from swapcore_http.config import ApiKeyConfig
from swapcore_http.routes.needs import NEEDS
from swapcore_http.routes.pages import FOLDER, KINDS
from tests.http.serving import fake, serving

pytestmark = pytest.mark.anyio

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/", 302, "/ui"),
        ("/ui", 307, "/ui/"),
        ("/ui?x=%2F", 307, "/ui/?x=%2F"),
        ("/upstream", 302, "/ui/models"),
        ("/logs", 302, "/ui"),
    ],
)
async def test_people_are_sent_to_the_page(path: str, status: int, location: str) -> None:
    async with serving(fake("a")) as served:
        for method in ("GET", "HEAD"):
            got, fields, _ = await served.ask(method, path, headers=BROWSER)
            assert (got, fields["Location"]) == (status, location)


async def test_the_page_and_its_files() -> None:
    async with serving(fake("a")) as served:
        for path, name in [
            ("/ui/", "index.html"),
            ("/ui/models", "index.html"),
            ("/ui/some/where", "index.html"),
            ("/favicon.ico", "icon.svg"),
            *((f"/ui/{each}", each) for each in KINDS),
        ]:
            status, fields, body = await served.ask("GET", path)
            assert (status, fields["Content-Type"]) == (200, KINDS[name]), path
            assert body == (FOLDER / name).read_bytes(), path
            assert "script-src 'self';" in fields["Content-Security-Policy"]
            assert "unsafe" not in fields["Content-Security-Policy"]
            assert fields["X-Content-Type-Options"] == "nosniff"
        for path in (
            "/ui/page.jsx",
            "/ui/models/x.png",
            "/ui/../pyproject.toml",
            "/ui/%2e%2e/routes/pages.py",
        ):
            assert (await served.ask("GET", path))[0] in {307, 404}, path
        assert (await served.ask("POST", "/ui/"))[0] == 405


def test_every_file_of_the_folder_is_shown() -> None:
    assert {each.name for each in FOLDER.iterdir()} == set(KINDS)


async def test_browsers_ask_for_the_key() -> None:
    async with serving(fake("a"), api_keys=[ApiKeyConfig("k")]) as served:
        status, fields, _ = await served.ask("GET", "/ui/", headers=BROWSER)
        assert (status, fields["WWW-Authenticate"]) == (401, 'Basic realm="swapcore"')
        assert (await served.ask("GET", "/favicon.ico"))[0] == 200


def test_the_page_asks_routes_that_there_are() -> None:
    program = (FOLDER / "page.js").read_text(encoding="utf-8")
    asked = {re.sub(r"\?.*", "", path) for path in re.findall(r"[\"`](/api/[^\"`]*)", program)}
    known = {re.sub(r"\{\w+\}", "*", name.partition(" ")[2]) for name in NEEDS}
    assert {re.sub(r"\$\{[^}]*\}", "*", path) for path in asked} <= known
    assert len(asked) > 8


def test_the_page_runs_nothing_that_its_policy_forbids() -> None:
    program = (FOLDER / "page.js").read_text(encoding="utf-8")
    # What comes from requests and logs is shown as text, whatever it says.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.style\b", program)
    found: list[tuple[str, str | None]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend((f"{tag}.{name}", value) for name, value in attrs)

    Reader().feed((FOLDER / "index.html").read_text(encoding="utf-8"))
    assert not [name for name, _ in found if re.search(r"\.(on\w+|style)$", name)]
    links = [value for name, value in found if re.search(r"\.(src|href)$", name)]
    assert links == ["/favicon.ico", "/ui/page.css", "/ui/page.js"]
    # All that the program looks for is there.
    ids = {value for name, value in found if name.endswith(".id")}
    assert set(re.findall(r"\$\(\"([\w-]+)\"\)", program)) <= ids


@pytest.mark.skipif(shutil.which("node") is None, reason="there is nothing that reads JavaScript")
def test_the_program_can_be_read() -> None:
    subprocess.run(["node", "--check", str(FOLDER / "page.js")], check=True)  # noqa: S607 - whichever there is.
