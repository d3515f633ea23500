"""What have earlier lives of this user's servers left behind, and is it gone now?"""

import logging
import os
import time
from collections.abc import Mapping

from swapcore_http.guard import registry
from swapcore_http.guard.leftovers import GRACE, end
from swapcore_http.guard.registry import Life
from swapcore_http.guard.table import place, start_time

__all__ = ["sweep"]

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.05
"""Seconds between two looks whether another watchdog has finished."""

MARGIN = 5.0
"""Seconds that it may take beyond the longest grace of its runs."""


def sweep(where: str, environment: Mapping[str, str]) -> None:
    """End what dead lives have left; it blocks until then, some milliseconds if there is nothing.

    Lives whose server or watchdog is at work are left alone. A watchdog whose
    server is dead is waited for, within bounds: until it is done what it ends
    still holds memory and ports.

    Raises:
        OSError: the folder cannot be read.
    """
    for id_ in registry.lives(where):
        found = _when_free(where, id_)
        if found is None:
            continue
        file, life = found
        try:
            count, gone = end(life, environment, fresh=False)
            if count:
                logger.warning("ended %d processes that an earlier server had left running", count)
            if gone:
                os.unlink(registry.path_of(where, id_))
            else:
                logger.warning("processes that an earlier server had left running do not go")
        except OSError as error:
            logger.warning("%s: %s", registry.path_of(where, id_), error.strerror)
        finally:
            os.close(file)


def _when_free(where: str, id_: str) -> tuple[int, Life] | None:
    """Open and lock the file of a dead life; None if there is nothing left for us to do."""
    until = time.monotonic() + MARGIN
    waited = False
    while (found := registry.lock(where, id_)) is not None:
        file, locked = found
        life = registry.read(file, id_)
        if locked:
            return file, life
        os.close(file)
        if not _is_dead(life):
            return None
        if not waited:
            waited = True
            until += max((run.grace for run in life.runs), default=0.0) + GRACE
        if time.monotonic() > until:
            logger.warning("what an earlier server has left running is still being ended")
            return None
        time.sleep(LOOK_EVERY)
    return None


def _is_dead(life: Life) -> bool:
    """Tell whether that life's server ran in this very place and is gone."""
    return life.place == place() and start_time(life.server) != life.started
