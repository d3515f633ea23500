"""Is the model found where the request names it, and is only it replaced?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http import extract
from swapcore_http.extract import Named, NoModelError, UnreadableError, edited, find_model

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
NO_MODEL = "no model id could be identified"


def find(body: str | bytes, content_type: str = JSON, *, method: str = "POST", query: str = "") -> Named:
    raw = body.encode() if isinstance(body, str) else body
    return find_model(method=method, query=query, content_type=content_type, body=raw)


def renamed(named: Named, body: bytes, name: str) -> bytes:
    return edited(body, named.edits(name))


# JSON ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ('{"model":"a"}', "a"),
        (' \t\r\n{ "x" : [1, {"model": "inner"}], "model" : "a/b:c" , "y": null } \n', "a/b:c"),
        ('{"messages":[{"model":"wrong"}],"model":"right"}', "right"),
        ('{"text":"\\"model\\":\\"wrong\\"","model":"right"}', "right"),
        ('{"mo\\u0064el":"escaped key"}', "escaped key"),
        ('{"model":"\\u00fc\\ud83d\\ude00"}', "ü😀"),
        ('{"model":"first","model":"second"}', "first"),
        ('{"model":5}', "5"),
        ('{"model":1.50e3}', "1.50e3"),
        ('{"model":true}', "true"),
        ('{"model":{"a": 1}}', '{"a": 1}'),
        ('{"model":"a","n":' + "9" * 10_000 + "}", "a"),
        ('{"model":"a","n":NaN}', "a"),
    ],
)
def test_json_names_a_model(body: str, name: str) -> None:
    assert find(body).name == name


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("{}", "the body has no `model`"),
        ('{"Model":"a"}', "the body has no `model`"),
        ('{"model":""}', "the body has no `model`"),
        ('{"model":null}', "the body has no `model`"),
        ('{"a":{"model":"a"}}', "the body has no `model`"),
        ("[]", "the body is not a JSON object"),
        ('[{"model":"a"}]', "the body is not a JSON object"),
        ('"model"', "the body is not a JSON object"),
        ("5", "the body is not a JSON object"),
    ],
)
def test_json_without_a_model(body: str, hint: str) -> None:
    with pytest.raises(NoModelError) as caught:
        find(body)
    assert str(caught.value) == f"{NO_MODEL}: {hint}"


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"a"',
        '{"model":"a",}',
        '{"model":"a"}\n{"model":"b"}',
        '{"model":"a"} trailing',
        '{"model":"a","messages":[1,2',
        '{"model":"a","deep":' + "[" * 200_000,
        '\ufeff{"model":"a"}',
        '{"x":[1,2,],"model":"a"}',
        '{"x":{"y":1,},"z":[tru],"model":"a","more":nope}',
        '{"x":None,"model":"a"}',
        '{"deep":' + "[" * 200_000 + "]" * 200_000 + ',"model":"a"}',
        '{"x":"line\nbreak","model":"a"}',
        b'{"x":"\xff\xfe","model":"a"}',
        b'{"\xff":1,"model":"a","y":"\xc3"}',
    ],
)
def test_malformed_json_may_name_a_model(body: str | bytes) -> None:
    raw = body.encode() if isinstance(body, str) else body
    named = find(raw)
    assert named.name == "a"
    assert renamed(named, raw, "b") == raw.replace(b'"model":"a"', b'"model":"b"')


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not valid JSON: Expecting value at line 1 column 1"),
        (
            "{not json}",
            "not valid JSON: Expecting property name enclosed in double quotes at line 1 column 2",
        ),
        ('{"model" "a"}', "not valid JSON: Expecting ':' at line 1 column 10"),
        (
            "{'model':'a'}",
            "not valid JSON: Expecting property name enclosed in double quotes at line 1 column 2",
        ),
        ('{"model":}', "not valid JSON: Expecting value at line 1 column 10"),
        ("{\"model\":'a'}", "not valid JSON: Expecting value at line 1 column 10"),
        ('{"model":"a', "not valid JSON: Unterminated string starting at at line 1 column 10"),
        ('{"x":[1,2,"model":"a"}', "not valid JSON: Expecting ',' delimiter at line 1 column 18"),
        ('{"":1 "model":"a"}', "not valid JSON: Expecting '}' at line 1 column 7"),
        ('["model"', "not valid JSON: Expecting ']' at line 1 column 9"),
        ("[" * 200_000, "nested too deeply"),
    ],
)
def test_malformed_json_is_unreadable(body: str | bytes, reason: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        find(body)
    assert str(caught.value).removeprefix("the body is ") == reason


def test_json_ignores_the_query() -> None:
    with pytest.raises(NoModelError):
        find("{}", query="model=a")


def test_json_is_renamed_and_nothing_else() -> None:
    body = '{ "x":"ä😀" ,"model" :\t"old" , "y": 1.0e2,"model":7,"z":"old"}'.encode()
    expected = '{ "x":"ä😀" ,"model" :\t"new \\"ö\\"" , "y": 1.0e2,"model":"new \\"ö\\"","z":"old"}'
    assert renamed(find(body), body, 'new "ö"').decode() == expected


def test_many_repeated_keys_cost_no_more_than_their_length() -> None:
    body = ('{"ä":0' + ',"model":"x"' * 100_000 + "}").encode()
    assert json.loads(renamed(find(body), body, "y"))["model"] == "y"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("model"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    before=st.dictionaries(st.text().filter(lambda key: key != "model"), values, max_size=3),
    after=st.dictionaries(st.text().filter(lambda key: key != "model"), values, max_size=3),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    new=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 3),
)
def test_renaming_equals_changing_the_parsed_object(
    before: dict[str, Any],
    after: dict[str, Any],
    name: str,
    new: str,
    *,
    ascii_only: bool,
    indent: int | None,
) -> None:
    whole = {**before, "model": name, **after}
    body = json.dumps(whole, ensure_ascii=ascii_only, indent=indent).encode(errors="replace")
    named = find(body)
    assert named.name == name
    assert json.loads(renamed(named, body, new)) == {**json.loads(body), "model": new}


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,model \\u0a1', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        named = find(body)
    except (NoModelError, UnreadableError):
        return
    assert find(renamed(named, body, "z")).name == "z"


# Multipart ----------------------------------------------------------------------


def multipart(*parts: tuple[str, bytes], boundary: str = "XX", preamble: bytes = b"") -> bytes:
    body = preamble
    for disposition, content in parts:
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


MULTIPART = "multipart/form-data; boundary=XX"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(('form-data; name="model"', b"a")), MULTIPART),
        (multipart(("form-data; name=model", b"a")), MULTIPART),
        (multipart(("Form-Data; NAME=model", b"a")), MULTIPART),
        (
            multipart(
                ('form-data; name="file"; filename="model"', b"\x00\r\n--X"),
                ('form-data; name="model"', b"a"),
            ),
            MULTIPART,
        ),
        (
            multipart(
                ('form-data; name="model"; filename="m"', b"not this"), ('form-data; name="model"', b"a")
            ),
            MULTIPART,
        ),
        (multipart(('form-data; name="model"', b"a"), boundary="a b"), 'Multipart/Form-Data; boundary="a b"'),
        (multipart(('form-data; name="model"', b"a"), preamble=b"to be ignored\r\n"), MULTIPART),
        (multipart(('form-data; name="empty"', b""), ('form-data; name="model"', b"a")), MULTIPART),
        (b"--XX\r\n\r\nwithout fields\r\n" + multipart(('form-data; name="model"', b"a")), MULTIPART),
        (multipart(('form-data; name="model"\r\nContent-Type: text/plain', b"a")), MULTIPART),
        (multipart(('form-data; name="model"', b"a"), ('form-data; name="model"', b"b")), MULTIPART),
    ],
)
def test_multipart_names_a_model(body: bytes, content_type: str) -> None:
    assert find(body, content_type).name == "a"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", MULTIPART),
        (multipart(('form-data; name="other"', b"a")), MULTIPART),
        (multipart(('form-data; name="model"', b"")), MULTIPART),
        (multipart(('form-data; name="model"', b"a")), "multipart/form-data"),
        (multipart(('form-data; name="model"', b"a")), "multipart/form-data; boundary=YY"),
        (multipart(('form-data; name="model"', b"a"))[:-12], MULTIPART),
        (b"--XX\r\nContent-Disposition: form-data; name=model", MULTIPART),
        (multipart(("x" * 20_000 + "; name=model", b"a")), MULTIPART),
    ],
)
def test_multipart_without_a_model(body: bytes, content_type: str) -> None:
    with pytest.raises(NoModelError) as caught:
        find(body, content_type, query="model=a")
    assert str(caught.value) == f"{NO_MODEL}: the form has no field `model`"


def test_multipart_is_renamed_and_nothing_else() -> None:
    file = b"\x00model\xff\r\n--X\r\n"
    body = multipart(('form-data; name="file"; filename="f"', file), ('form-data; name="model"', b"old"))
    expected = multipart(
        ('form-data; name="file"; filename="f"', file), ('form-data; name="model"', b"n\xc3\xa9w")
    )
    assert renamed(find(body, MULTIPART), body, "néw") == expected


@given(
    st.lists(
        st.sampled_from(
            [b"--XX", b"\r\n", b"--", b"model", b'Content-Disposition: form-data; name="model"', b"x"]
        )
    )
)
def test_any_multipart_is_read_or_refused(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        named = find(body, MULTIPART)
    except NoModelError:
        return
    assert renamed(named, body, named.name) == body


# Forms and queries --------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type", "query"),
    [
        ("model=a%2Fb&x=1", FORM, ""),
        ("x=1&model=a/b&model=c", FORM + "; charset=utf-8", "model=d"),
        ("x=1", FORM, "model=a%2fb"),
        ("", "", "stream=true&model=a/b"),
        ("model=c", "text/plain", "model=a/b"),
        ("mo%64el=a/b", FORM, ""),
    ],
)
def test_forms_and_queries_name_a_model(body: str, content_type: str, query: str) -> None:
    assert find(body, content_type, query=query).name == "a/b"


@pytest.mark.parametrize(
    ("body", "query", "expected", "in_query"),
    [
        (
            "x=%2F&model=a+b&y&model=&z=a+b",
            "model=q",
            "x=%2F&model=n%C3%A9+%26&y&model=n%C3%A9+%26&z=a+b",
            False,
        ),
        ("model", "x=1&model=a%20b&&y=%7E", "x=1&model=n%C3%A9+%26&&y=%7E", True),
        ("", "mod%65l=a", "mod%65l=n%C3%A9+%26", True),
    ],
)
def test_forms_and_queries_are_renamed_and_nothing_else(
    body: str, query: str, expected: str, *, in_query: bool
) -> None:
    named = find(body, FORM, query=query)
    assert named.in_query is in_query
    place = query if in_query else body
    assert renamed(named, place.encode(), "né &").decode() == expected


@pytest.mark.parametrize(
    ("body", "content_type", "hint"),
    [
        ("", "", "neither form nor query has a field `model`"),
        ("model=", FORM, "neither form nor query has a field `model`"),
        ("x&" * 20_000 + "model=a", FORM, "neither form nor query has a field `model`"),
        ('{"model":"a"}', "", "the body looks like JSON, but its Content-Type is missing"),
        ('{"model":"a"}', FORM, f"the body looks like JSON, but its Content-Type is {FORM!r}"),
    ],
)
def test_forms_without_a_model(body: str, content_type: str, hint: str) -> None:
    with pytest.raises(NoModelError) as caught:
        find(body, content_type)
    assert str(caught.value) == f"{NO_MODEL}: {hint}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_names_its_model_in_the_query(method: str) -> None:
    assert find('{"model":"b"}', method=method, query="model=a").name == "a"
    with pytest.raises(NoModelError):
        find('{"model":"b"}', method=method)


PIECES = st.sampled_from(
    [
        '"model"',
        '"mod\\u0065l"',
        '"\\u00e9"',
        '"x"',
        '"ä"',
        ":",
        ",",
        "{",
        "}",
        "[",
        "]",
        " ",
        "1",
        "null",
        "\\",
        '"',
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.booleans())
def test_the_short_way_finds_what_the_long_way_finds(text: str, whole: bool) -> None:  # noqa: FBT001
    if whole:
        text = '{"a": 1, ' + text + ', "b": {"model2": "y"}}'
    body = text.encode()
    if extract._in_plain_json(text) is not None:
        short = extract._in_json(body)
        assert extract._in_any_json(text, body) == short
        assert extract.plain_name(body) == short.name


def test_plain_bodies_take_the_short_way() -> None:
    for body in (b'{"model":"a","x":[{"y":1}]}', '{"x": "ä\\u00e9", "model" : "ä"}'.encode()):
        assert extract.plain_name(body) is not None
