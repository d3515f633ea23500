"""Where is a request's body from its arrival until its upstream has it?

A body is in memory while it is small and there is room for it there, and from
then on in a file that has no name and so cannot be left behind. What all
bodies together have in memory is bounded, and so is the length of each.
"""

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from io import FileIO
from tempfile import TemporaryFile
from typing import Self

import aiohttp
import anyio
from aiohttp import web
from anyio import to_thread
from attrs import define, field

from swapcore_http.bigbody import Windows
from swapcore_http.extract import Edit, edited
from swapcore_http.hangup import watching
from swapcore_http.responses import ApiError

__all__ = ["Bodies", "Body", "received", "receiving"]

logger = logging.getLogger(__name__)

IN_MEMORY = 8 * 1024 * 1024
"""Bytes of one body that are held in memory; all of a longer one goes to a file."""

ALL_IN_MEMORY = 256 * 1024 * 1024
"""Bytes of all bodies together that are held in memory."""

PIECE = 256 * 1024
"""Bytes of a body that are handed on at a time."""

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says where there is no room for a file."""

LASTING = "/var/tmp"  # noqa: S108 - files there have no names.
"""Where files are unless `TMPDIR` says otherwise: `/tmp` is often a part of the memory that is spared."""


@define(eq=False, repr=False)
class Bodies:
    """What all bodies share."""

    largest: int
    """Bytes that one of them may have."""

    room: int = ALL_IN_MEMORY
    """Bytes that are still free for them in memory."""

    folder: str | None = None
    """Where the files are made; None for the system's place for what is large and short-lived."""

    def take(self, size: int) -> bool:
        """Take that much room in memory, if there is as much."""
        if size > self.room:
            return False
        self.room -= size
        return True

    def give_back(self, size: int) -> None:
        """Give room back."""
        self.room += size

    def too_large(self) -> ApiError:
        """Say what is the matter with a body that is too large."""
        message = f"the body has more than {self.largest} bytes; maxBodyMB sets how many it may have"
        return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)


class Kept:
    """The part of a body that has come."""

    __slots__ = ("_bodies", "_file", "_pieces", "_taken", "size")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._pieces: list[bytes] = []
        self._taken = 0
        self._file: FileIO | None = None
        self.size = 0

    async def add(self, piece: bytes) -> None:
        """Keep one piece more.

        Raises:
            ApiError: there is no room for it.
        """
        if self._file is None:
            if self.size + len(piece) <= IN_MEMORY and self._bodies.take(len(piece)):
                self._pieces.append(piece)
                self._taken += len(piece)
                self.size += len(piece)
                return
            await self._write(b"".join(self._pieces))
            self._leave_memory()
        await self._write(piece)
        self.size += len(piece)

    def add_at_once(self, content: aiohttp.StreamReader) -> bytes | None:
        """Keep and return all of a body that has come, if there is room for it in memory.

        Raises:
            ApiError: it is too long.
        """
        size, bodies = content.total_bytes, self._bodies
        if size > bodies.largest:
            raise bodies.too_large()
        if size > IN_MEMORY or not bodies.take(size):
            return None
        self._taken = self.size = size
        data = content.read_nowait()
        self._pieces.append(data)
        return data

    def data(self) -> bytes | None:
        """Return all of it in one piece, if it is in memory."""
        if self._file is not None:
            return None
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def read(self, start: int, size: int) -> bytes:
        """Return so many bytes from there; of a file that can take time."""
        if self._file is not None:
            return os.pread(self._file.fileno(), size, start)
        data = self.data()
        return b"" if data is None else data[start : start + size]

    def close(self) -> None:
        """Give back what it takes up."""
        self._leave_memory()
        if self._file is not None:
            self._file.close()

    def _leave_memory(self) -> None:
        self._bodies.give_back(self._taken)
        self._taken = 0
        self._pieces = []

    async def _write(self, data: bytes) -> None:
        try:
            # Neither half a piece nor none may be kept of what has been read.
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._write_all, data)
        except OSError as error:
            why = error.strerror or str(error)
            logger.warning("a request's body cannot be kept: %s", why)
            no_room = error.errno in NO_ROOM
            status = HTTPStatus.INSUFFICIENT_STORAGE if no_room else HTTPStatus.SERVICE_UNAVAILABLE
            raise ApiError(status, f"the server has no place to keep the body in: {why}") from error

    def _write_all(self, data: bytes) -> None:
        if self._file is None:
            folder = self._bodies.folder or _folder()
            # Closed by `close`; there is no name for it to be found by.
            self._file = TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def _folder() -> str | None:
    usable = "TMPDIR" not in os.environ and os.access(LASTING, os.W_OK | os.X_OK)
    return LASTING if usable else None


class Rest:
    """The part of a body that is still to come, which is kept until somebody wants it as it comes.

    Args:
        request: Whose body it is.
        bodies: What it shares with others.
        kept: Where it is kept.
    """

    def __init__(self, request: web.Request, bodies: Bodies, kept: Kept) -> None:
        self._content = request.content
        self._bodies = bodies
        self._kept = kept
        self._seen = 0
        self._stopped = False
        self._reading: anyio.CancelScope | None = None
        self._ahead: asyncio.Task[None] | None = None
        self._block: anyio.CancelScope | None = None
        self._fault: ApiError | None = None
        self.announced = request.content_length
        self.ended = False

    async def keep(self) -> None:
        """Read and keep it all.

        Raises:
            ApiError: it is too long, broken, or there is no room for it.
        """
        # While there is always a next piece, nothing here waits where it can be cancelled.
        while not self._stopped and (piece := await self._next()):
            await self._kept.add(piece)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Read and keep it meanwhile, until it is wanted.

        Raises:
            ApiError: likewise, also for what is read after that; the block is cancelled.
        """
        with anyio.CancelScope() as self._block:
            self._ahead = asyncio.ensure_future(self._keep_ahead())
            try:
                yield
            finally:
                # aiohttp reads what is left of the body, and nobody else may be reading then.
                await self.stop()
        if self._block.cancelled_caught and self._fault is not None:
            raise self._fault

    async def stop(self) -> None:
        """Keep no more of it than is kept now."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()
        if self._ahead is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait([self._ahead])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what has not been kept, as it comes.

        Raises:
            ApiError: it is too long or broken.
        """
        with self._failing():
            while piece := await self._next():
                yield piece

    async def _keep_ahead(self) -> None:
        # If the client hangs up, aiohttp cancels who answers it.
        self._reading = anyio.CancelScope()
        if self._stopped:
            return
        with self._reading, suppress(ApiError, ConnectionError), self._failing():
            await self.keep()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Cancel what is done with the body if it cannot be had."""
        try:
            yield
        except ApiError as error:
            self._fault = error
            if self._block is not None:
                self._block.cancel()
            raise

    async def _next(self) -> bytes:
        """Read the next piece; there is none after the last."""
        if self.ended:
            return b""
        try:
            piece = await self._content.readany()
        except web.RequestPayloadError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, "the request's body is malformed") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # The last is what aiohttp says of a connection that ended before it was read from.
            raise ConnectionResetError("the client has hung up") from error
        self.ended = not piece
        self._seen += len(piece)
        if self._seen > self._bodies.largest:
            raise self._bodies.too_large()
        return piece


@define(eq=False, repr=False)
class Body:
    """A request's body as its upstream is to get it."""

    _kept: Kept
    _rest: Rest | None = None
    _edits: tuple[Edit, ...] = ()
    _data: bytes | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Make a body of these bytes, outside of all accounts."""
        return cls(Kept(Bodies(0)), data=data)

    @property
    def whole(self) -> bool:
        """Whether all of it has come, and so can be sent once more."""
        return self._rest is None or self._rest.ended

    @property
    def length(self) -> int | None:
        """Its length in bytes, if that is known."""
        if self._data is not None:
            return len(self._data)
        if not self.whole:
            return None if self._rest is None else self._rest.announced
        if not self._edits:
            return self._kept.size
        return self._kept.size + sum(len(new) - (end - start) for start, end, new in self._edits)

    @property
    def data(self) -> bytes | None:
        """All of it, if it is whole and in memory in one piece."""
        if self._data is None and self.whole and not self._edits:
            self._data = self._kept.data()
        return self._data

    def content(self) -> bytes | Windows:
        """Return what a whole body says, without its edits, so that it can be looked through in a thread."""
        data = self.data
        return Windows(self._kept.read, self._kept.size) if data is None else data

    def read(self, start: int, size: int) -> bytes:
        """Return so many bytes of a whole body from there, without its edits; call it in a thread.

        Raises:
            OSError: it is in a file that cannot be read.
        """
        return self._kept.read(start, size) if self._data is None else self._data[start : start + size]

    def edited(self, edits: list[Edit]) -> "Body":
        """Make a whole body that has other bytes in some places, given in ascending order."""
        data = self.data
        if data is None or len(data) > PIECE:
            return Body(self._kept, self._rest, tuple(edits))
        return Body.of(edited(data, edits))

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield all of it, piece by piece: more than once only if it is whole.

        Raises:
            ApiError: the rest of it is too long or broken.
            OSError: it is in a file that cannot be read.
        """
        if self._rest is not None:
            await self._rest.stop()
        if self._data is not None:
            for start in range(0, len(self._data), PIECE):
                yield self._data[start : start + PIECE]
            return
        position = 0
        for start, end, new in (*self._edits, (self._kept.size, self._kept.size, b"")):
            async for piece in self._between(position, start):
                yield piece
            if new:
                yield new
            position = end
        if self._rest is not None and not self._rest.ended:
            # What is sent and not whole is needed no more.
            self._kept.close()
            async for piece in self._rest.pieces():
                yield piece

    async def _between(self, start: int, end: int) -> AsyncIterator[bytes]:
        in_memory = self._kept.data() is not None
        while start < end:
            size = min(PIECE, end - start)
            read = self._kept.read
            piece = read(start, size) if in_memory else await to_thread.run_sync(read, start, size)
            start += len(piece)
            yield piece


class received:  # noqa: N801 - it is used as the functions here are.
    """Read a request's whole body; it is kept until the block ends.

    Raises:
        ApiError: it is too long, its framing is broken, or there is no room for it.
    """

    __slots__ = ("_bodies", "_kept", "_request")

    def __init__(self, request: web.Request, bodies: Bodies) -> None:
        self._request = request
        self._bodies = bodies
        self._kept = Kept(bodies)

    async def __aenter__(self) -> Body:
        """Read it."""
        kept, content = self._kept, self._request.content
        if content.is_eof() and content.exception() is None:
            # Most come with their heads.
            data = kept.add_at_once(content)
            if data is not None:
                return Body(kept, data=data)
        try:
            rest = _rest(self._request, self._bodies, kept)
            if rest is not None:
                await rest.keep()
        except BaseException:
            kept.close()
            raise
        return Body(kept, rest)

    async def __aexit__(self, *_: object) -> None:
        """Let go of it."""
        self._kept.close()


@asynccontextmanager
async def receiving(request: web.Request, bodies: Bodies) -> AsyncIterator[Body]:
    """Read a request's body ahead until somebody wants it, and notice if the client hangs up.

    It yields the body, for one reader. If the client hangs up within the
    block, its connection is broken off, and aiohttp cancels who answers it.

    Raises:
        ApiError: the body is too long, its framing is broken, or there is no
            room for it; the block is cancelled if that shows within it.
    """
    kept = Kept(bodies)
    try:
        rest = _rest(request, bodies, kept)
        if rest is None or request.content.is_eof():
            # All of it has come.
            if rest is not None:
                await rest.keep()
            yield Body(kept, rest)
        else:
            # Most ends of connections are seen only by reading: they come after what was sent before.
            with watching(request):
                async with rest.keeping():
                    yield Body(kept, rest)
    finally:
        kept.close()


def _rest(request: web.Request, bodies: Bodies, kept: Kept) -> Rest | None:
    if not request.body_exists:
        return None
    if (request.content_length or 0) > bodies.largest:
        raise bodies.too_large()
    return Rest(request, bodies, kept)
