"""On which port may a run answer, and is it the run that answers there?"""

import logging
import re
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from anyio import to_thread
from attrs import define, field

from swapcore_http.config import ModelConfig
from swapcore_http.listeners import Listener, listener
from swapcore_http.ports import Ports, is_taken
from swapcore_http.readiness import is_this_machine

__all__ = ["Claims", "PortTakenError", "stranger"]

logger = logging.getLogger(__name__)


class PortTakenError(Exception):
    """The run must not even be tried: somebody else has its port; the text says who."""


@define(eq=False, repr=False)
class Claims:
    """The ports that runs claim, by which nobody else's server is taken for an upstream."""

    _ports: Ports
    _warned: set[str] = field(factory=set, init=False)

    async def claim(self, model: ModelConfig, stack: AsyncExitStack) -> int | None:
        """Borrow the run's port until the stack is left, or look whether its fixed one is free.

        Returns:
            What `${PORT}` stands for in this run; None if it stands for nothing.

        Raises:
            PortTakenError: its fixed port is somebody else's.
            OSError: no port is free at all.
        """
        if model.port is not None:
            return stack.enter_context(self._ports.lend(model.port, model.id))
        port = _local_port(model.url(None))
        if port is None:
            return None
        if is_taken(port):
            self._judge(model, port, await to_thread.run_sync(listener, port))
        stack.enter_context(self._ports.hold(port))
        return None

    def _judge(self, model: ModelConfig, port: int, found: Listener | None) -> None:
        """Accept a service that always runs, and nothing else."""
        who = "another program" if found is None else str(found)
        if re.search(rf"(?<!\d){port}(?!\d)", model.cmd):
            raise PortTakenError(f"port {port}, which its cmd names, is taken by {who}")
        if found is not None and found.mark:
            raise PortTakenError(f"port {port} is taken by {who}, which belongs to a model of some server")
        if model.id not in self._warned:
            self._warned.add(model.id)
            logger.warning(
                "%s: %s listens on port %d already, and cmd does not name that port: "
                "it is taken for a service that always runs",
                model.id,
                who,
                port,
            )


async def stranger(url: str, pid: int, mark: str) -> str:
    """Say who else answers at a run's URL, if it is a run's process but not of this one; else nothing.

    What carries no mark counts as the run's own, whoever it is: what forwards
    to a container or another machine need not be a child of the command.

    Args:
        url: Where the run is to answer.
        pid: The leader of the run.
        mark: What the processes of the run carry.
    """
    port = _local_port(url)
    if port is None:
        return ""
    found = await to_thread.run_sync(listener, port, pid)
    return str(found) if found is not None and found.mark not in ("", mark) else ""


def _local_port(url: str) -> int | None:
    parts = urlsplit(url)
    return parts.port if is_this_machine(parts.hostname) else None
