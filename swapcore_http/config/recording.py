"""What is written down about requests and the machine, and where?"""

import re

from attrs import field, frozen

from swapcore_http.config.setting import written

__all__ = ["PerformanceConfig", "StoreConfig", "seconds_of"]

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def seconds_of(text: str) -> float | None:
    """Read a duration such as `15s` or `1m30s`; None if it is none."""
    if text in ("0", "+0", "-0"):
        return 0.0
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text.removeprefix("-").removeprefix("+") if text[:1] in "+-" else text
    parts = list(PART.finditer(rest))
    if not parts or "".join(part[0] for part in parts) != rest:
        return None
    return sign * sum(float(part[1]) * UNITS[part[2]] for part in parts)


@frozen(kw_only=True, repr=False)
class StoreConfig:
    """Where the record of requests is kept beyond the life of the server."""

    path: str = field(default="", kw_only=False, metadata=written("path", "the path of a file"))
    """The file; it need not exist, but its directory must."""

    max_rows: int = field(
        default=1_000_000, metadata=written("maxRows", "a number, 0 for no limit", minimum=0)
    )
    """How many requests are kept, the latest; 0 for all."""


@frozen(kw_only=True, repr=False)
class PerformanceConfig:
    """How the machine is watched."""

    disabled: bool = field(default=False, metadata=written("disabled", "true or false"))
    """Whether it is not watched at all."""

    every: str = field(default="5s", metadata=written("every", "a duration such as 15s or 1m30s, 5s or more"))
    """How often. `interval` has it in seconds."""

    @property
    def interval(self) -> float:
        """How often, in seconds."""
        return seconds_of(self.every) or 5.0
