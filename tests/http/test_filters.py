"""Is a body changed as its model's filters say, and nowhere else?"""

import json
from typing import Any

import pytest

from swapcore_http.config import FiltersConfig
from swapcore_http.extract import edited, find_model
from swapcore_http.filters import Changes, UnfilteredError, body_edits

JSON = "application/json"
MULTIPART = "multipart/form-data; boundary=X"


def filtered(
    body: str | bytes, kind: str = JSON, *, rename: str | None = None, asked: str = "a", **fields: Any
) -> bytes:
    raw = body.encode() if isinstance(body, str) else body
    named = find_model(method="POST", query="", content_type=kind, body=raw)
    return edited(raw, body_edits(raw, named, Changes(rename, FiltersConfig(**fields), asked)))


@pytest.mark.parametrize(
    ("body", "fields", "expected"),
    [
        ('{"model":"a", "t":1}', {}, '{"model":"a", "t":1}'),
        ('{"model":"a", "t":1}', {"strip_params": "t"}, '{"model":"a"}'),
        ('{"t":1, "model":"a" }', {"strip_params": " t , x ,, t"}, '{"model":"a" }'),
        ('{"model":"a"}', {"strip_params": "model, model.x"}, '{"model":"a"}'),
        ('{"model":"a"}', {"set_params": {"model": "b", "model.x": 1}}, '{"model":"a"}'),
        ('{"model":"a","t":1,"u":2}', {"set_params": {"t": 0.5}}, '{"model":"a","t":0.5,"u":2}'),
        ('{"model":"a"}', {"set_params": {"b": 1, "a": 2}}, '{"model":"a","a":2,"b":1}'),
        ('{"model":"a","t":1}', {"strip_params": "t", "set_params": {"t": 2}}, '{"model":"a","t":2}'),
        ('{"model":"a"}', {"set_params_by_id": {"a": {"t": 1}, "b": {"t": 2}}}, '{"model":"a","t":1}'),
        (
            '{"model":"a","t":0}',
            {"set_params": {"t": 1, "u": 1}, "set_params_by_id": {"a": {"t": 2}}},
            '{"model":"a","t":2,"u":1}',
        ),
        ('{"model":"a"}', {"set_params_by_id": {"b": {"t": 2}}}, '{"model":"a"}'),
        ('{"model":"a"}', {"set_params": {"k.think": False}}, '{"model":"a","k":{"think":false}}'),
        (
            '{"model":"a","k":{"x":1}, "ä":"😀"}',
            {"set_params": {"k.think": "ü"}},
            '{"model":"a","k":{"x":1,"think":"ü"}, "ä":"😀"}',
        ),
    ],
)
def test_parameters(body: str, fields: dict[str, Any], expected: str) -> None:
    assert filtered(body, **fields).decode() == expected


def test_the_name_is_changed_with_the_rest() -> None:
    body = '{"t":1,"ä":2,"model":"a","u":3,"model":"x"}'
    fields: dict[str, Any] = {"strip_params": "u,t", "set_params": {"v": 1}}
    expected = '{"ä":2,"model":"real","model":"real","v":1}'
    assert filtered(body, rename="real", **fields).decode() == expected


def test_bytes_that_are_no_text_stay() -> None:
    assert (
        filtered(b'{"x":"\xff\xfe","t":1,"model":"a"}', strip_params="t") == b'{"x":"\xff\xfe","model":"a"}'
    )


def test_only_json_is_filtered() -> None:
    body = '--X\r\nContent-Disposition: form-data; name="model"\r\n\r\na\r\n--X--\r\n'
    assert filtered(body, MULTIPART, rename="b", strip_params="t") == body.replace("\na", "\nb").encode()
    form = "application/x-www-form-urlencoded"
    assert filtered("t=1&model=a", form, strip_params="t", set_params={"x": 1}) == b"t=1&model=a"


@pytest.mark.parametrize("body", ['{"model":"a","t":1', '{"model":"a","t":[1,]}', '{"model":"a"} x'])
def test_what_cannot_be_read_is_not_let_past_a_filter(body: str) -> None:
    assert filtered(body) == body.encode()
    assert filtered(body, rename="b") == body.replace('"a"', '"b"').encode()
    with pytest.raises(UnfilteredError, match="the body is not valid JSON"):
        filtered(body, strip_params="t")
    with pytest.raises(UnfilteredError, match="the body is nested too deeply"):
        filtered('{"model":"a","t":' + "[" * 200_000 + "]" * 200_000 + "}", strip_params="t")


def test_repeated_keys_do_not_get_past_a_filter() -> None:
    body = '{"model":"a","t":1,"t":2}'
    assert json.loads(filtered(body, strip_params="t")) == {"model": "a"}
    assert b"2" not in filtered(body, set_params={"t": 0})
