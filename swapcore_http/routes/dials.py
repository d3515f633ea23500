"""With which priority and patience does a caller arrive?

What its key says goes before what its model says. Header fields, where they
are believed, make neither better than the key has it.
"""

import re
from http import HTTPStatus

from attrs import frozen

from swapcore_http.auth import Caller, Headers
from swapcore_http.driver import Driver, Lease
from swapcore_http.responses import ApiError

__all__ = ["PATIENCE", "PRIORITY", "Dials", "dials_of"]

PRIORITY, PATIENCE = "X-Swap-Priority", "X-Swap-Patience"
"""The header fields in which callers may say how they want to be treated, if the configuration lets them."""

MAX_PRIORITY = 1000
"""What callers may make of their priority, upwards and downwards."""

MAX_SHOWN = 50
"""Characters of a wrong value that are repeated to the client."""

WHOLE = re.compile(r"[-+]?[0-9]{1,9}")
SECONDS = re.compile(r"inf|[0-9]{1,9}(?:\.[0-9]{1,9})?")


@frozen(eq=False, repr=False)
class Dials:
    """How a caller arrives."""

    caller: Caller
    priority: int
    patience: float | None
    """Seconds; `None` for the model's."""

    def lease(self, driver: Driver, model: str) -> Lease:
        """Make a lease of that model for it."""
        caller = self.caller
        return driver.lease(
            model,
            priority=self.priority,
            patience=self.patience,
            caller=caller.name,
            share=caller.share,
            brings_up=caller.may("swap"),
        )


def dials_of(headers: Headers, caller: Caller, priority: int, *, believed: bool) -> Dials:
    """Say how a caller arrives.

    Args:
        headers: What it sends.
        caller: What its key says.
        priority: The model's.
        believed: Whether header fields count.

    Raises:
        ApiError: a header field that counts says nothing that can be meant.
    """
    if caller.priority is not None:
        priority = caller.priority
    patience = caller.patience
    if believed:
        asked, wait = _asked_priority(headers, priority), _asked_patience(headers)
        priority = asked if caller.priority is None else min(asked, priority)
        if wait is not None:
            patience = wait if patience is None else max(wait, patience)
    return Dials(caller, priority, patience)


def _asked_priority(headers: Headers, default: int) -> int:
    text = headers.get(PRIORITY)
    if text is None:
        return default
    if not WHOLE.fullmatch(text) or abs(int(text)) > MAX_PRIORITY:
        raise _bad(PRIORITY, text, f"a whole number from -{MAX_PRIORITY} to {MAX_PRIORITY}")
    return int(text)


def _asked_patience(headers: Headers) -> float | None:
    text = headers.get(PATIENCE)
    if text is None:
        return None
    if not SECONDS.fullmatch(text):
        raise _bad(PATIENCE, text, "seconds, 0 or more, or inf")
    return float(text)


def _bad(field: str, text: str, expected: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, f"{field} is {text[:MAX_SHOWN]!r}; expected {expected}")
