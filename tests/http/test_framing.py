"""Are answers told apart exactly as a second parser does it, however they are cut into pieces?"""

import string
from collections.abc import Iterable, Iterator
from itertools import pairwise

import h11
import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.framing import MAX_HEAD, Framing, FramingError, taken_whole

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@frozen
class Read:
    """What a parser makes of a connection's bytes."""

    status: int
    fields: list[tuple[bytes, bytes]]
    content: bytes
    rest: bytes
    """What came after the answer's end."""


def ours(pieces: list[bytes], method: str = "GET") -> Read:
    framing = Framing(method)
    content = body = rest = b""
    for number, piece in enumerate(pieces):
        begun = framing.head is not None
        spans = framing.feed(piece)
        if framing.head is not None:
            # The framed body starts where the last one stopped, and the content lies in it, in order.
            assert framing.start == 0 if begun else framing.start <= framing.end
            body += piece[framing.start : framing.end]
        edges = [framing.start, *(edge for span in spans for edge in span), framing.end]
        assert edges == sorted(edges)
        assert all(end > start for start, end in spans)
        content += b"".join(piece[start:end] for start, end in spans)
        if framing.ended:
            rest = piece[framing.end :] + b"".join(pieces[number + 1 :])
            break
    else:
        framing.finish()
    assert framing.head is not None
    assert framing.ended
    if not framing.chunked:
        assert content == body
    return Read(framing.head.status, normal(framing.head.fields), content, rest)


def normal(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Write in lower case what h11 does."""
    lower = ((name.lower(), value) for name, value in fields)
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in lower]


def theirs(data: bytes, method: str = "GET") -> Read:
    """Have h11 read the same."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x"), ("Connection", "keep-alive")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    closed = False
    status, fields, content = 0, [], b""
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            assert not closed
            closed = True
            parser.receive_data(b"")
        elif isinstance(event, h11.Response):
            status, fields = event.status_code, normal(event.headers)
        elif isinstance(event, h11.Data):
            content += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Read(status, fields, content, parser.trailing_data[0])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut data at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


NAMES = st.text(string.ascii_letters + string.digits + "-_!", min_size=1, max_size=12).map(
    lambda name: f"x-{name}"
)
VALUES = st.text(string.ascii_letters + string.punctuation + " \t\xe9", max_size=20)
PLACES = st.lists(st.integers(0, 10_000), max_size=30)


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes]:
    """Make a lawful answer to a method, perhaps after interim ones, perhaps with more after its end."""
    method = draw(st.sampled_from(["GET", "POST", "HEAD"]))
    status = draw(st.sampled_from([200, 200, 200, 204, 304, 404, 500]))
    pairs = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    body = draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    bodiless = method == "HEAD" or status in {204, 304}
    if framing == "length" and not (bodiless and draw(st.booleans())):
        pairs.append(("Content-Length", str(len(body))))
    elif framing == "chunks":
        pairs.append(("Transfer-Encoding", draw(st.sampled_from(["chunked", "Chunked"]))))
        body = b"".join(draw(chunks(body)))
    draw(st.randoms()).shuffle(pairs)
    spaces = st.sampled_from(["", " ", "  ", "\t"])
    lines = "".join(f"{name}:{draw(spaces)}{value}\r\n" for name, value in pairs)
    reason = draw(st.sampled_from(["", " ", " OK", " Rather Fine"]))
    interim = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * draw(st.integers(0, 2))
    head = f"HTTP/1.1 {status}{reason}\r\n{lines}\r\n".encode("latin-1")
    ends_itself = bodiless or framing != "close"
    rest = draw(st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n"])) if ends_itself else b""
    return method, interim + head + (b"" if bodiless else body) + rest


@st.composite
def chunks(draw: st.DrawFn, body: bytes) -> Iterator[bytes]:
    sizes = draw(st.lists(st.integers(1, 20), max_size=20))
    pieces = []
    for size in [*sizes, len(body)]:
        if body[:size]:
            written = draw(st.sampled_from(["%x", "%X", "0%x", "%x;a=b"])) % len(body[:size])
            pieces.append(written.encode() + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: 1\r\nB: 2\r\n"]))
    return iter([*pieces, draw(st.sampled_from([b"0", b"000"])) + b"\r\n" + trailer + b"\r\n"])


@given(answers(), PLACES)
def test_every_answer_is_read_as_h11_reads_it(answer: tuple[str, bytes], places: list[int]) -> None:
    method, data = answer
    expected = theirs(data, method)
    assert ours([data], method) == expected
    assert ours(cut(data, places), method) == expected
    assert ours([bytes([byte]) for byte in data], method) == expected


@pytest.mark.parametrize("size", [1, 15, 16, 17, 255, 256, 257, 4095, 4096, 70_000])
@pytest.mark.parametrize("written", ["%x", "%X", "0%x", "%x;a=b"])
def test_chunks_that_come_one_by_one_are_read(size: int, written: str) -> None:
    pieces = [f"{written % size}\r\n{'x' * size}\r\n".encode()] * 3
    assert ours([CHUNKED, *pieces, b"0\r\n\r\n"]).content == b"x" * size * 3


@pytest.mark.parametrize(
    "pieces",
    [
        # What looks like a whole chunk, but is part of another one, of its size, or of the trailer.
        [b"a\r\n", b"5\r\nhello\r\n", b"\r\n"],
        [b"a\r\n5", b"2\r\nhe\r\n", b"xx\r\n"],
        [b"1", b"5\r\nhello\r\n", b"0123456789abcd\r\n"],
        [b"0\r\n", b"5\r\nhello\r\n", b"\r\n"],
        # What lies about its size.
        [b"5\r\nhelloXX"],
        [b"5\r\nhello\n\n"],
        [b"6\r\nhello\r\n"],
        [b"4\r\nhello\r\n"],
        [b"10\r\n0123456789abcde\r\n"],
        [b"5\r\nhello\r\n\r\n"],
        # What says it as it must not.
        [b"0x5\r\nhello\r\n"],
        [b"+5\r\nhello\r\n"],
        [b" 5\r\nhello\r\n"],
        [b"5\nhello\r\n"],
    ],
)
def test_what_looks_like_a_whole_chunk_is_read_as_byte_by_byte(pieces: list[bytes]) -> None:
    pieces = [*pieces, b"0\r\n\r\n"]
    try:
        expected = ours([CHUNKED, *(bytes([byte]) for byte in b"".join(pieces))])
    except FramingError:
        with pytest.raises(FramingError):
            ours([CHUNKED, *pieces])
    else:
        assert ours([CHUNKED, *pieces]) == expected


def check_taken_whole(data: bytes, method: str = "POST") -> bool:
    """See to it that what is taken whole is what a framing makes of the same, and say whether it is."""
    whole = taken_whole(data)
    if whole is None:
        return False
    head, start = whole
    framing = Framing(method)
    assert framing.feed(data) == ([(start, len(data))] if start < len(data) else [])
    assert framing.ended
    assert framing.kept
    assert framing.end == len(data)
    assert framing.head is head
    return True


@given(answers().filter(lambda answer: answer[0] != "HEAD"), st.integers(0, 200))
def test_what_is_taken_whole_is_read_as_otherwise(answer: tuple[str, bytes], less: int) -> None:
    data = answer[1]
    check_taken_whole(data)
    check_taken_whole(data[:-less] if less else data + b"x")


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (OK + b"Content-Length: 2\r\n\r\n{}", True),
        (OK + b"content-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}", False),
        (OK + b"Content-Length: 2\r\n\r\n{", False),
        (OK + b"Content-Length: 2\r\n\r\n{} ", False),
        (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", False),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", False),
        (OK + b"\r\n", False),
        (OK + b"Content-Length: 2\n\n{}", False),
        (CHUNKED + b"0\r\n\r\n", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n", False),
        (b"garbage", False),
        (OK + b"X: " + b"x" * 2000 + b"\r\nContent-Length: 0\r\n\r\n", False),
    ],
)
def test_which_answers_are_taken_whole(data: bytes, whole: bool) -> None:  # noqa: FBT001
    assert check_taken_whole(data) is whole


@given(
    answers(),
    st.lists(
        st.tuples(st.integers(0, 10_000), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=3
    ),
    PLACES,
)
def test_what_is_mangled_is_refused_or_read_alike(
    answer: tuple[str, bytes], changes: list[tuple[int, bytes, int]], places: list[int]
) -> None:
    """It may be stricter than h11, but must not find another answer in the same bytes."""
    method, data = answer
    for place, new, old in changes:
        at = place % (len(data) + 1)
        data = data[:at] + new + data[at + old :]
    try:
        read = ours([data], method)
    except FramingError:
        # Cut into pieces it is refused too.
        with pytest.raises(FramingError):
            ours(cut(data, places), method)
        return
    assert ours(cut(data, places), method) == read
    # What h11 does not read: another protocol's start, and a space that RFC 9112, section 7.1.1 allows.
    if read.status != 101 and b" ;" not in data:
        assert theirs(data, method) == read


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "Bad status line"),
        (b"HTTP/2 200\r\n\r\n", "Bad status line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "Bad status line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "Bad status line"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "Bad status line"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "Bad status line"),
        (OK + b"A : 1\r\n\r\n", "Malformed header field"),
        (OK + b"A\r\n\r\n", "Malformed header field"),
        (OK + b": 1\r\n\r\n", "Malformed header field"),
        (OK + b"A: 1\r\n folded\r\n\r\n", "Malformed header field"),
        (OK + b"A: 1\r\n\tfolded\r\n\r\n", "Malformed header field"),
        (OK + b"A: \0\r\n\r\n", "Malformed header field"),
        (OK + b"A: 1\rB: 2\r\n\r\n", "Malformed header field"),
        (OK + b"A: 1\nB: 2\r\n\r\n", "Malformed header field"),
        (OK + b"A: 1\n\n", "Bare line feed in its head"),
        (b"HTTP/1.1 200 OK\n", "Bare line feed in its head"),
        (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "More than one Content-Length"),
        (OK + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\n", "More than one Content-Length"),
        (OK + b"Content-Length: 1, 1\r\n\r\n", "Bad Content-Length"),
        (OK + b"Content-Length: +1\r\n\r\n", "Bad Content-Length"),
        (OK + b"Content-Length: -1\r\n\r\n", "Bad Content-Length"),
        (OK + b"Content-Length: 1_0\r\n\r\n", "Bad Content-Length"),
        (OK + b"Content-Length:\r\n\r\n", "Bad Content-Length"),
        (OK + b"Content-Length: 9999999999999999999\r\n\r\n", "Bad Content-Length"),
        (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "Both Content-Length and Transfer-Encoding"),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Unknown Transfer-Encoding"),
        (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", "Unknown Transfer-Encoding"),
        (OK + b"Transfer-Encoding: xchunked\r\n\r\n", "Unknown Transfer-Encoding"),
        (CHUNKED + b"g\r\n", "Bad chunk size"),
        (CHUNKED + b"-1\r\n", "Bad chunk size"),
        (CHUNKED + b"0x1\r\n", "Bad chunk size"),
        (CHUNKED + b"1_0\r\n", "Bad chunk size"),
        (CHUNKED + b" 1\r\n", "Bad chunk size"),
        (CHUNKED + b"1 \r\n", "Bad chunk size"),
        (CHUNKED + b"\r\n", "Bad chunk size"),
        (CHUNKED + b"1\na\r\n", "Bad chunk size"),
        (CHUNKED + b"1;a\0\r\n", "Bad chunk size"),
        (CHUNKED + b"1111111111111111\r\n", "Bad chunk size"),
        (CHUNKED + b"1\r\nab", "A chunk is longer than its size"),
        (CHUNKED + b"1\r\na\n", "A chunk is longer than its size"),
        (CHUNKED + b"1\r\na\r\r\n", "A chunk is longer than its size"),
        (CHUNKED + b"0\r\nno field\r\n", "Malformed trailer field"),
        (CHUNKED + b"0\r\n\n", "Malformed trailer field"),
        (CHUNKED + b"1;" + b"a" * 5000, "Overlong line between chunks"),
        (OK + b"A: " + b"x" * MAX_HEAD, f"Its head is longer than {MAX_HEAD} bytes"),
        (CHUNKED + b"0\r\n" + b"A: x\r\n" * (MAX_HEAD // 6 + 1), "Too much after the last chunk"),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_as_soon_as_it_is_there(data: bytes, why: str) -> None:
    with pytest.raises(FramingError, match=f"^{why}$".replace("(", r"\(")):
        Framing("GET").feed(data)
    framing = Framing("GET")
    with pytest.raises(FramingError):
        for start in range(0, len(data), 997):
            framing.feed(data[start : start + 997])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "began"),
        (b"HTT", "began"),
        (OK + b"Content-Length: 2\r\n\r\na", "ended"),
        (CHUNKED, "ended"),
        (CHUNKED + b"1\r\na\r\n0\r\n", "ended"),
        (CHUNKED + b"1\r\na\r\n0\r\n\r", "ended"),
    ],
)
def test_what_breaks_off_has_not_ended(data: bytes, why: str) -> None:
    framing = Framing("GET")
    if data:
        framing.feed(data)
    with pytest.raises(FramingError, match=f"closed before the answer {why}"):
        framing.finish()


def test_a_chunk_may_have_extensions() -> None:
    assert ours([CHUNKED + b'2 ;a=b;c="d;e"\r\nab\r\n0;x\r\n\r\n']).content == b"ab"


def test_a_failed_connection_ends_no_answer() -> None:
    framing = Framing("GET")
    framing.feed(OK + b"\r\nsome of it")
    with pytest.raises(FramingError, match="closed before the answer ended"):
        framing.finish(in_order=False)
    framing.finish()
    assert framing.ended


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        # Who says 1.0 and chunks is not to be trusted with a second answer.
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
    ],
)
def test_which_connections_serve_again(head: bytes, kept: bool) -> None:  # noqa: FBT001
    framing = Framing("GET")
    framing.feed(head)
    assert framing.kept is kept


def test_a_switch_of_protocols_ends_the_answer() -> None:
    framing = Framing("GET")
    data = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x81\x00"
    framing.feed(data)
    assert framing.ended
    assert data[framing.end :] == b"\x81\x00"
