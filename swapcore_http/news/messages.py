"""What are followers told, in which words?

The shapes are those of llama-swap's `/api/events`, so that what was written
for it can read them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from swapcore import Phase
from swapcore_http.config import Config, Names
from swapcore_http.inflight import Flight
from swapcore_http.model_rows import capable

__all__ = ["frame", "model_status", "snapshot"]


def frame(kind: str, data: object) -> bytes:
    """Write one message: its data is a text that holds JSON."""
    return b"event:message\ndata:%b\n\n" % json.dumps({"type": kind, "data": json.dumps(data)}).encode()


def model_status(config: Config, names: Names, phases: Mapping[str, Phase]) -> list[dict[str, Any]]:
    """Describe all models: those of this machine by id, then those of peers."""
    rows: list[dict[str, Any]] = []
    for model in sorted(config.models.values(), key=lambda each: each.id.encode(errors="surrogatepass")):
        row: dict[str, Any] = {
            "id": model.id,
            "name": model.name,
            "description": model.description,
            "state": phases.get(model.id, Phase.STOPPED).value,
            "unlisted": model.unlisted,
            "peerID": "",
        }
        if model.aliases:
            row["aliases"] = list(model.aliases)
        said = capable(model.capabilities)
        row |= {key: said[key] for key in ("capabilities", "context_length") if key in said}
        rows.append(row)
    for found in names.peer_models.values():
        rows.append(  # noqa: PERF401 - beside the other kind of row.
            {
                "id": found.qualified,
                "name": "",
                "description": "",
                "state": "",
                "unlisted": False,
                "peerID": found.peer,
            }
        )
    return rows


def snapshot(flights: Iterable[Flight]) -> dict[str, Any]:
    """Describe all requests that are on their way; llama-swap has no `requests` where there is none."""
    rows = [flight.as_json() for flight in flights]
    return {"operation": "snapshot", **({"requests": rows} if rows else {})}
