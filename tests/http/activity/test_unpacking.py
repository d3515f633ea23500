"""Is a packed answer read whole, in bounded pieces, however it is cut up?"""

import gzip
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.activity import unpacking as module
from swapcore_http.activity.unpacking import PIECE, UnpackError, acceptable, unpacking

# The package that Python took over has the same name within another one.
zstd = module._zstd()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    (" GZIP ", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", zstd.compress),
]


def unpacked(encoding: str, pieces: list[bytes]) -> bytes:
    unpack = unpacking(encoding)
    assert unpack is not None
    out = [piece for data in pieces for piece in unpack(data)]
    assert all(len(piece) < 2 * PIECE for piece in out)
    return b"".join(out)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
@pytest.mark.parametrize("size", [1, 7, 1000, 10**9])
# The last two are a bomb, and exactly as much as may come out at a time.
@pytest.mark.parametrize("body", [b"", b"x", b"\0" * 3_000_000, b"y" * PIECE])
def test_what_was_packed_comes_out(
    encoding: str, pack: Callable[[bytes], bytes], size: int, body: bytes
) -> None:
    assert unpacked(encoding, cut(pack(body), size)) == body


@given(st.sampled_from(PACKED), st.binary(max_size=300), st.integers(1, 50))
def test_any_body_in_any_pieces(packed: tuple[str, Callable[[bytes], bytes]], body: bytes, size: int) -> None:
    encoding, pack = packed
    assert unpacked(encoding, cut(pack(body), size)) == body


@pytest.mark.parametrize(("encoding", "pack"), [PACKED[0], PACKED[-1]])
@pytest.mark.parametrize("size", [1, 5, 10**9])
def test_one_file_can_follow_another(encoding: str, pack: Callable[[bytes], bytes], size: int) -> None:
    assert unpacked(encoding, cut(pack(b"one ") + pack(b"two"), size)) == b"one two"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_packed_is_an_error(encoding: str) -> None:
    with pytest.raises(UnpackError):
        unpacked(encoding, [b"\xff\xfe\xfd\xfc this was never packed" * 10])


@pytest.mark.parametrize("encoding", ["", "identity", "compress", "gzip, br", "snappy"])
def test_what_cannot_be_unpacked(encoding: str) -> None:
    assert unpacking(encoding) is None


@pytest.mark.parametrize(
    ("accepted", "kept"),
    [
        ("gzip, deflate", "gzip, deflate"),
        ("gzip;q=0.5,compress, deflate ;q=1", "gzip;q=0.5, deflate ;q=1"),
        ("GZip, X-GZIP", "GZip, X-GZIP"),
        ("identity;q=0, *", "identity;q=0"),
        ("snappy", ""),
        ("", ""),
        ("br, zstd", "br, zstd"),
    ],
)
def test_acceptable(accepted: str, kept: str) -> None:
    assert acceptable(accepted) == kept


def test_what_is_not_installed_is_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_zstd", lambda: None)
    monkeypatch.setattr(module, "_brotli", lambda: None)
    acceptable.cache_clear()
    try:
        assert acceptable("br, zstd, gzip") == "gzip"
        assert unpacking("br") is None
    finally:
        acceptable.cache_clear()
