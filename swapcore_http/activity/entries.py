"""What is remembered of one request?"""

from collections.abc import Mapping
from typing import Any

from attrs import define

from swapcore_http.activity.tokens import Tokens

__all__ = ["NOTHING", "Entry", "timestamp"]

NOTHING = Tokens(0, 0, 0, 0, 0, 0.0, 0.0)
"""The tokens of an answer that says nothing about them; llama-swap has zeros there."""


# Not frozen: to make one would take twice the time, and one is made for each request.
@define(kw_only=True, repr=False)
class Entry:
    """One request that is over; nobody changes it. Times are seconds."""

    at: float
    """When it arrived, since 1970."""

    model: str
    """The id of the model that was asked."""

    path: str
    """What the model was asked for, without the query."""

    status: int
    """The status that the caller was told; 499 if it had gone before."""

    kind: str = ""
    """The content type of the answer."""

    tokens: Tokens = NOTHING
    """What the answer says that it took; zeros if it says nothing."""

    duration: float = 0.0
    """From its arrival to the end of its answer, or longer if the upstream says so."""

    waited: float = 0.0
    """How long it waited for the model, loading included."""

    loading: float = 0.0
    """How much of that the model spent loading."""

    first_byte: float | None = None
    """From its arrival to the head of the answer, if there was one."""

    error: str = ""
    """What went wrong."""

    metadata: Mapping[str, Any] = {}
    """What else was decided about it, such as the selector it came by."""

    def as_json(self, number: int, *, has_capture: bool) -> dict[str, Any]:
        """Show it as llama-swap's `/api/metrics/activity` does, and what that does not know after it."""
        tokens = self.tokens
        row: dict[str, Any] = {
            "id": number,
            "timestamp": timestamp(self.at),
            "model": self.model,
            "req_path": self.path,
            "resp_content_type": self.kind,
            "resp_status_code": self.status,
            "tokens": {
                "cache_tokens": tokens.cached,
                "draft_tokens": tokens.drafted,
                "draft_acc_tokens": tokens.accepted,
                "input_tokens": tokens.input,
                "output_tokens": tokens.output,
                "prompt_per_second": tokens.input_speed,
                "tokens_per_second": tokens.output_speed,
            },
            "duration_ms": round(self.duration * 1000),
            "has_capture": has_capture,
        }
        if self.error:
            row["error_msg"] = self.error
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        row["queue_ms"] = round(self.waited * 1000)
        row["load_ms"] = round(self.loading * 1000)
        row["ttfb_ms"] = None if self.first_byte is None else round(self.first_byte * 1000)
        return row


def timestamp(at: float) -> str:
    """Write seconds since 1970 as RFC 3339 has it, in UTC."""
    from datetime import UTC, datetime  # noqa: PLC0415 - only those who look need it.

    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
