"""What in the texts of a configuration is a secret, and what is shown in its place?

Messages keep the columns of what they mask, and mask a line to its end, because
it may not even be well-formed; see `problems.masked`. Here the texts are sound,
and what stands around a secret is worth seeing.
"""

import re
from collections.abc import Callable
from typing import Any

__all__ = ["MASK", "masked_data", "masked_text", "masked_texts"]

MASK = "***"

# Not in the plural, which counts tokens, and not where a file or tokenizer is named. The words around
# are bounded, so that no text takes long.
WORD = (
    r"(?:api[-_]?key|access[-_]?key|private[-_]?key|token(?![a-z])|secret|passw(?:or)?d|passphrase|credential)"
    r"(?![\w-]{0,40}(?:file|path|dir)\b)[\w-]{0,40}"
)
GAP = r"(?:\s|\\(?=\s)){1,200}"
PLAIN = r"""(?:\\.|[^\s"'\\])"""
VALUE = rf"""(?:(?:"(?:\\.|[^"\\])*(?:"|\Z)|'[^']*(?:'|\Z)){PLAIN}*|{PLAIN}+)"""
TEXT = re.DOTALL | re.IGNORECASE

HEADER = re.compile(r"""((?:authorization|cookie)["']?\s{0,40}[:=]\s{0,40})[^"'\n]+""", TEXT)
"""What follows, up to a quote: `Authorization: Bearer …`."""

ASSIGNMENT = re.compile(rf"""({WORD}["']?\s{{0,40}}[:=]\s{{0,40}}){VALUE}""", TEXT)
"""`--api-key=…`, `HF_TOKEN=…`, `"api_key": "…"`, `?token=…`."""

OPTION = re.compile(rf"""((?<![\w-])--?[\w.-]{{0,40}}?{WORD}["']?{GAP})(?!--){VALUE}""", TEXT)
"""`--api-key …`."""

USER_INFO = re.compile(r"(://)[^\s/@\"']+(?=@)")
"""`http://user:password@host`."""

SECRET_KEY = re.compile(rf"(?:{WORD}|authorization|cookie)", TEXT)


def masked_text(text: str) -> str:
    """Return a text with `***` for each credential in it that its surroundings tell."""
    for pattern in (HEADER, ASSIGNMENT, OPTION, USER_INFO):
        text = pattern.sub(rf"\1{MASK}", text)
    return text


def masked_texts(data: Any) -> Any:
    """Do the same for all texts in plain data."""
    return _masked(data, lambda _, item: masked_texts(item))


def masked_data(data: Any) -> Any:
    """Do the same, and put `***` for what stands below a key that tells as well."""
    return _masked(data, lambda key, item: MASK if _tells(key) and _is_scalar(item) else masked_data(item))


def _masked(data: Any, below: Callable[[object, Any], Any]) -> Any:
    if isinstance(data, dict):
        return {key: below(key, item) for key, item in data.items()}
    if isinstance(data, list):
        return [below(None, item) for item in data]
    return masked_text(data) if isinstance(data, str) else data


def _tells(key: object) -> bool:
    return isinstance(key, str) and SECRET_KEY.search(key) is not None


def _is_scalar(value: object) -> bool:
    return value is not None and not isinstance(value, (bool, dict, list))
