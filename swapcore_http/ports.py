"""Which port does a run get, and is something else listening there already?"""

import errno
import logging
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from types import MappingProxyType

from swapcore_http.listeners import listener

__all__ = ["Ports", "is_taken"]

logger = logging.getLogger(__name__)

DETOUR = 1000
"""How far from its own number the search for another port begins.

The numbers just above a model's own are those of other models, and a free
port from the system would come from the range where outgoing connections,
ours to the upstreams among them, get theirs.
"""

LOWEST, HIGHEST = 1024, 65535
"""The range that the search stays within: those below need privileges."""

EVERYWHERE = (
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET, "0.0.0.0"),  # noqa: S104 - bound for a moment, never listened on.
    (socket.AF_INET6, "::1"),
    (socket.AF_INET6, "::"),
)
"""Addresses an upstream may bind. Each is tried, since systems differ in which exclude which."""


class Ports:
    """Lends ports to runs, so that no two of them meet on one."""

    def __init__(self) -> None:
        self._held: Counter[int] = Counter()
        self._lent: dict[str, int] = {}

    @property
    def held(self) -> frozenset[int]:
        """The ports that runs hold, borrowed or fixed."""
        return frozenset(+self._held)

    @property
    def lent(self) -> Mapping[str, int]:
        """The ports that are borrowed, by the models of the runs that have them."""
        return MappingProxyType(self._lent)

    @contextmanager
    def lend(self, wanted: int, model: str) -> Iterator[int]:
        """Lend the port that is wanted, or another if it is not free.

        Args:
            wanted: The number that the configuration gives to the model.
            model: The model of the run that borrows it, which has one run at a time.

        Raises:
            OSError: no port is free at all.
        """
        port = self._choose(wanted)
        if port != wanted:
            holder = listener(wanted) or "something else"
            logger.info("port %d is taken by %s: %s uses %d", wanted, holder, model, port)
        with self.hold(port):
            self._lent[model] = port
            try:
                yield port
            finally:
                del self._lent[model]

    @contextmanager
    def hold(self, port: int) -> Iterator[None]:
        """Lend this port to no other run meanwhile; for commands that name a fixed one."""
        self._held[port] += 1
        try:
            yield
        finally:
            self._held[port] -= 1

    def _choose(self, wanted: int) -> int:
        size = HIGHEST - LOWEST + 1
        others = (LOWEST + (wanted + DETOUR + step - LOWEST) % size for step in range(size))
        for port in chain([wanted], others):
            if not self._held[port] and not is_taken(port):
                return port
        raise OSError(errno.EADDRINUSE, "no port is free")


def is_taken(port: int) -> bool:
    """Tell whether a server of ours could not listen on that port of this machine."""
    return any(_is_bound(family, host, port) for family, host in EVERYWHERE)


def _is_bound(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        # A machine without that protocol: nothing can listen there.
        return False
    with sock:
        # As servers do it: what a connection of a former server leaves behind is no obstacle.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            # Anything else, as a port that needs privileges, is left to the upstream and its own words.
            return error.errno == errno.EADDRINUSE
    return False
