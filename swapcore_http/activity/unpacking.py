"""How is a packed answer read piece by piece, however large it becomes?

What is not installed, or not known, cannot be read: `acceptable` keeps it out
of what upstreams are offered.
"""

import functools
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Protocol

__all__ = ["Unpack", "UnpackError", "acceptable", "unpacking"]

PIECE = 64 * 1024
"""Bytes that come out at a time."""


class UnpackError(Exception):
    """What came is not packed as its header says."""


Unpack = Callable[[bytes], Iterator[bytes]]
"""Takes the next bytes as they came, and gives out what they hold in pieces. Raises `UnpackError`."""


def unpacking(encoding: str) -> Unpack | None:
    """Return what unpacks an answer with that `Content-Encoding`; `None` if nothing here can."""
    maker = _maker(encoding.strip().lower())
    return None if maker is None else maker()


@functools.lru_cache(maxsize=256)
def acceptable(accepted: str) -> str:
    """Leave out of an `Accept-Encoding` what could not be read."""
    kept = []
    for part in accepted.split(","):
        name = part.partition(";")[0].strip().lower()
        if name == "identity" or _maker(name) is not None:
            kept.append(part.strip())
    return ", ".join(kept)


def _maker(name: str) -> Callable[[], Unpack] | None:
    if name in {"gzip", "x-gzip"}:
        return lambda: _inflating(31)
    if name == "deflate":
        return lambda: _inflating(None)
    if name == "zstd" and (zstd := _zstd()) is not None:
        return lambda: _bounded(zstd.ZstdDecompressor, zstd.ZstdError)
    if name == "br" and (brotli := _brotli()) is not None:
        return lambda: _brotli_unpacking(brotli)
    return None


@functools.cache
def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


@functools.cache
def _brotli() -> Any:
    try:
        module = import_module("brotli")
    except ImportError:
        return None
    # Only newer ones let it be said how much may come out at a time.
    return module if hasattr(module.Decompressor, "can_accept_more_data") else None


class _Bounded(Protocol):
    """What zstd's decompressors and Python's own have in common."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def _inflating(bits: int | None) -> Unpack:
    """Unpack gzip, or with `None` what calls itself deflate: with zlib's header or without."""
    inflater: Any = None if bits is None else zlib.decompressobj(bits)

    def unpack(data: bytes) -> Iterator[bytes]:
        nonlocal inflater
        if inflater is None and data:
            has_header = data[0] & 0x0F == 8  # noqa: PLR2004 - zlib's mark of deflate.
            inflater = zlib.decompressobj(15 if has_header else -15)
        try:
            more = bool(data)
            while more:
                if inflater.eof:
                    if bits is None:
                        return
                    # One gzip file can follow another.
                    inflater = zlib.decompressobj(bits)
                piece = inflater.decompress(data, PIECE)
                if piece:
                    yield piece
                data = inflater.unconsumed_tail or inflater.unused_data
                # What it may not give yet, it keeps.
                more = bool(data) or len(piece) == PIECE
        except zlib.error as error:
            raise UnpackError(str(error)) from error

    return unpack


def _bounded(make: Callable[[], _Bounded], failure: type[Exception]) -> Unpack:
    decompressor = make()

    def unpack(data: bytes) -> Iterator[bytes]:
        nonlocal decompressor
        try:
            while True:
                if decompressor.eof:
                    data = data or decompressor.unused_data
                    if not data:
                        return
                    decompressor = make()
                piece = decompressor.decompress(data, PIECE)
                data = b""
                if piece:
                    yield piece
                if not decompressor.eof and decompressor.needs_input:
                    return
        except failure as error:
            raise UnpackError(str(error)) from error

    return unpack


def _brotli_unpacking(brotli: Any) -> Unpack:
    decompressor = brotli.Decompressor()

    def unpack(data: bytes) -> Iterator[bytes]:
        try:
            while True:
                piece = decompressor.process(data, output_buffer_limit=PIECE)
                data = b""
                if piece:
                    yield piece
                # It may say so and still have more to give, if it has just given as much as it may.
                if len(piece) < PIECE and decompressor.can_accept_more_data():
                    return
        except brotli.error as error:
            raise UnpackError(str(error)) from error

    return unpack
