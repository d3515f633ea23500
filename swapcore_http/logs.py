"""What does the server say about what it does?

Lines about decisions are made from the engine's commands and the events that
brought them, so that the log says neither less nor more than what happened.
"""

import atexit
import contextlib
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from attrs import evolve

from swapcore import (
    Arrived,
    BecameReady,
    Event,
    Exited,
    Forward,
    Lost,
    Reject,
    Released,
    Start,
    Stop,
    StopReason,
)
from swapcore_http.driver import Observation
from swapcore_http.loglines import Lines
from swapcore_http.logstreams import BOTH, PROXY, UPSTREAM, hear_upstreams
from swapcore_http.outlet import Outlet

__all__ = ["log_step", "logs_callers", "set_log_level", "set_up_logging"]

logger = logging.getLogger("swapcore_http")

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
"""What the values of `logLevel` mean."""

_REASONS = {
    StopReason.TTL: "it has been idle for its ttl",
    StopReason.UNLOAD: "it is unloaded",
    StopReason.SHUTDOWN: "the server is shutting down",
    StopReason.EVICT: "it makes room",
    StopReason.START_TIMEOUT: "it was not ready in time",
    StopReason.ABANDONED: "nobody waits for it any more, and it makes room",
    StopReason.RELOAD: "the new configuration changes what may run",
    StopReason.LOST: "it has died and has not given its room back",
}


def set_up_logging(level: str, to_stdout: str, time_format: str) -> None:
    """Send the log of this process to stdout until it ends.

    Where stdout is no file of the system's, as in notebooks and tests, what is
    written to it is left to that object.

    Args:
        level: The `logLevel` from which on the server's own entries count.
        to_stdout: Whose: `proxy` for the server's, `upstream`, `both` or `none`.
        time_format: A `logTimeFormat`; see `loglines.TIME_FORMATS`.
    """
    write = _writer()
    root = logging.getLogger()
    # Without any handler, logging would write to stderr by itself.
    root.addHandler(Lines(write, time_format) if to_stdout in {PROXY, BOTH} else logging.NullHandler())
    if to_stdout in {UPSTREAM, BOTH}:
        hear_upstreams(lambda _, data: write(data))
    root.setLevel(logging.WARNING)
    set_log_level(level)
    logging.getLogger("aiohttp.server").addFilter(_is_no_garbage)


def _writer() -> Callable[[bytes], None]:
    try:
        outlet = Outlet(sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):
        return _print
    atexit.register(outlet.close)
    return outlet.write


def _print(data: bytes) -> None:
    """Write to whatever stdout is by then; it may be closed, or none at all."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        sys.stdout.write(data.decode(errors="replace"))


def set_log_level(level: str) -> None:
    """Log from that `logLevel` up from now on."""
    logger.setLevel(LEVELS[level])


def _is_no_garbage(record: logging.LogRecord) -> bool:
    """Keep what strangers send in the place of HTTP out of the log: anyone could flood it with tracebacks."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__ != "aiohttp.http_exceptions"


CALLERS = (Arrived, Released)


logs_callers: Final = partial(logger.isEnabledFor, logging.DEBUG)
"""Tells whether `log_step` writes anything at present about callers who need not wait."""


def log_step(step: Observation) -> None:
    """Log what one step of the engine brought."""
    everything = logger.isEnabledFor(logging.DEBUG)
    if everything or not isinstance(step.event, CALLERS):
        # Callers come and go all the time, and are not worth a look unless somebody wants to see them.
        _log_event(step.event)
    for command in step.commands:
        if not everything and isinstance(command, Forward):
            continue
        match command:
            case Forward(ticket, model, run):
                logger.debug("forwarding request %d to %s (run %d)", ticket, model, run)
            case Start(model, run):
                logger.info("starting %s (run %d)", model, run)
            case Stop(model, run, reason, force, making_room_for):
                why = _REASONS[reason] + (f" for {making_room_for}" if making_room_for else "")
                logger.info("%s %s (run %d): %s", "killing" if force else "stopping", model, run, why)
            case Reject(ticket, refusal, detail):
                # What a caller wrote can be part of the detail: no line break of its may reach the log.
                logger.info("refusing request %d: %s: %r", ticket, refusal.value, detail)


def _log_event(event: Event) -> None:
    match event:
        case BecameReady(model, run):
            logger.info("%s (run %d) is ready", model, run)
        case Lost(model, run, detail):
            logger.warning("%s (run %d) has died: %s", model, run, _indented(detail))
        case Exited(model, run, detail):
            logger.info("%s (run %d) is over: %s", model, run, _indented(detail))
        case Arrived():
            # Who asks can be told by a key of theirs.
            logger.debug("%s", evolve(event, caller=None))
        case _:
            logger.debug("%s", event)


def _indented(detail: str) -> str:
    """Keep what an upstream wrote from passing for lines of ours."""
    return detail.replace("\n", "\n    ")
