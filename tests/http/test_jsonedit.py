"""Does a change say what was asked for, and leave every other character alone?"""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.jsonedit import PathError, Step, changes, parse_path


def changed(text: str, strip: tuple[str, ...] = (), put: dict[str, Any] | None = None) -> str:
    paths = [parse_path(path) for path in strip]
    values = [(parse_path(path), value) for path, value in (put or {}).items()]
    result, done = "", 0
    for start, end, new in changes(text, paths, values):
        assert start >= done, "changes overlap"
        result += text[done:start] + new
        done = end
    return result + text[done:]


# Taking out ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "strip", "expected"),
    [
        ('{"a":1}', ("a",), "{}"),
        ('{ "a" : 1 , "b" : 2 }', ("a",), '{ "b" : 2 }'),
        ('{ "a" : 1 , "b" : 2 }', ("b",), '{ "a" : 1 }'),
        ('{"a":1, "b":2, "c":3}', ("b",), '{"a":1, "c":3}'),
        ('{"a":1, "b":2, "c":3}', ("a", "b"), '{"c":3}'),
        ('{"a":1, "b":2, "c":3}', ("b", "c"), '{"a":1}'),
        ('{"a":1, "b":2, "c":3}', ("a", "c"), '{"b":2}'),
        ('{ "a":1, "b":2 }', ("a", "b"), "{  }"),
        ('{"a":1,"b":2,"a":[3]}', ("a",), '{"b":2}'),
        ('{"\\u0061":1,"b":2}', ("a",), '{"b":2}'),
        ('{"a":{"b":1,"c":2},"b":3}', ("a.b",), '{"a":{"c":2},"b":3}'),
        ('{"a":[1, 2, 3]}', ("a.1",), '{"a":[1, 3]}'),
        ('{"a":[1, 2, 3]}', ("a.-1",), '{"a":[1, 2]}'),
        ('{"a":[{"x":1,"y":2},{"x":3}]}', ("a.0.x",), '{"a":[{"y":2},{"x":3}]}'),
        ('{"a.b":1,"a":{"b":2}}', ("a\\.b",), '{"a":{"b":2}}'),
        ('{"0":1}', ("0",), "{}"),
        ('{"a":[1],"b":1}', ("a.5", "a.x", "b.c", "nothing", "a.:0"), '{"a":[1],"b":1}'),
        ('{"ü":1,"b":2}', ("b",), '{"ü":1}'),
    ],
)
def test_taking_out(text: str, strip: tuple[str, ...], expected: str) -> None:
    assert changed(text, strip) == expected


# Putting in ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "put", "expected"),
    [
        ("{}", {"a": 1}, '{"a":1}'),
        ("{ }", {"a": 1}, '{"a":1 }'),
        ('{"x" : 1 }', {"a": None}, '{"x" : 1,"a":null }'),
        ('{"x":1}', {"a": 1, "b": "ü"}, '{"x":1,"a":1,"b":"ü"}'),
        ('{ "a" : 1 , "b":2}', {"a": {"c": [True, 0.5]}}, '{ "a" : {"c":[true,0.5]} , "b":2}'),
        ('{"a":1,"b":2,"a":3}', {"a": 0}, '{"a":0,"b":2,"a":0}'),
        ('{"a":{"b":1 },"c":2}', {"a.b": 5, "a.d": 6}, '{"a":{"b":5,"d":6 },"c":2}'),
        ('{"x":1}', {"a.b.c": 1}, '{"x":1,"a":{"b":{"c":1}}}'),
        ('{"x":1}', {"a.1.c": 1}, '{"x":1,"a":[null,{"c":1}]}'),
        ('{"x":1}', {"a.:1.c": 1}, '{"x":1,"a":{"1":{"c":1}}}'),
        ('{"x":1}', {"a.-1": 1}, '{"x":1,"a":[1]}'),
        ('{"a":[1,2]}', {"a.1": 5, "a.-1": 6}, '{"a":[1,5,6]}'),
        ('{"a":[]}', {"a.2": 5}, '{"a":[null,null,5]}'),
        ('{"a":[{"b":1}, {"b":2}]}', {"a.1.b": 5}, '{"a":[{"b":1}, {"b":5}]}'),
        ('{"a":5}', {"a.b": 1}, '{"a":{"b":1}}'),
        ('{"a":[5]}', {"a.b": 1}, '{"a":{"b":1}}'),
        ('{"a":1}', {"a\\.b": 2}, '{"a":1,"a.b":2}'),
        ('{"x":1}', {"a": {"b": 1}, "a.c": 2}, '{"x":1,"a":{"b":1,"c":2}}'),
        ('{"x":{"y":1}}', {"x": {"b": 1}, "x.b": 2}, '{"x":{"b":2}}'),
    ],
)
def test_putting_in(text: str, put: dict[str, Any], expected: str) -> None:
    assert changed(text, put=put) == expected


def test_what_is_taken_out_first_can_be_put_in_again() -> None:
    assert changed('{"a":1,"b":2}', ("a", "b"), {"b": 3}) == '{"b":3}'
    assert changed('{"a":1,"b":2,"c":3}', ("b",), {"b": 4}) == '{"a":1,"c":3,"b":4}'
    assert changed('{"a":{"b":1}}', ("a.b",), {"a.c": 4}) == '{"a":{"c":4}}'
    assert changed('{"a":[1,2,3]}', ("a.0",), {"a.0": 4}) == '{"a":[4,3]}'


def test_malformed_text_is_refused() -> None:
    for text in ('{"a":1', '{"a":1,}', '{"a":1} x', "{'a':1}"):
        with pytest.raises(json.JSONDecodeError):
            changed(text, ("a",))


# Paths --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a", [("a", None)]),
        ("a.b.0", [("a", None), ("b", None), ("0", 0)]),
        ("a\\.b", [("a.b", None)]),
        ("a\\*", [("a*", None)]),
        (":0.:x", [("0", None), ("x", None)]),
        ("a.-1", [("a", None), ("-1", -1)]),
        ("a..b", [("a", None), ("", None), ("b", None)]),
        ("a\\", [("a\\", None)]),
        ("²", [("²", None)]),
    ],
)
def test_paths(path: str, steps: list[tuple[str, int | None]]) -> None:
    assert parse_path(path) == tuple(Step(name, index) for name, index in steps)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "a path is empty; expected the name of a parameter"),
        ("a.*", "'*' in the path 'a.*' is a wildcard; write \\* if it is meant"),
        ("a.#", "'#' in the path 'a.#' is a wildcard; write \\# if it is meant"),
        ("a.1001", "an index in the path 'a.1001' is larger than 1000; write :1001 if it is a name"),
    ],
)
def test_what_is_no_path(path: str, says: str) -> None:
    with pytest.raises(PathError) as caught:
        parse_path(path)
    assert str(caught.value) == says


# Against plain data -------------------------------------------------------------

names = st.sampled_from(["a", "b", "c", "ü"])
values = st.recursive(
    st.none() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
paths = st.lists(names | st.sampled_from(["0", "1", "-1"]), min_size=1, max_size=3).map(".".join)


def step_of(part: str) -> int | str:
    return part if part in "abcü" else int(part)


def strip_plain(data: Any, parts: list[str]) -> None:
    first, *rest = parts
    here: Any = None
    if isinstance(data, dict) and first in data:
        here = first
    elif isinstance(data, list) and step_of(first) != first and -len(data) <= int(first) < len(data) and data:
        here = int(first)
    if here is None:
        return
    if rest:
        strip_plain(data[here], rest)
    else:
        del data[here]


def put_plain(data: Any, parts: list[str], value: Any) -> Any:
    """Put it in, and return what is then there in place of the data."""
    if not parts:
        return copy.deepcopy(value)
    first, *rest = parts
    step = step_of(first)
    if isinstance(data, dict):
        data[first] = put_plain(data.get(first), rest, value)
        return data
    if step == first:
        return {first: put_plain(None, rest, value)}
    kept = data if isinstance(data, list) else []
    if step == -1:
        if rest and kept:
            kept[-1] = put_plain(kept[-1], rest, value)
        else:
            kept.append(put_plain(None, rest, value))
        return kept
    assert isinstance(step, int)
    kept += [None] * (step + 1 - len(kept))
    kept[step] = put_plain(kept[step], rest, value)
    return kept


@given(
    data=st.dictionaries(names, values, max_size=4),
    strip=st.lists(paths, max_size=3),
    put=st.lists(st.tuples(names, st.lists(paths, max_size=1), values), max_size=3),
    indent=st.none() | st.integers(0, 2),
    ascii_only=st.booleans(),
)
def test_it_equals_changing_plain_data(
    data: dict[str, Any],
    strip: list[str],
    put: list[tuple[str, list[str], Any]],
    *,
    indent: int | None,
    ascii_only: bool,
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    assigned = {".".join([name, *more]): value for name, more, value in put}
    expected = copy.deepcopy(data)
    for path in strip:
        strip_plain(expected, path.split("."))
    for path, value in assigned.items():
        put_plain(expected, path.split("."), value)
    assert json.loads(changed(text, tuple(strip), assigned)) == expected
