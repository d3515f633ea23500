"""Is it seen which names and which pages are the server's own?"""

import pytest
from multidict import CIMultiDict

from swapcore_http.browsers import foreign_origin, is_known_host, is_listed


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8080", True),
        ("LocalHost.:8080", True),
        ("127.0.0.1", True),
        ("127.0.0.1:8080", True),
        ("127.8.9.1:1", True),
        ("[::1]", True),
        ("[::1]:8080", True),
        ("box.lan:8080", True),
        ("BOX.lan", True),
        ("one.lan:81", True),
        ("one.lan:82", False),
        ("one.lan", False),
        ("evil.example", False),
        ("localhost.evil.example:8080", False),
        ("evil.localhost.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.evil.example", False),
        ("0.0.0.0:8080", False),
        ("192.168.1.5:8080", False),
        ("[::2]:8080", False),
        ("[::1].evil.example", False),
        ("::1", True),
        ("", False),
        (":8080", False),
        ("localhost@evil.example", False),
        ("evil.example localhost", False),
    ],
)
def test_names_of_a_server_on_loopback(host: str, *, known: bool) -> None:
    assert is_known_host(host, ("Box.lan", "one.lan:81")) is known


def test_all_names_can_be_allowed() -> None:
    assert is_known_host("evil.example", ("*",))


@pytest.mark.parametrize(
    ("fields", "foreign"),
    [
        ({}, None),
        ({"Origin": "http://box:8080"}, None),
        ({"Origin": "http://BOX:8080"}, None),
        ({"Origin": "https://box:8080"}, None),
        ({"Origin": "http://box:8081"}, "http://box:8081"),
        ({"Origin": "http://evil.example"}, "http://evil.example"),
        ({"Origin": "http://box:8080.evil.example"}, "http://box:8080.evil.example"),
        ({"Origin": "null"}, "null"),
        ({"Origin": ""}, ""),
        ({"Origin": "http://[::1"}, "http://[::1"),
        ({"Sec-Fetch-Site": "cross-site"}, "another site"),
        ({"Sec-Fetch-Site": "same-site"}, "another site"),
        ({"Sec-Fetch-Site": "whatever"}, "another site"),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "https://ui.example/x?y"}, "https://ui.example"),
        ({"Sec-Fetch-Site": "cross-site", "Referer": "not a URL"}, "another site"),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://ui.example"}, "https://ui.example"),
        # Typed in by somebody, or the page behind a proxy that changes the Host.
        ({"Sec-Fetch-Site": "none"}, None),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://ui.example"}, None),
        # Where nothing else tells, a Referer is believed only if that is asked for.
        ({"Referer": "https://ui.example/"}, None),
    ],
)
def test_which_page_asks(fields: dict[str, str], foreign: str | None) -> None:
    assert foreign_origin(CIMultiDict({"Host": "box:8080", **fields})) == foreign


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        ("http://box", "box:80", False),
        ("http://box:80", "box", False),
        ("https://box", "box:443", False),
        ("https://box", "box:80", True),
        ("http://box", "box:8080", True),
        ("http://[::1]:8080", "[::1]:8080", False),
        ("http://box", "", True),
    ],
)
def test_ports_that_go_without_saying(origin: str, host: str, *, foreign: bool) -> None:
    found = foreign_origin(CIMultiDict({"Host": host, "Origin": origin}))
    assert found == (origin if foreign else None)


def test_a_referer_where_nothing_else_tells() -> None:
    for referer, foreign in [("http://evil.example/", "http://evil.example"), ("http://box/x", None)]:
        fields = CIMultiDict({"Host": "box", "Referer": referer})
        assert foreign_origin(fields, by_referer=True) == foreign


def test_origins_that_are_listed() -> None:
    listed = ("https://UI.example", "null")
    assert is_listed("https://ui.example", listed)
    assert is_listed("null", listed)
    assert not is_listed("http://ui.example", listed)
    assert not is_listed("https://ui.example:444", listed)
    assert not is_listed("https://ui.example.evil", listed)
    assert is_listed("anything", ("*",))
    assert not is_listed("anything", ())
