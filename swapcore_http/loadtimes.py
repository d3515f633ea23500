"""How long did loads take before this server was started, and where is that kept?

    loads = await remembered(config)
    engine = make_engine(config, loads)
    ...
    tasks.start_soon(keeping, present, driver)

Which model is cheap to load again decides what is evicted. An engine measures
it, but one that has just begun has nothing to go by. So the measured times are
kept in a small file of the user's, by revision: the fingerprint of what makes
one process differ from another, so that a model has a time again wherever it
is written down, and another command has none. Commands and names are not kept.

The file helps, and nothing depends on it: one that is broken is begun anew, one
that cannot be written is not, and of two servers that write at once one may
have to add its times again when it writes next.
"""

import json
import logging
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from swapcore_http.config import Config
from swapcore_http.driver import Driver
from swapcore_http.guard.folder import lasting_folder
from swapcore_http.oserrors import told
from swapcore_http.present import Present

__all__ = ["NAME", "keep", "keeping", "read", "remembered", "write"]

logger = logging.getLogger(__name__)

NAME = "loads.json"
FORMAT = 1

EVERY = 300.0
"""Seconds between two looks whether there is something new to keep."""

LAST_WRITE = 2.0
"""Seconds that reading, and the last write, may take before they are given up."""

MOST = 1000
"""Times that are kept, the latest."""

MOST_BYTES = 1024 * 1024
"""Where reading the file ends."""

LONGEST = 7 * 24 * 3600.0
"""Seconds that a load may have taken for its time to be believed."""


async def remembered(config: Config) -> dict[str, float]:
    """Return the seconds that loads took, by revision; none if they are not to be remembered."""
    found: dict[str, float] = {}
    if config.remember_loads:
        with anyio.move_on_after(LAST_WRITE):
            found = await anyio.to_thread.run_sync(_read_file, abandon_on_cancel=True)
    return found


async def keeping(present: Present, driver: Driver) -> None:
    """Keep what is measured from time to time, and once more when this is cancelled."""
    try:
        while True:
            await anyio.sleep(EVERY)
            await keep(present, driver)
    finally:
        with anyio.move_on_after(LAST_WRITE, shield=True):
            await keep(present, driver)


async def keep(present: Present, driver: Driver) -> None:
    """Keep what was measured until now, if it is to be remembered."""
    config = present.config
    if not config.remember_loads:
        return
    revisions = {model.id: model.revision for model in config.catalog()}
    measured = {
        revisions[view.model]: view.load_time
        for view in driver.snapshot(tickets=False).upstreams
        if view.load_time is not None and view.model in revisions
    }
    if measured:
        await anyio.to_thread.run_sync(_write_file, measured, abandon_on_cancel=True)


def _read_file() -> dict[str, float]:
    try:
        return read(Path(lasting_folder(), NAME))
    except OSError as error:
        logger.warning("how long loads took is not remembered: %s", told(error))
        return {}


def _write_file(measured: Mapping[str, float]) -> None:
    try:
        write(Path(lasting_folder(), NAME), measured)
    except OSError as error:
        logger.warning("how long loads took is not kept: %s", told(error))


def read(path: Path) -> dict[str, float]:
    """Read the times of a file, the latest last; none if it is not there, or broken.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data: Any = json.loads(file.read(MOST_BYTES))
        loads = data["loads"].items() if data["format"] == FORMAT else ()
        return {str(key): float(seconds) for key, seconds in loads if _is_time(seconds)}
    except FileNotFoundError:
        return {}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        logger.warning("%s is broken, and is begun anew", path)
        return {}


def _is_time(seconds: object) -> bool:
    return isinstance(seconds, int | float) and math.isfinite(seconds) and 0 <= seconds <= LONGEST


def write(path: Path, measured: Mapping[str, float]) -> None:
    """Add times to those of a file, in place of older ones, and forget the oldest beyond `MOST`.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    before = read(path)
    latest = {key: round(seconds, 3) for key, seconds in measured.items()}
    if before | latest == before:
        return
    loads = {key: seconds for key, seconds in before.items() if key not in latest} | latest
    data = {"format": FORMAT, "loads": dict(list(loads.items())[-MOST:])}
    # Whoever reads it meanwhile finds the old file or the new one, and each writer has its own.
    new = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps(data), encoding="ascii")
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
