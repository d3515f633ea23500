"""What holds for all models?"""

import math

from attrs import field, frozen

from swapcore.collation import Policy

__all__ = ["Settings"]


@frozen(kw_only=True)
class Settings:
    """The dials and limits that belong to no model.

    Raises:
        ValueError: a limit is out of its range.
    """

    policy: Policy = field(factory=Policy)
    """The dials of collation."""

    max_queue: int = 100_000
    """How many callers may wait in all; one more is refused."""

    shutdown_timeout: float = 30.0
    """Seconds that leases may outlast a draining shutdown."""

    reload_drain_timeout: float = math.inf
    """Seconds that leases may outlast a new catalog that their model is not part of, or changed in."""

    caller_share: float = 1.0
    """The part of each queue, the models' own and the one in all, that the tickets of one `Arrived.caller`
    may hold, above 0 and up to 1. One ticket always may wait; and those of nobody in particular, all."""

    def __attrs_post_init__(self) -> None:
        if not 0.0 < self.caller_share <= 1.0:
            raise ValueError(f"caller_share is {self.caller_share}; expected above 0 and at most 1")
