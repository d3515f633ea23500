"""Tests of what an unquoted word means, and of how values are read."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.config.scalars import ReadingError, as_list, as_text, as_truth, as_whole, resolve

MEANINGS: list[tuple[str, object]] = [
    ("", None), ("~", None), ("null", None), ("Null", None), ("nil", "nil"),
    ("true", True), ("FALSE", False), ("tRue", "tRue"),
    ("yes", "yes"), ("off", "off"), ("y", "y"),
    ("0", 0), ("12", 12), ("-12", -12), ("+12", 12), ("1_000", 1000),
    ("0x10", 16), ("-0x1F", -31), ("0o17", 15), ("0b101", 5), ("010", 8), ("09", 9.0),
    ("1e3", 1000.0), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("-1.5e-3", -0.0015), ("1_0.5", 10.5),
    (".inf", math.inf), ("-.Inf", -math.inf),
    ("1:30", "1:30"), ("12:30:45", "12:30:45"), ("2020-01-01", "2020-01-01"), ("1.2.3", "1.2.3"),
    ("-", "-"), ("+", "+"), (".", "."), ("0x", "0x"), ("0xg", "0xg"), ("1e", "1e"), ("--foo", "--foo"),
    ("9" * 401, "9" * 401),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meaning"), MEANINGS)
def test_resolve(text: str, meaning: object) -> None:
    result = resolve(text)
    assert result == meaning
    assert isinstance(result, type(meaning))


def test_resolve_not_a_number() -> None:
    result = resolve(".nan")
    assert isinstance(result, float)
    assert math.isnan(result)


@given(st.text() | st.text(alphabet="0123456789+-._eExXoObBaf", max_size=10))
def test_resolve_takes_any_text_and_remembers_it(text: str) -> None:
    meaning = resolve(text)
    if isinstance(meaning, float) and not math.isfinite(meaning):
        assert "." in text or "e" in text.lower()
    elif isinstance(meaning, (int, float)) and not isinstance(meaning, bool):
        assert as_text(meaning, "") == text
    elif isinstance(meaning, str):
        assert meaning == text


def test_numbers_are_texts_as_they_were_written() -> None:
    written = ["3.10", "1e3", "0x10", "007", "1_000", "-5", "true"]
    assert [as_text(resolve(text), "") for text in written] == written


@pytest.mark.parametrize(
    ("value", "whole"), [(5, 5), (10.5, 10), (-0.5, 0), (20.0, 20), (2**63 - 1, 2**63 - 1)]
)
def test_as_whole(value: object, whole: int) -> None:
    assert as_whole(value, "") == whole


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", "'5' is not a whole number; expected seconds"),
        (True, "true is not a whole number; expected seconds"),
        (None, "null is not a whole number; expected seconds"),
        ([1], "a list is not a whole number; expected seconds"),
        ({}, "a mapping is not a whole number; expected seconds"),
        (math.inf, "inf is not a whole number; expected seconds"),
        (math.nan, "nan is not a whole number; expected seconds"),
        (2**63, "the number is too large; expected seconds"),
        ("x" * 100, f"'{'x' * 62}… is not a whole number; expected seconds"),
    ],
)
def test_as_whole_refuses(value: object, message: str) -> None:
    with pytest.raises(ReadingError) as caught:
        as_whole(value, "seconds")
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [True, "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"])
def test_as_truth_true(value: object) -> None:
    assert as_truth(value, "") is True


@pytest.mark.parametrize("value", [False, "n", "N", "no", "No", "NO", "off", "Off", "OFF"])
def test_as_truth_false(value: object) -> None:
    assert as_truth(value, "") is False


@pytest.mark.parametrize("value", ["true", "yEs", 1, 0, None, [], ""])
def test_as_truth_refuses(value: object) -> None:
    with pytest.raises(ReadingError, match="is not a truth value; expected true or false"):
        as_truth(value, "true or false")


@pytest.mark.parametrize("value", [None, [], {}])
def test_as_text_refuses(value: object) -> None:
    with pytest.raises(ReadingError, match="is not a text; expected a name"):
        as_text(value, "a name")


def test_as_list_refuses_without_showing_a_secret() -> None:
    with pytest.raises(ReadingError) as caught:
        as_list("hunter2", "a list of NAME=value", secret=True)
    assert str(caught.value) == "this value is not a list; expected a list of NAME=value"
