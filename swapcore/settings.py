"""What holds for all models?"""

import math

from attrs import field, frozen

from swapcore.collation import Policy

__all__ = ["Settings"]


@frozen(kw_only=True)
class Settings:
    """The dials and limits that belong to no model."""

    policy: Policy = field(factory=Policy)
    """The dials of collation."""

    max_queue: int = 100_000
    """How many callers may wait in all; one more is refused."""

    shutdown_timeout: float = 30.0
    """Seconds that leases may outlast a draining shutdown."""

    reload_drain_timeout: float = math.inf
    """Seconds that leases may outlast a new catalog that their model is not part of, or changed in."""
