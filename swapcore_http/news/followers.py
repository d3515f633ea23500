"""Who follows what happens, and how much may wait for each?

All followers get the same pieces of text, so that many cost little more than
one. Who reads too slowly misses what waits for it, and is told instead how
everything stands when it reads again. Who does not read at all is let go.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from anyio import move_on_after

__all__ = ["Follower", "Followers", "TooManyFollowersError"]

MOST_FOLLOWERS: Final = 1000
"""Who may follow at once."""

MOST_WAITING: Final = 1024
"""Pieces that may wait for one follower."""

AHEAD: Final = 256 * 1024
"""Bytes that may wait for one follower."""


class TooManyFollowersError(Exception):
    """Nobody more can follow."""


class Follower:
    """One who follows what happens."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = False
        self._ended = False

    def give(self, piece: bytes) -> None:
        """Have this read next, if there is room for it."""
        if not self._lost:
            self._waiting.append(piece)
            self._size += len(piece)
            if self._size > AHEAD or len(self._waiting) > MOST_WAITING:
                self.lose()
        self._news.set()

    def lose(self) -> None:
        """Let it miss what waits for it, and what comes until it reads again."""
        self._lost = True
        self._waiting.clear()
        self._size = 0
        self._news.set()

    def end(self) -> None:
        """Let there be nothing more."""
        self._ended = True
        self._news.set()

    async def read(self, quiet: float) -> AsyncIterator[bytes | None]:
        """Yield what comes, until the end.

        It is None where something is missing, and empty after so many seconds of silence.
        """
        while True:
            with move_on_after(quiet) as waited:
                await self._news.wait()
            if waited.cancelled_caught:
                yield b""
            self._news.clear()
            if self._lost:
                self._lost = False
                yield None
            while self._waiting:
                piece = self._waiting.popleft()
                self._size -= len(piece)
                yield piece
            if self._ended:
                return


class Followers:
    """All who follow one server."""

    def __init__(self) -> None:
        self._all: set[Follower] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def following(self) -> Iterator[Follower]:
        """Follow what happens within the block.

        Raises:
            TooManyFollowersError: too many follow already.
        """
        if len(self._all) >= MOST_FOLLOWERS:
            raise TooManyFollowersError(f"{MOST_FOLLOWERS} follow what happens already")
        follower = Follower()
        if self._ended:
            follower.end()
        self._all.add(follower)
        try:
            yield follower
        finally:
            self._all.discard(follower)

    def give(self, piece: bytes) -> None:
        """Give a piece to all."""
        for follower in self._all:
            follower.give(piece)

    def lose(self) -> None:
        """Let all miss what waits for them, and be told how everything stands."""
        for follower in self._all:
            follower.lose()

    def end(self) -> None:
        """Let all come to their end."""
        self._ended = True
        for follower in self._all:
            follower.end()
