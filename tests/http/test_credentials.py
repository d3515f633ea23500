"""Is it seen what a caller shows, and which of it is ours?"""

import base64

import pytest
from multidict import CIMultiDict

from swapcore_http.credentials import ours, shown


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("fields", "credential"),
    [
        ({}, None),
        ({"Authorization": "Bearer k"}, "k"),
        ({"authorization": "bEARER k"}, "k"),
        ({"Authorization": "Bearer  k"}, " k"),
        ({"Authorization": basic("user:k:l")}, "k:l"),
        ({"Authorization": basic(":k")}, "k"),
        ({"Authorization": "Basic %%%", "x-api-key": "x"}, "x"),
        ({"Authorization": "Digest k", "X-Api-Key": "x"}, "x"),
        ({"Authorization": "Bearer k", "x-api-key": "x"}, "k"),
        ({"Authorization": basic("no colon"), "x-api-key": "x"}, "x"),
    ],
)
def test_what_counts(fields: dict[str, str], credential: str | None) -> None:
    assert shown(CIMultiDict(fields)) == credential


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Authorization": "Bearer k"}, {b"authorization"}),
        ({"Authorization": basic("u:other")}, {b"authorization"}),
        ({"x-api-key": "k"}, {b"x-api-key"}),
        ({"Authorization": "Bearer k", "x-api-key": "upstreams"}, {b"authorization"}),
        ({"Authorization": "Bearer upstreams", "x-api-key": "other"}, {b"x-api-key"}),
        ({"Authorization": "Bearer upstreams", "x-api-key": "kk"}, set()),
        ({"Authorization": "Bearer k\udce4"}, set()),
        ({}, set()),
    ],
)
def test_which_fields_carry_a_key_of_ours(fields: dict[str, str], expected: set[bytes]) -> None:
    assert ours(CIMultiDict(fields), ["k", "other"]) == expected
