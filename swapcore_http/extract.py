"""Which model does a request name, and where in its bytes does it do so?

Where the name stands depends on the method and the content type: in the
query, in a JSON object, in a field of a form. The bytes are looked at, never
changed, except by `Named.renamed`, which replaces the name and nothing else.
"""

import json
import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value
from typing import Any
from urllib.parse import parse_qs

from attrs import frozen

__all__ = ["Named", "NoModelError", "UnreadableError", "find_model"]

NO_MODEL = "no model id could be identified"

MAX_FORM_FIELDS = 10_000
"""Fields of a form, or parts of a multipart body, that are looked at."""

MAX_PART_HEAD = 16 * 1024
"""Bytes of the header fields of one multipart part that are looked at."""

# Numbers stay text: their values are of no interest, and huge ones are costly to convert.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACE = re.compile(r"[ \t\n\r]*")


class NoModelError(LookupError):
    """The request can be read, but names no model."""


class UnreadableError(ValueError):
    """The body is not what its content type says."""


@frozen
class Named:
    """The model that a request names."""

    name: str
    """The name as the client wrote it, not resolved yet."""

    spans: tuple[tuple[int, int], ...] = ()
    """Where the body says so, as (start, end) in bytes: more than once if the key is repeated."""

    as_json: bool = False
    """Whether the name is written as a JSON value there."""

    def renamed(self, body: bytes, name: str) -> bytes:
        """Return the body with that name in place of the client's, and all other bytes as they are."""
        written = (json.dumps(name, ensure_ascii=False) if self.as_json else name).encode()
        pieces = []
        done = 0
        for start, end in self.spans:
            pieces += [body[done:start], written]
            done = end
        return b"".join([*pieces, body[done:]])


def find_model(*, method: str, query: str, content_type: str, body: bytes) -> Named:
    """Find the model's name in a request.

    It takes time in proportion to the body's length: call it in a thread if
    that is large.

    Args:
        method: The HTTP method. With GET and HEAD only the query counts.
        query: The raw query, without its question mark.
        content_type: The `Content-Type` field, empty if there is none.
        body: The whole body.

    Raises:
        NoModelError: no name, or an empty one.
        UnreadableError: the content type says JSON, and the body is none.
    """
    kind = content_type.lower()
    if method in {"GET", "HEAD"}:
        named = Named(_first(query, "model"))
        hint = "the query has no `model`"
    elif "application/json" in kind:
        return _in_json(body)
    elif "multipart/form-data" in kind:
        named = _in_multipart(body, content_type)
        hint = "the form has no field `model`"
    else:
        form = body.decode(errors="replace") if "application/x-www-form-urlencoded" in kind else ""
        named = Named(_first(form, "model") or _first(query, "model"))
        hint = "neither form nor query has a field `model`"
        if body.lstrip()[:1] == b"{":
            said = repr(content_type) if content_type else "missing"
            hint = f"the body looks like JSON, but its Content-Type is {said}"
    if not named.name:
        raise NoModelError(f"{NO_MODEL}: {hint}")
    return named


def _first(form: str, field: str) -> str:
    """Return the first value of a field of an urlencoded form, or an empty text."""
    try:
        values = parse_qs(form, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        return ""
    return values.get(field, [""])[0]


def _in_json(body: bytes) -> Named:
    try:
        text = body.decode()
        found = list(_members(text, "model"))
    except UnicodeDecodeError as error:
        raise UnreadableError(f"the body is not valid JSON: byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise UnreadableError(f"the body is not valid JSON: {error.msg} at {where}") from None
    except RecursionError:
        raise UnreadableError("the body is nested too deeply") from None
    # As in llama-swap the first of several counts, and what is no text counts as it is written.
    name = ""
    if found:
        value, start, end = found[0]
        name = value if isinstance(value, str) else "" if value is None else text[start:end]
    if not name:
        is_object = text.lstrip(" \t\n\r").startswith("{")
        raise NoModelError(
            f"{NO_MODEL}: " + ("the body has no `model`" if is_object else "the body is not a JSON object")
        )
    offsets = _offsets(text, body, [position for _, *span in found for position in span])
    return Named(name, tuple(zip(offsets, offsets, strict=True)), as_json=True)


def _members(text: str, wanted: str) -> Iterator[tuple[Any, int, int]]:
    """Yield value, start and end of the top-level members of that name; read all of the text."""
    position = _skip(text, 0)
    if text[position : position + 1] != "{":
        _DECODER.decode(text)
        return
    position = _skip(text, position + 1)
    more = text[position : position + 1] != "}"
    while more:
        if text[position : position + 1] != '"':
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, position)
        key, position = _DECODER.raw_decode(text, position)
        position = _expect(text, _skip(text, position), ":")
        start = _skip(text, position)
        value, end = _DECODER.raw_decode(text, start)
        if key == wanted:
            yield value, start, end
        position = _skip(text, end)
        more = text[position : position + 1] == ","
        if more:
            position = _skip(text, position + 1)
    position = _skip(text, _expect(text, position, "}"))
    if position != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _expect(text: str, position: int, mark: str) -> int:
    if text[position : position + 1] != mark:
        raise json.JSONDecodeError(f"Expecting {mark!r}", text, position)
    return position + 1


def _offsets(text: str, body: bytes, positions: list[int]) -> Iterator[int]:
    """Yield the offsets in bytes of ascending positions in the text."""
    if len(text) == len(body):
        yield from positions
        return
    offset = done = 0
    for position in positions:
        # Each stretch is encoded once, however often the key is repeated.
        offset += len(text[done:position].encode())
        done = position
        yield offset


def _in_multipart(body: bytes, content_type: str) -> Named:
    boundary = _fields(b"Content-Type: " + content_type.encode(errors="replace")).get_boundary()
    if not boundary:
        return Named("")
    spans = [
        (start, end)
        for head, start, end in _parts(body, b"--" + boundary.encode(errors="replace"))
        if _field_name(head) == "model"
    ]
    if not spans:
        return Named("")
    first, last = spans[0]
    return Named(body[first:last].decode(errors="replace"), tuple(spans))


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the header block of each complete part, and where its content starts and ends."""
    position = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    for _ in range(MAX_FORM_FIELDS):
        head = position + len(delimiter)
        # From the end of the delimiter's line on, so that a part without header fields is one, too.
        blank = body.find(b"\r\n\r\n", head, head + MAX_PART_HEAD)
        if not body.startswith(delimiter, position) or body.startswith(b"--", head) or blank < 0:
            return
        content = blank + 4
        end = body.find(b"\r\n" + delimiter, content)
        if end < 0:
            return
        yield body[head:blank], content, end
        position = end + 2


def _field_name(head: bytes) -> str | None:
    """Return the form field of a part, unless it is a file."""
    fields = _fields(head.lstrip())
    name = fields.get_param("name", header="Content-Disposition")
    if name is None or fields.get_param("filename", header="Content-Disposition") is not None:
        return None
    return collapse_rfc2231_value(name)


def _fields(head: bytes) -> Message:
    return BytesHeaderParser().parsebytes(head)
