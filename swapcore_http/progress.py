"""Is a start getting on, and what does it say?"""

import logging
import math
import time
from collections.abc import Callable

from attrs import define, field

from swapcore_http.driver import Control

__all__ = ["Progress"]

logger = logging.getLogger(__name__)

REPORT_EVERY = 0.2
"""Seconds between two reports of progress to the engine, at the least."""

LOG_EVERY = 10.0
"""Seconds between two lines about it in the log; a start that takes less is not written about."""


@define(eq=False, repr=False)
class Progress:
    """Passes progress on, at a bounded rate, for as long as the run is starting."""

    _control: Control
    _run: str
    """What to call the run in the log."""

    output: Callable[[], str] = field(default=str, init=False)
    """Returns the upstream's last lines."""

    _begun: float = field(factory=time.monotonic, init=False)
    _next: float = field(default=-math.inf, init=False)
    _next_line: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next_line = self._begun + LOG_EVERY

    def made(self) -> None:
        """Note that the upstream has written something."""
        self._note("")

    def said(self, answer: str) -> None:
        """Note what its health check answers while it loads."""
        self._note(answer)

    def end(self) -> None:
        """Pass on nothing more."""
        self._next = self._next_line = math.inf

    def _note(self, answer: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_EVERY
            self._control.progressed()
        if now >= self._next_line:
            self._next_line = now + LOG_EVERY
            said = answer or self.output().rpartition("\n")[2]
            logger.info("%s is starting, for %.0f s now: %r", self._run, now - self._begun, said)
