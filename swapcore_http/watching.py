"""What is put together so that a server's requests are recorded and counted?"""

from pathlib import Path
from typing import TYPE_CHECKING

from swapcore_http.activity.captures import Captures
from swapcore_http.activity.loads import Loads
from swapcore_http.activity.recorder import Recorder
from swapcore_http.config import Config
from swapcore_http.driver import Driver
from swapcore_http.metrics.tallies import Tallies
from swapcore_http.present import Present
from swapcore_http.routes.inference import PATHS

if TYPE_CHECKING:
    from swapcore_http.activity.store import Store
    from swapcore_http.otel import Tracing

__all__ = ["trace", "watch"]

MEBIBYTE = 1024 * 1024


def watch(driver: Driver, present: Present) -> tuple[Recorder, Tallies]:
    """Make what records and counts the requests of a server, and have it watch the driver."""
    config = present.config
    loads = Loads()

    def patience(model: str) -> float:
        return present.config.patience_of(model)

    tallies = Tallies(frozenset(PATHS), patience)
    captures = Captures(_room(config))
    recorder = Recorder(lambda: _open_store(config), captures, loads)
    # A store keeps its file, and its limit, until the server starts anew.
    present.on_replaced(lambda config: captures.resize(_room(config)))
    recorder.on_closed(tallies.closed)
    recorder.subscribe(tallies.recorded)
    driver.watch(loads.observe)
    driver.watch(tallies.observe)
    return recorder, tallies


def _room(config: Config) -> int:
    """Return how many bytes captures may take."""
    return max(0, config.capture_buffer) * MEBIBYTE


def trace(recorder: Recorder, config: Config) -> "Tracing | None":
    """Make what traces the requests of a server, if the configuration asks for it.

    Raises:
        CannotTraceError: it cannot be had.
    """
    if not config.otel:
        return None
    from swapcore_http.otel import set_up_tracing  # noqa: PLC0415 - few want it.

    return set_up_tracing(recorder.loads)


def _open_store(config: Config) -> "Store":
    from swapcore_http.activity.store import Store  # noqa: PLC0415 - SQLite is for those who are asked something.

    if config.store is not None:
        return Store(Path(config.store.path.strip()).expanduser(), config.store.max_rows)
    return Store(None, config.metrics_max_in_memory if config.metrics_max_in_memory > 0 else 1000)
