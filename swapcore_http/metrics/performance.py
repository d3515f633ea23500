"""How is the machine doing, now and in the last hour?

Asked of psutil and, if it is installed, nvidia-ml-py. Both are imported at
the first look, which is not before the server serves.
"""

import asyncio
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from attrs import define, field, frozen

__all__ = ["Monitor", "Sample", "look"]

logger = logging.getLogger(__name__)

HISTORY = 3600.0
"""Seconds of samples that are kept."""

MEBIBYTE = 1024 * 1024

FIRST_LOOK = 0.1
"""Seconds for which the processors are watched the first time: there is no look before it."""

FIRST_AFTER = 1.0
"""Seconds after the start of the server, which has more important things to do then."""


@frozen(eq=False, repr=False)
class Sample:
    """One look at the machine; in the forms of llama-swap's `/api/performance`, but for the time."""

    at: float
    system: dict[str, Any]
    gpus: list[dict[str, Any]]


def look(interval: float | None = None) -> Sample:
    """Look at the machine; this takes some milliseconds.

    Args:
        interval: Seconds for which the processors are watched; `None` for since the last look.
    """
    import psutil  # noqa: PLC0415 - see the module's docstring.

    from swapcore_http.metrics.gpus import look_at_gpus  # noqa: PLC0415

    memory, swap = psutil.virtual_memory(), _swap()
    loads = os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0)
    network = [
        {"name": name, "bytes_recv": counts.bytes_recv, "bytes_sent": counts.bytes_sent}
        for name, counts in sorted(psutil.net_io_counters(pernic=True).items())
        if not (name == "lo" and sys.platform == "linux")
    ]
    system = {
        "cpu_util_per_core": psutil.cpu_percent(interval, percpu=True),
        "mem_total_mb": memory.total // MEBIBYTE,
        "mem_used_mb": memory.used // MEBIBYTE,
        "mem_free_mb": memory.available // MEBIBYTE,
        "swap_total_mb": swap[0] // MEBIBYTE,
        "swap_used_mb": swap[1] // MEBIBYTE,
        "load_avg_1": loads[0],
        "load_avg_5": loads[1],
        "load_avg_15": loads[2],
        "net_io": network,
    }
    return Sample(time.time(), system, look_at_gpus())


def _swap() -> tuple[int, int]:
    import psutil  # noqa: PLC0415

    try:
        swap = psutil.swap_memory()
    except OSError:
        # Some containers do not show it.
        return 0, 0
    return swap.total, swap.used


@define(eq=False, repr=False)
class Monitor:
    """Looks at the machine every so many seconds, and remembers an hour of that.

    Args:
        every: Seconds between two looks.
    """

    every: float
    samples: deque[Sample] = field(init=False)
    """What was seen, the latest last."""

    _looking: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.samples = deque(maxlen=max(1, math.floor(HISTORY / self.every)))

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look again and again while this block lasts."""
        task = asyncio.ensure_future(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def latest(self) -> Sample:
        """Return the latest sample, and take the first one if there is none yet."""
        async with self._looking:
            if not self.samples:
                self.samples.append(await asyncio.to_thread(look, FIRST_LOOK))
            return self.samples[-1]

    async def _watch(self) -> None:
        await asyncio.sleep(FIRST_AFTER)
        failing = False
        while True:
            try:
                async with self._looking:
                    interval = None if self.samples else FIRST_LOOK
                    self.samples.append(await asyncio.to_thread(look, interval))
                failing = False
            except Exception:
                # It may be a passing fault, and it is told once.
                if not failing:
                    logger.exception("the machine cannot be looked at")
                failing = True
            await asyncio.sleep(self.every)
