"""Does a body arrive as it was sent, wherever it was meanwhile, and leave nothing behind?"""

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from unittest import mock

import anyio
import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http import bodies
from swapcore_http.bodies import Bodies, Body, Kept, received, receiving
from swapcore_http.extract import Edit
from swapcore_http.responses import ApiError
from tests.http.processes import open_files

pytestmark = pytest.mark.anyio

SOME = bytes(range(256)) * 16


def arriving(*pieces: bytes, ended: bool = True) -> tuple[web.Request, StreamReader]:
    """Make a request that is sent in chunks, of which these have come."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = mock.Mock()
    stream = StreamReader(protocol, 2**20, loop=loop)
    for piece in pieces:
        stream.feed_data(piece)
    if ended:
        stream.feed_eof()
    request = make_mocked_request("POST", "/", headers={"Transfer-Encoding": "chunked"}, payload=stream)
    return request, stream


async def collected(body: Body) -> bytes:
    return b"".join([piece async for piece in body.pieces()])


@asynccontextmanager
async def kept(*pieces: bytes, room: int) -> AsyncIterator[Body]:
    limits = Bodies(1 << 30, room)
    request, _ = arriving(*pieces)
    files = open_files()
    async with received(request, limits) as body:
        yield body
    assert limits.room == room
    assert open_files() == files


@pytest.mark.parametrize("room", [0, 10, 1 << 20], ids=["file", "memory, then file", "memory"])
async def test_it_is_the_same_wherever_it_is_kept(room: int) -> None:
    async with kept(b"01234567", b"89abcdef", SOME, room=room) as body:
        expected = b"0123456789abcdef" + SOME
        assert body.whole
        assert body.length == len(expected)
        assert body.data == (expected if room == 1 << 20 else None)
        assert body.read(6, 4) == b"6789"
        assert [await collected(body) for _ in range(2)] == [expected, expected]


async def test_no_body() -> None:
    for take in (received, receiving):
        async with take(make_mocked_request("GET", "/"), Bodies(0)) as body:
            assert (body.whole, body.length, body.data, await collected(body)) == (True, 0, b"", b"")


async def test_what_is_long_goes_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "IN_MEMORY", 100)
    limits = Bodies(1 << 20, 1000)
    request, stream = arriving(b"x" * 60, ended=False)
    async with receiving(request, limits) as body:
        await anyio.wait_all_tasks_blocked()
        assert limits.room == 940
        stream.feed_data(b"y" * 60)
        while limits.room != 1000:  # noqa: ASYNC110 - a thread writes it.
            await anyio.sleep(0.001)
        assert not body.whole
        stream.feed_data(b"z")
        stream.feed_eof()
        assert await collected(body) == b"x" * 60 + b"y" * 60 + b"z"


@given(
    data=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=8),
    news=st.lists(st.binary(max_size=5), min_size=4, max_size=4),
    in_file=st.booleans(),
    piece=st.integers(1, 50),
)
def test_edits_replace_what_they_say(
    data: bytes, cuts: Sequence[int], news: Sequence[bytes], *, in_file: bool, piece: int
) -> None:
    places = sorted(min(cut, len(data)) for cut in cuts)
    edits: list[Edit] = [
        (start, end, new) for start, end, new in zip(places[::2], places[1::2], news, strict=False)
    ]
    expected = data
    for start, end, new in reversed(edits):
        expected = expected[:start] + new + expected[end:]

    async def check() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bodies, "PIECE", piece)
            keep = Kept(Bodies(1 << 20, 0 if in_file else 1 << 20))
            try:
                await keep.add(data)
                body = Body(keep).edited(edits)
                assert body.length == len(expected)
                assert body.data in (None, expected)
                assert await collected(body) == expected
                assert await collected(body) == expected
            finally:
                keep.close()

    anyio.run(check)


@pytest.mark.parametrize("take", [received, receiving])
@pytest.mark.parametrize("headers", [{"Content-Length": "11"}, {"Transfer-Encoding": "chunked"}])
async def test_too_long(take: type, headers: dict[str, str]) -> None:
    _, stream = arriving(b"x" * 11)
    request = make_mocked_request("POST", "/", headers=headers, payload=stream)
    limits = Bodies(10)
    with pytest.raises(ApiError) as caught:
        async with take(request, limits):
            await anyio.sleep_forever()
    assert caught.value.status == 413
    assert "maxBodyMB" in caught.value.message
    assert limits.room == bodies.ALL_IN_MEMORY


async def test_too_long_when_it_is_passed_on() -> None:
    request, stream = arriving(b"x" * 8, ended=False)
    with pytest.raises(ApiError) as caught:
        async with receiving(request, Bodies(10)) as body:
            pieces = body.pieces()
            assert await anext(pieces) == b"x" * 8
            stream.feed_data(b"x" * 8)
            await anext(pieces)
    assert caught.value.status == 413


@pytest.mark.parametrize("take", [received, receiving])
async def test_framing_is_broken(take: type) -> None:
    request, stream = arriving(b"half of", ended=False)
    stream.set_exception(web.RequestPayloadError("not hex"))
    with pytest.raises(ApiError) as caught:
        async with take(request, Bodies(100)):
            await anyio.sleep_forever()
    assert caught.value.status == 400


@pytest.mark.parametrize("take", [received, receiving])
@pytest.mark.parametrize(
    ("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EMFILE, 503)]
)
async def test_no_place_to_keep_it(
    take: type, number: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(bodies, "TemporaryFile", fail)
    request, _ = arriving(SOME, ended=False)
    limits = Bodies(1 << 20, 10)
    with pytest.raises(ApiError) as caught:
        async with take(request, limits):
            await anyio.sleep_forever()
    assert caught.value.status == status
    assert os.strerror(number) in caught.value.message
    assert limits.room == 10


async def test_disk_becomes_full_on_the_way() -> None:
    """The device says so at the first write, as a disk does that has become full."""
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: ASYNC230, PTH123 - a device.
        limits = Bodies(1 << 20, 100)
        keep = Kept(limits)
        await keep.add(b"x" * 60)
        keep._file = full
        with pytest.raises(ApiError) as caught:
            await keep.add(b"y" * 60)
        assert caught.value.status == 507
        keep.close()
    assert limits.room == 100


async def test_file_has_no_name(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("spool")
    request, _ = arriving(SOME)
    async with received(request, Bodies(1 << 20, 0, str(folder))) as body:
        assert body.data is None
        assert list(folder.iterdir()) == []


async def test_order_is_kept_whenever_it_is_wanted() -> None:
    """It is wanted while pieces still come, some of which are being written by a thread."""
    for wanted_after in range(0, 40, 3):
        request, stream = arriving(ended=False)
        digest = hashlib.sha256()

        async def send(stream: StreamReader = stream) -> None:
            for number in range(40):
                stream.feed_data(b"%05d" % number * 1000)
                await checkpoint()
            stream.feed_eof()

        async with receiving(request, Bodies(1 << 20, 30_000)) as body, anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            for _ in range(wanted_after):
                await checkpoint()
            digest.update(await collected(body))
        assert digest.digest() == hashlib.sha256(b"".join(b"%05d" % n * 1000 for n in range(40))).digest()
