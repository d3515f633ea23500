"""What holds for every request to one model, for as long as the configuration does?"""

from typing import Final
from urllib.parse import quote

from attrs import frozen

from swapcore_http.config import Config, ModelConfig
from swapcore_http.driver import Driver
from swapcore_http.framing import Fields
from swapcore_http.relay import Limits

__all__ = ["MODEL", "NOT_WAITED", "WAITED", "Way", "shown"]

MODEL, WAITED = "X-Swap-Model", "X-Swap-Wait-Ms"
"""The fields of an answer that say which model gave it, and how long it was waited for."""

NOT_WAITED: Final = (WAITED.encode(), b"0")

SAFE: Final = "!#$&'()*+,/:;=?@[]^`{|}\"<>\\"


@frozen(eq=False, repr=False)
class Way:
    """How one model of this machine is asked."""

    model: ModelConfig

    priority: int
    """What callers arrive with who say nothing."""

    limits: Limits
    """How long its upstream may take."""

    drain: bool
    """Whether it may finish answers for clients who have gone."""

    shows_loading: bool
    """Whether who waits for a stream sees it load."""

    name: str
    """Its id as a header field can hold it."""

    extra: Fields
    """What its answers say besides, where nobody waited."""

    @classmethod
    def to(cls, model: ModelConfig, config: Config, driver: Driver) -> "Way":
        """Find the way to a model of that configuration."""
        name = shown(model.id)
        return cls(
            model,
            config.priority(model.id),
            _limits(model, driver),
            model.on_client_abort == "drain",
            config.shows_loading(model.id),
            name,
            ((MODEL.encode(), name.encode()), NOT_WAITED),
        )


def shown(name: str) -> str:
    """Write a model's name so that a header field can hold it."""
    return quote(name, safe=SAFE)


def _limits(model: ModelConfig, driver: Driver) -> Limits:
    def nobody_is_due() -> bool:
        snapshot = driver.snapshot()
        return not any(
            ticket.model != model.id and ticket.due is not None and ticket.due <= snapshot.now
            for ticket in snapshot.tickets
        )

    timeouts = model.timeouts
    return Limits(timeouts, timeouts.response_header, model.stall_timeout, nobody_is_due)
