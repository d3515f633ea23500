"""Which model does a request name, and where in its bytes does it do so?

Where the name stands depends on the method and the content type: in the
query, in a JSON object, in a field of a form. The bytes are looked at, never
changed: `Named.edits` says what would replace the name and nothing else.
"""

import json
import re
from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import collapse_rfc2231_value
from urllib.parse import quote_plus, unquote_to_bytes

from attrs import frozen

from swapcore_http.bigbody import Windows, find_member
from swapcore_http.jsontext import DECODER, Member, decoded, members, offsets, skip

__all__ = ["Edit", "Named", "NoModelError", "UnreadableError", "edited", "find_model", "plain_name"]

NO_MODEL = "no model id could be identified"

MAX_FORM_FIELDS = 10_000
"""Fields of a form, or parts of a multipart body, that are looked at."""

MAX_FORM = 8 * 1024 * 1024
"""Bytes of an urlencoded form that are looked at."""

MAX_PART_HEAD = 16 * 1024
"""Bytes of the header fields of one multipart part that are looked at."""

Edit = tuple[int, int, bytes]
"""What is to stand in some bytes in place of those from one position to another."""

_PAIR = re.compile(rb"[^&]+")
_FIRST = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"model"[ \t\n\r]*:[ \t\n\r]*"([^"\\]+)"[ \t\n\r]*[,}]')
_MODEL = re.compile(r'"model"[ \t\n\r]*:[ \t\n\r]*"([^"\\]*)"')


class NoModelError(LookupError):
    """The request can be read, but names no model."""


class UnreadableError(ValueError):
    """The body is not what its content type says."""


@frozen(eq=False, repr=False)
class Named:
    """The model that a request names."""

    name: str
    """The name as the client wrote it, not resolved yet."""

    spans: tuple[tuple[int, int], ...] = ()
    """Where it says so, as (start, end) in bytes: more than once if the key is repeated."""

    write: Callable[[str], str] = str
    """How a name is written there."""

    in_query: bool = False
    """Whether that is in the query, and not in the body."""

    is_json: bool = False
    """Whether the body is a JSON object."""

    def edits(self, name: str) -> list[Edit]:
        """Say what makes it name that model instead, and leaves all other bytes as they are."""
        written = self.write(name).encode(errors="surrogateescape")
        return [(start, end, written) for start, end in self.spans]


def edited(data: bytes, edits: list[Edit]) -> bytes:
    """Make these changes, which are in ascending order."""
    pieces, done = [], 0
    for start, end, new in edits:
        pieces += [data[done:start], new]
        done = end
    return b"".join([*pieces, data[done:]])


def find_model(*, method: str, query: str, content_type: str, body: bytes | Windows) -> Named:
    """Find the model's name in a request.

    It takes time in proportion to the body's length: call it in a thread if
    that is large.

    Args:
        method: The HTTP method. With GET and HEAD only the query counts.
        query: The raw query, without its question mark.
        content_type: The `Content-Type` field, empty if there is none.
        body: The whole body. If it is too large to be read at once, the first
            `model` counts, and JSON may be malformed after that.

    Raises:
        NoModelError: no name, or an empty one.
        UnreadableError: the content type says JSON, and the body is none; if
            it names its model before that shows, or beside it, that is no error.
    """
    kind = content_type.lower()
    if method in {"GET", "HEAD"}:
        named = _in_form(query.encode(errors="surrogateescape"), in_query=True)
        hint = "the query has no `model`"
    elif "application/json" in kind:
        return _in_json(body) if isinstance(body, bytes) else _in_big_json(body)
    elif "multipart/form-data" in kind:
        named = _in_multipart(body, content_type)
        hint = "the form has no field `model`"
    else:
        named = _in_form(body[:MAX_FORM] if "application/x-www-form-urlencoded" in kind else b"")
        if not named.name:
            named = _in_form(query.encode(errors="surrogateescape"), in_query=True)
        hint = "neither form nor query has a field `model`"
        if body.lstrip()[:1] == b"{":
            said = repr(content_type) if content_type else "missing"
            hint = f"the body looks like JSON, but its Content-Type is {said}"
    if not named.name:
        raise NoModelError(f"{NO_MODEL}: {hint}")
    return named


def plain_name(body: bytes) -> str | None:
    """Return the model that a JSON body names; `None` if it takes `find_model` to tell."""
    match = _in_plain_json(decoded(body))
    return None if match is None else match[1]


def _in_form(form: bytes, *, in_query: bool = False) -> Named:
    """Find the first of the fields `model` of an urlencoded form."""
    names, spans = [], []
    for number, pair in enumerate(_PAIR.finditer(form)):
        if number >= MAX_FORM_FIELDS:
            return Named("")
        key, _, value = pair[0].partition(b"=")
        if _unquoted(key) == "model":
            names.append(_unquoted(value))
            spans.append((pair.end() - len(value), pair.end()))
    return Named(names[0] if names else "", tuple(spans), quote_plus, in_query=in_query)


def _unquoted(text: bytes) -> str:
    return unquote_to_bytes(text.replace(b"+", b" ")).decode(errors="replace")


def _in_json(body: bytes) -> Named:
    text = decoded(body)
    match = _in_plain_json(text)
    if match is None:
        return _in_any_json(text, body)
    start, end = offsets(text, body, match.span(1))
    return Named(match[1], ((start - 1, end + 1),), _as_json, is_json=True)


def _in_plain_json(text: str) -> re.Match[str] | None:
    """Find the one member called `model` of an object, if it is as plain as almost all are.

    The name is not written anywhere else, not even in another way: so where it is written is where it is.
    """
    if text.count('"model"') != 1 or "\\u006" in text:
        return None
    if (first := _FIRST.match(text)) is not None:
        # Whatever follows, well-formed or not, changes nothing.
        return first
    try:
        read = DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    name = read.get("model") if type(read) is dict else None
    match = _MODEL.search(text)
    if not isinstance(name, str) or not name or match is None or match[1] != name:
        return None
    return match


def _in_any_json(text: str, body: bytes) -> Named:
    found, error = _read(text, lenient=False)
    if error is not None and not found:
        # Whether malformed JSON is good enough is for the upstream to say, if it can be told which one.
        found, _ = _read(text, lenient=True)
    # As in llama-swap the first of several counts, and what is no text counts as it is written.
    name = ""
    if found:
        value, first = found[0].value, found[0]
        name = (
            value if isinstance(value, str) else "" if value is None else text[first.value_start : first.end]
        )
    if not name and error is not None:
        raise UnreadableError(error)
    if not name:
        is_object = text.startswith("{", skip(text, 0))
        raise NoModelError(
            f"{NO_MODEL}: " + ("the body has no `model`" if is_object else "the body is not a JSON object")
        )
    ends = offsets(text, body, [position for one in found for position in (one.value_start, one.end)])
    return Named(name, tuple(zip(ends, ends, strict=True)), _as_json, is_json=True)


def _in_big_json(body: Windows) -> Named:
    found = find_member(body, "model")
    if found is None or not found[0]:
        raise NoModelError(f"{NO_MODEL}: the body, which is a large one, has no `model`")
    value, start, end = found
    return Named(str(value), ((start, end),), _as_json, is_json=True)


def _read(text: str, *, lenient: bool) -> tuple[list[Member], str | None]:
    """Collect the members called `model`, and say what is wrong with what comes after them."""
    found = []
    try:
        # Items of arrays have no name.
        for member in members(text, lenient=lenient):
            if member.key == "model":
                found.append(member)  # noqa: PERF401 - those before the error count.
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        return found, f"the body is not valid JSON: {error.msg} at {where}"
    except RecursionError:
        return found, "the body is nested too deeply"
    return found, None


def _as_json(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _in_multipart(body: bytes | Windows, content_type: str) -> Named:
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


def _parts(body: bytes | Windows, delimiter: bytes) -> Iterator[tuple[bytes, int, int]]:
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
