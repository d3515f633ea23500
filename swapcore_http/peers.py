"""Which peers answer, which models do they have, and when is one that does not answer asked again?"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from attrs import define, field, frozen

from swapcore_http.config import Config, Names, PeerConfig
from swapcore_http.trust import authorities

__all__ = ["Peers"]

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds for which a peer that did not answer is left alone: they double from the one to the other."""

LOOK_EVERY = 30.0
"""Seconds between two looks at what a peer lists."""

LOOK_TIMEOUT = 10.0
MAX_LIST = 4 * 1024 * 1024
"""Bytes of a peer's list of models that are read."""


class BadListError(ValueError):
    """What a peer lists is of no use."""


@frozen(eq=False, repr=False)
class Down:
    """A peer that did not answer."""

    why: str
    until: float
    """When it may be asked again, in seconds of the clock."""

    failures: int
    """How often it has failed, one time after the other."""


@define(eq=False, repr=False)
class Peers:
    """What is known of the peers."""

    clock: Callable[[], float] = time.monotonic
    """Seconds that never go back."""

    discovered: dict[str, tuple[str, ...]] = field(factory=dict, init=False)
    """What peers list themselves whose `models` are `auto`."""

    name: str = field(factory=lambda: secrets.token_hex(8), init=False)
    """What this server is called on the way through several, by nothing that tells who or where it is."""

    _down: dict[str, Down] = field(factory=dict, init=False)
    _numbers: dict[str, int] = field(factory=dict, init=False)
    _names: tuple[Config, Names] | None = field(default=None, init=False)

    def number(self, peer: PeerConfig) -> int:
        """Return the number under which connections to it are kept; runs have others."""
        return self._numbers.setdefault(peer.proxy, -1 - len(self._numbers))

    def names(self, config: Config) -> Names:
        """Say what all names mean, with what peers list themselves."""
        if self._names is None or self._names[0] is not config:
            self._names = (config, config.names(self.discovered) if self.discovered else config.names())
        return self._names[1]

    # Whether they answer

    def down(self, peer: str) -> Down | None:
        """Say why that peer is left alone, if it is."""
        down = self._down.get(peer)
        return down if down is not None and self.clock() < down.until else None

    def silent(self) -> dict[str, str]:
        """Name those that did not answer when they were last asked, and say why."""
        return {peer: down.why for peer, down in self._down.items()}

    def wait(self, down: Down) -> float:
        """Say in how many seconds it may be asked again."""
        return max(0.0, down.until - self.clock())

    def failed(self, peer: str, why: str) -> None:
        """Take it that a peer did not answer."""
        failures = self._down[peer].failures + 1 if peer in self._down else 1
        pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
        if failures == 1:
            logger.warning("peer %s does not answer: %s", peer, why)
        self._down[peer] = Down(why, self.clock() + pause, failures)

    def answered(self, peer: str) -> None:
        """Take it that a peer answered."""
        if self._down.pop(peer, None) is not None:
            logger.info("peer %s answers again", peer)

    # What they offer

    async def discover(self, config: Callable[[], Config]) -> None:
        """Go on asking peers whose `models` are `auto` what they have."""
        asked: dict[str, float] = {}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LOOK_TIMEOUT)) as session:
            while True:
                peers = {id_: peer for id_, peer in config().peers.items() if peer.models == "auto"}
                for gone in self.discovered.keys() - peers.keys():
                    del self.discovered[gone]
                    self._names = None
                now = self.clock()
                due = [
                    peer
                    for peer in peers.values()
                    if now - asked.get(peer.id, -LOOK_EVERY) >= LOOK_EVERY
                    or (peer.id in self._down and self.down(peer.id) is None)
                ]
                asked |= dict.fromkeys((peer.id for peer in due), now)
                await asyncio.gather(*(self._look(session, peer) for peer in due))
                await asyncio.sleep(FIRST_PAUSE if peers else LOOK_EVERY)

    async def _look(self, session: aiohttp.ClientSession, peer: PeerConfig) -> None:
        headers = {"Authorization": f"Bearer {peer.api_key}"} if peer.api_key else {}
        try:
            async with session.get(
                peer.proxy.rstrip("/") + "/v1/models",
                headers=headers,
                # Also for a peer that sends on to where it speaks TLS.
                ssl=authorities(),
            ) as response:
                if not response.ok:
                    self.failed(peer.id, f"its list of models is answered with status {response.status}")
                    return
                content = b""
                async for piece in response.content.iter_chunked(65536):
                    content += piece
                    if len(content) > MAX_LIST:
                        raise BadListError("its list of models is too long")
            found = _listed(json.loads(content))
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            self.failed(peer.id, str(error) or type(error).__name__)
            return
        if self.discovered.get(peer.id) != found:
            self.discovered[peer.id] = found
            self._names = None
        self.answered(peer.id)


def _listed(answer: Any) -> tuple[str, ...]:
    """Read the names of models off a list, but not of those that the peer has from peers of its own.

    Raises:
        BadListError: it is no list of models.
    """
    rows = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise BadListError("what it lists is no list of models")
    names = [row["id"] for row in rows if isinstance(row, Mapping) and isinstance(row.get("id"), str)]
    far = {row["id"] for row in rows if isinstance(row, Mapping) and _kind(row) == "peer"}
    return tuple(dict.fromkeys(name for name in names if name and name not in far))


def _kind(row: Mapping[str, Any]) -> object:
    meta = row.get("meta")
    about = meta.get("llamaswap") if isinstance(meta, Mapping) else None
    return about.get("type") if isinstance(about, Mapping) else None
