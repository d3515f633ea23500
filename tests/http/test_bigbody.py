"""Is the model found in windows of any size, as it is in a whole body?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http import bigbody
from swapcore_http.bigbody import Windows, find_member
from swapcore_http.extract import Named, NoModelError, find_model

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(alphabet='a"\\{}[],: \n\u00e4\U0001f600', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "a", "m\\"]), inner)
    ),
    max_leaves=12,
)


def windows(data: bytes) -> Windows:
    return Windows(lambda start, size: data[start : start + size], len(data))


def find(data: bytes, size: int, kind: str = "application/json") -> Named:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigbody, "WINDOW", size)
        return find_model(method="POST", query="", content_type=kind, body=windows(data))


@given(
    members=st.lists(
        st.tuples(st.sampled_from(["model", "mode", "a", "\u00e4", "mod\\"]), values), max_size=5
    ),
    size=st.integers(1, 40),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
def test_it_finds_what_a_parser_finds(
    members: list[tuple[str, Any]], size: int, indent: int | None, *, ascii_only: bool
) -> None:

    def dumped(value: object) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    written = [f"{dumped(key)} : {dumped(value)}" for key, value in members]
    data = ("{" + " ,\n".join(written) + "}").encode()
    expected = next((value for key, value in members if key == "model"), "absent")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigbody, "WINDOW", size)
        found = find_member(windows(data), "model")
    if expected == "absent" and not any(key == "model" for key, _ in members):
        assert found is None
        return
    assert found is not None
    value, start, end = found
    assert json.loads(data[start:end]) == expected
    assert value == (expected if isinstance(expected, str) or expected is None else data[start:end].decode())


@given(data=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ model', max_size=60).map(str.encode))
def test_anything_at_all_comes_to_an_end(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigbody, "WINDOW", 3)
        find_member(windows(data), "model")


@given(data=st.binary(max_size=40), what=st.binary(min_size=1, max_size=4), start=st.integers(0, 45))
def test_bytes_are_found_as_in_bytes(data: bytes, what: bytes, start: int) -> None:
    for size in (1, 2, 7):
        for end in (None, 5, 30):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(bigbody, "WINDOW", size)
                stop = len(data) if end is None else end
                assert windows(data).find(what, start, end) == data.find(what, start, stop)
                assert windows(data).startswith(what, start) == data.startswith(what, start)
                assert windows(data)[start:end] == data[start:end]


@pytest.mark.parametrize(
    "data", [b"[]", b'"model"', b"", b"   ", b'x{"model":"a"}', b'[{"model":"a"}]', b"{"]
)
def test_what_is_no_object_names_nothing(data: bytes) -> None:
    with pytest.raises(NoModelError):
        find(data, 5)


def test_a_form_with_parts() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + b"\r\n--" * 500
    data = part + b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nabc\r\n--b--\r\n'
    for size in (64, 1000):
        named = find(data, size, "multipart/form-data; boundary=b")
        ((start, end),) = named.spans
        assert (named.name, data[start:end]) == ("abc", b"abc")


def test_what_is_all_brackets_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigbody, "MOST_TOKENS", 1000)
    assert find_member(windows(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b',"model":"a"}'), "model") is None
