"""Is it known where each value of a JSON text stands?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.jsontext import decoded, members, offsets

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values, st.none() | st.integers(0, 3))
def test_members_stand_where_they_are_said_to(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    found = list(members(text))
    if isinstance(value, dict):
        assert {one.key: json.loads(text[one.value_start : one.end]) for one in found} == value
        assert [json.loads("{" + text[one.start : one.end] + "}") for one in found] == [
            {key: item} for key, item in value.items()
        ]
    elif isinstance(value, list):
        assert [json.loads(text[one.value_start : one.end]) for one in found] == value
    else:
        assert not found


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ('{"a":[1,],"b":1}', ["[1,]", "1"]),
        ('{"a":{"x":nope},"b":1}', ['{"x":nope}', "1"]),
        ('{"a":nope,"b":1}', ["nope", "1"]),
        ('{"a":[}]],"b":1}', ["[}", None]),
        ('{"a":"open', [None]),
        ('{"a":[', [None]),
    ],
)
def test_what_cannot_be_read_is_passed_over_by_its_brackets(text: str, ends: list[str | None]) -> None:
    found: list[str | None] = []
    try:
        for one in members(text, lenient=True):
            found.append(text[one.value_start : one.end])  # noqa: PERF401 - those before the error count.
    except json.JSONDecodeError:
        found.append(None)
    assert found == ends


@given(st.binary(max_size=50), st.data())
def test_positions_are_counted_in_bytes(body: bytes, data: st.DataObject) -> None:
    text = decoded(body)
    positions = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    found = list(offsets(text, body, positions))
    assert [decoded(body[:offset]) for offset in found] == [text[:position] for position in positions]
