"""What does an answer that is an error say went wrong?"""

import json
from http import HTTPStatus

__all__ = ["told"]

MOST_ERROR = 500
"""Bytes of an upstream's error message that are kept."""


def told(status: int, body: bytes) -> str:
    """Find what an answer says that went wrong, in the places where servers say it."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        error = data.get("error")
        told = error.get("message") if isinstance(error, dict) else error
        for text in (told, data.get("message"), data.get("detail")):
            if isinstance(text, str) and text.strip():
                raw = text.encode(errors="replace")
                return raw[:MOST_ERROR].decode(errors="ignore") + ("..." if len(raw) > MOST_ERROR else "")
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
