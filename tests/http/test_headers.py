"""Do header fields pass, and only those that should?"""

import time

import hypothesis
import pytest
from attrs import evolve
from hypothesis import strategies as st

from swapcore_http.framing import Fields, Framing, taken_whole
from swapcore_http.headers import (
    Client,
    HeadAround,
    Outgoing,
    Passing,
    Reply,
    make_reply,
    request_head,
    whole_reply,
)

Pairs = list[tuple[str, str]]

DATE = ("Date", "now")


def fields(pairs: Pairs) -> Fields:
    return tuple((name.encode(), value.encode()) for name, value in pairs)


def read(head: bytes) -> Pairs:
    """Take a head apart again, without its first line."""
    assert head.endswith(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:-2]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def sent(pairs: Pairs, **more: object) -> Pairs:
    """Return the fields that an upstream gets."""
    if not any(name.lower() == "host" for name, _ in pairs):
        pairs = [("Host", "x"), *pairs]
        return [each for each in sent(pairs, **more) if each != ("Host", "x")]
    outgoing = Outgoing("GET", "/", fields(pairs), **more)  # type: ignore[arg-type]
    return read(request_head(outgoing, host=b"own"))


def reply(pairs: Pairs, client: Client | None = None, *, method: str = "GET", status: int = 200) -> Reply:
    framing = Framing(method)
    lines = "".join(f"{name}: {value}\r\n" for name, value in [*pairs, DATE])
    framing.feed(f"HTTP/1.1 {status} Fine\r\n{lines}\r\n".encode())
    return make_reply(framing, client or Client(1, keep_alive=True))


def got(pairs: Pairs, **more: object) -> Pairs:
    """Return the fields that a client gets."""
    pairs = [("Content-Length", "1"), *pairs]
    result = read(reply(pairs, **more).head)  # type: ignore[arg-type]
    return [each for each in result if each not in (DATE, ("Content-Length", "1"))]


def test_fields_of_one_connection_stop_here() -> None:
    given = [
        ("Host", "models.example"),
        ("Connection", "keep-alive, X-Private"),
        ("Keep-Alive", "timeout=5"),
        ("X-Private", "for the next hop only"),
        ("TE", "trailers"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "websocket"),
        ("Proxy-Authorization", "Basic abc"),
        ("Proxy-Connection", "keep-alive"),
        ("Expect", "100-continue"),
        ("X-Swap-Priority", "1"),
        ("Authorization", "Bearer of the upstream"),
    ]
    assert sent(given) == [("Host", "models.example"), ("Authorization", "Bearer of the upstream")]


def test_tokens_of_all_connection_fields_count() -> None:
    given = [("Connection", "close"), ("Connection", " x-one , X-TWO "), ("X-One", "1"), ("X-two", "2")]
    assert not sent(given)
    assert not got(given)


def test_the_length_is_not_one_connections_business() -> None:
    """Who takes it away changes where the message ends."""
    given = [("Connection", "Content-Length")]
    assert read(reply([("Content-Length", "7"), *given]).head) == [("Content-Length", "7"), DATE]
    assert sent([*given, ("content-length", "9")], length=7) == [("content-length", "7")]


def test_repeated_fields_stay_repeated_and_in_order() -> None:
    given = [("Set-Cookie", "a=1"), ("X-Else", "x"), ("set-cookie", "b=2")]
    assert sent(given) == given
    assert got(given) == given


def test_client_is_appended_to_the_hops() -> None:
    assert sent([], client="10.0.0.9") == [("X-Forwarded-For", "10.0.0.9")]
    given = [("X-Forwarded-For", "1.1.1.1, 2.2.2.2"), ("x-forwarded-for", "3.3.3.3")]
    assert sent(given, client="10.0.0.9") == [("X-Forwarded-For", "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9")]
    assert sent(given) == [("X-Forwarded-For", "1.1.1.1, 2.2.2.2, 3.3.3.3")]


@pytest.mark.parametrize(
    ("given", "length", "chunked", "expected"),
    [
        ([], None, False, []),
        ([], 7, False, [("Content-Length", "7")]),
        ([("A", "1"), ("content-length", "9"), ("B", "2")], 7, False,
         [("A", "1"), ("content-length", "7"), ("B", "2")]),
        ([("Transfer-Encoding", "chunked")], 7, False, [("Content-Length", "7")]),
        ([("Transfer-Encoding", "chunked")], None, True, [("Transfer-Encoding", "chunked")]),
        ([("Content-Length", "9")], None, False, []),
    ],
)  # fmt: skip
def test_the_length_of_a_request_is_that_of_its_body(
    given: Pairs,
    length: int | None,
    chunked: bool,  # noqa: FBT001
    expected: Pairs,
) -> None:
    assert sent(given, length=length, chunked=chunked) == expected


def test_who_names_no_host_means_the_upstream() -> None:
    assert read(request_head(Outgoing("GET", "/", ()), host=b"own:1")) == [("Host", "own:1")]


def test_credentials_of_the_url_come_second() -> None:
    def authorization(pairs: Pairs) -> list[str]:
        head = request_head(Outgoing("GET", "/", fields(pairs)), host=b"x", authorization=b"Basic y")
        return [value for name, value in read(head) if name.lower() == "authorization"]

    assert authorization([]) == ["Basic y"]
    assert authorization([("authorization", "Bearer z")]) == ["Bearer z"]


def test_fields_are_left_out_and_added_as_asked() -> None:
    given = [("Authorization", "ours"), ("X-Else", "x")]
    more = {"without": frozenset({b"authorization"}), "extra": ((b"Authorization", b"theirs"),)}
    assert sent(given, **more) == [("X-Else", "x"), ("Authorization", "theirs")]


def test_an_upgrade_passes_only_if_that_is_wanted() -> None:
    given = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "k")]
    assert sent(given) == [("Sec-WebSocket-Key", "k")]
    upgraded = [("Sec-WebSocket-Key", "k"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
    assert sent(given, upgrade=True) == upgraded


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/\x00", "/\x7f"])
def test_a_target_cannot_end_its_line(target: str) -> None:
    with pytest.raises(ValueError, match="not a target"):
        request_head(Outgoing("GET", target, ()), host=b"x")


def test_expect_is_only_dropped_from_requests() -> None:
    assert got([("Expect", "x")]) == [("Expect", "x")]


def test_event_streams_are_not_to_be_collected_on_the_way() -> None:
    kind = ("content-type", "Text/Event-Stream; charset=utf-8")
    wish = ("X-Accel-Buffering", "yes")
    for given in ([kind, wish], [wish, kind], [kind]):
        assert got(given) == [kind, ("X-Accel-Buffering", "no")]
    assert got([("Content-Type", "application/json"), wish]) == [("Content-Type", "application/json"), wish]


def test_what_we_say_replaces_what_the_upstream_says() -> None:
    framing = Framing("GET")
    framing.feed(b"HTTP/1.1 200 OK\r\nx-swap-model: theirs\r\nDate: now\r\nContent-Length: 0\r\n\r\n")
    head = make_reply(framing, Client(1, keep_alive=True), ((b"X-Swap-Model", b"ours"),)).head
    assert read(head) == [DATE, ("Content-Length", "0"), ("X-Swap-Model", "ours")]


@pytest.mark.parametrize(
    ("pairs", "client", "expected", "passing", "lives"),
    [
        ([("Content-Length", "1")], Client(1, keep_alive=True), [], Passing.AS_FRAMED, True),
        ([("Content-Length", "1")], Client(1, keep_alive=False), [("Connection", "close")],
         Passing.AS_FRAMED, False),
        ([("Content-Length", "1")], Client(0, keep_alive=True), [("Connection", "keep-alive")],
         Passing.AS_FRAMED, True),
        ([("Content-Length", "1")], Client(0, keep_alive=False), [], Passing.AS_FRAMED, False),
        ([("Transfer-Encoding", "chunked")], Client(1, keep_alive=True), [("Transfer-Encoding", "chunked")],
         Passing.AS_FRAMED, True),
        ([("Transfer-Encoding", "chunked")], Client(0, keep_alive=True), [], Passing.CONTENT, False),
        ([], Client(1, keep_alive=True), [("Transfer-Encoding", "chunked")], Passing.IN_CHUNKS, True),
        ([], Client(0, keep_alive=True), [], Passing.CONTENT, False),
    ],
)  # fmt: skip
def test_the_form_of_a_body_is_one_that_the_client_understands(
    pairs: Pairs,
    client: Client,
    expected: Pairs,
    passing: Passing,
    lives: bool,  # noqa: FBT001
) -> None:
    result = reply(pairs, client)
    assert result.head.startswith(b"HTTP/1.%d 200 Fine\r\n" % client.minor)
    of_body = [each for each in read(result.head) if each not in (DATE, ("Content-Length", "1"))]
    assert (of_body, result.passing, result.keep_alive) == (expected, passing, lives)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
@pytest.mark.parametrize("pair", [("Content-Length", "5"), ("Transfer-Encoding", "chunked")])
def test_what_has_no_body_has_no_framing(method: str, status: int, pair: tuple[str, str]) -> None:
    result = reply([pair], method=method, status=status)
    kept = [pair] if pair[0] == "Content-Length" and status != 204 else []
    assert (read(result.head), result.keep_alive) == ([*kept, DATE], True)


def test_a_reply_that_is_remembered_has_the_date_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for now in (10**9, 10**9, 10**9 + 1):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        framing = Framing("GET")
        framing.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
        said.append(dict(read(make_reply(framing, Client(1, keep_alive=True)).head))["Date"])
    assert said == ["Sun, 09 Sep 2001 01:46:40 GMT"] * 2 + ["Sun, 09 Sep 2001 01:46:41 GMT"]


@pytest.mark.parametrize("extra", [(), ((b"X-Swap-Model", b"a"), (b"Vary", b"Origin"))])
@pytest.mark.parametrize(
    "pairs",
    [
        [("Content-Type", "application/json")],
        [("Content-Type", "text/event-stream"), DATE],
        [("Vary", "Accept"), ("X-Swap-Model", "theirs"), ("Keep-Alive", "timeout=5"), DATE],
        [("Connection", "keep-alive, X-Private"), ("X-Private", "1"), ("X-Accel-Buffering", "yes"), DATE],
    ],
)
def test_an_answer_taken_whole_gets_the_head_that_others_get(pairs: Pairs, extra: Fields) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in [*pairs, ("Content-Length", "2")])
    data = f"HTTP/1.1 200 Fine\r\n{lines}\r\n{{}}".encode()
    whole = taken_whole(data)
    assert whole is not None
    framing = Framing("POST")
    framing.feed(data)
    usual = make_reply(framing, Client(1, keep_alive=True), extra)
    assert usual.passing is Passing.AS_FRAMED
    assert usual.keep_alive

    def but_for_date(head: bytes) -> Pairs:
        return [each for each in read(head) if each[0] != "Date" or DATE in pairs]

    assert but_for_date(whole_reply(whole[0], extra)) == but_for_date(usual.head)


NAMES = (
    *(
        "Host",
        "host",
        "Content-Length",
        "CONTENT-LENGTH",
        "Connection",
        "connection",
        "Authorization",
        "X-One",
    ),
    *(
        "x-one",
        "X-Two",
        "X-Forwarded-For",
        "x-forwarded-for",
        "Expect",
        "Upgrade",
        "X-Swap-Priority",
        "Accept",
    ),
)
TOKENS = st.sampled_from(NAMES)
TEXTS = st.sampled_from(["", "1", "close", "keep-alive, X-One", "x-two,content-length", "host", "é", "%d: 5"])
LINES = st.lists(st.tuples(TOKENS, TEXTS), max_size=9)


@hypothesis.given(
    lines=LINES,
    lengths=st.lists(st.integers(0, 10**9), min_size=1, max_size=3),
    client=st.sampled_from([None, "1.2.3.4"]),
    without=st.frozensets(st.sampled_from([b"x-one", b"authorization", b"accept", b"content-length"])),
    extra=st.lists(st.tuples(st.just(b"X-Extra"), st.sampled_from([b"1", b"%b"])), max_size=2),
    base=st.sampled_from(["", "/base%20x"]),
    authorization=st.sampled_from([None, b"Basic abc"]),
)
def test_a_head_around_a_length_is_what_is_written_for_that_length(
    *,
    lines: Pairs,
    lengths: list[int],
    client: str | None,
    without: frozenset[bytes],
    extra: list[tuple[bytes, bytes]],
    base: str,
    authorization: bytes | None,
) -> None:
    asked = Outgoing(
        "POST", "/x?y=%25", fields(lines), client=client, length=0, without=without, extra=tuple(extra)
    )
    around = HeadAround.of(asked, host=b"own", base=base, authorization=authorization)
    for length in lengths:
        written = request_head(
            evolve(asked, length=length), host=b"own", base=base, authorization=authorization
        )
        assert around.with_length(length) == written
        assert written.lower().count(b"\r\ncontent-length: %d\r\n" % length) >= 1


def test_a_head_around_a_length_is_written_for_targets_only() -> None:
    with pytest.raises(ValueError, match="not a target"):
        HeadAround.of(Outgoing("POST", "/a b", (), length=0), host=b"own")
