"""Is it seen who asks, what they may do, and which field carries a key of ours?"""

import base64
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from swapcore_http.auth import Caller, Keyring
from swapcore_http.config import ApiKeyConfig

RING = Keyring([ApiKeyConfig("k", name="first"), ApiKeyConfig("other"), ApiKeyConfig("pä:ß", name="third")])


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"Authorization": "Bearer k"}, "first"),
        ({"authorization": "bEARER k"}, "first"),
        ({"Authorization": "Bearer  k"}, "first"),
        ({"Authorization": "Bearer other"}, "apiKeys[1]"),
        ({"Authorization": "Bearer pä:ß"}, "third"),
        ({"Authorization": basic("user:k")}, "first"),
        ({"Authorization": basic(":k")}, "first"),
        ({"Authorization": basic("user:pä:ß")}, "third"),
        ({"x-api-key": "k"}, "first"),
        ({"X-API-KEY": "other"}, "apiKeys[1]"),
        # Malformed Basic, and schemes of others, count as nothing.
        ({"Authorization": "Basic %%%", "x-api-key": "k"}, "first"),
        ({"Authorization": basic("no colon"), "x-api-key": "k"}, "first"),
        ({"Authorization": "Digest k", "x-api-key": "other"}, "apiKeys[1]"),
        # Two keys of ours: the first counts. One of somebody else's: it is for the upstream.
        ({"Authorization": "Bearer k", "x-api-key": "other"}, "first"),
        ({"Authorization": basic("u:other"), "x-api-key": "k"}, "apiKeys[1]"),
        ({"Authorization": "Bearer upstream's", "x-api-key": "k"}, "first"),
        ({}, None),
        ({"Authorization": ""}, None),
        ({"Authorization": "k"}, None),
        ({"Authorization": "Bearer"}, None),
        ({"Authorization": "Bearer K"}, None),
        ({"Authorization": "Bearer kk"}, None),
        ({"Authorization": "Bearer k\udce4"}, None),
        ({"Authorization": basic("k:user")}, None),
        ({"Authorization": "Digest k"}, None),
        ({"x-api-key": ""}, None),
        ({"Api-Key": "k", "Cookie": "k", "Proxy-Authorization": "Bearer k"}, None),
    ],
)
def test_who_asks(fields: dict[str, str], name: str | None) -> None:
    identity = RING.identify(CIMultiDict(fields))
    assert (identity and identity.caller.name) == name


@pytest.mark.parametrize(
    ("fields", "carrying", "spoken"),
    [
        ({"Authorization": "Bearer k"}, {b"authorization"}, True),
        ({"Authorization": basic("u:other")}, {b"authorization"}, False),
        ({"x-api-key": "k"}, {b"x-api-key"}, True),
        ({"Authorization": "Bearer k", "x-api-key": "upstream's"}, {b"authorization"}, True),
        ({"Authorization": "Bearer upstream's", "x-api-key": "other"}, {b"x-api-key"}, True),
        ({"Authorization": basic("u:k"), "x-api-key": "other"}, {b"authorization", b"x-api-key"}, True),
    ],
)
def test_which_fields_carry_a_key_of_ours(
    fields: dict[str, str], carrying: set[bytes], *, spoken: bool
) -> None:
    identity = RING.identify(CIMultiDict(fields))
    assert identity is not None
    assert (set(identity.fields), identity.spoken) == (carrying, spoken)


def test_a_field_that_comes_twice_is_looked_at_twice() -> None:
    fields = CIMultiDict([("Authorization", "Bearer x"), ("Authorization", "Bearer k")])
    identity = RING.identify(fields)
    assert identity is not None
    assert identity.fields == {b"authorization"}


def test_without_keys_everybody_may_do_everything_and_no_field_is_ours() -> None:
    identity = Keyring().identify(CIMultiDict({"Authorization": "Bearer x"}))
    assert identity is not None
    assert identity.caller.is_full
    assert identity.caller.name is None
    assert not identity.fields
    assert not identity.spoken


@pytest.mark.parametrize("shown", ["k", "other", "wrong", ""])
def test_each_key_is_compared_in_constant_time(shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    real = hmac.compare_digest

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((len(one), len(two)))
        return real(one, two)

    monkeypatch.setattr("hmac.compare_digest", compare)
    RING.identify(CIMultiDict({"x-api-key": shown}))
    # All of them, whichever it is, and all of one length.
    assert compared == [(32, 32)] * 3


def test_no_caller_tells_its_key() -> None:
    ring = Keyring([ApiKeyConfig("secret-1", name="n")])
    identity = ring.identify(CIMultiDict({"x-api-key": "secret-1"}))
    assert "secret-1" not in f"{identity!r} {identity} {vars(ring)!r}"


@pytest.mark.parametrize(
    ("fields", "is_full", "is_for_all"),
    [
        ({}, True, True),
        ({"models": ("qwen*", "*")}, True, True),
        ({"models": ("qwen*",)}, False, False),
        ({"models": ()}, False, False),
        ({"scopes": ("infer", "swap", "admin")}, False, True),
        ({"scopes": ()}, False, True),
    ],
)
def test_full_power(fields: dict[str, Any], *, is_full: bool, is_for_all: bool) -> None:
    identity = Keyring([ApiKeyConfig("k", **fields)]).identify(CIMultiDict({"x-api-key": "k"}))
    assert identity is not None
    assert (identity.caller.is_full, identity.caller.is_for_all) == (is_full, is_for_all)


@pytest.mark.parametrize(
    ("patterns", "names", "fits"),
    [
        (("qwen*",), ("qwen2.5",), True),
        (("qwen*",), ("Qwen",), False),
        (("qwen",), ("qwen2",), False),
        (("fast",), ("qwen", "fast"), True),
        (("a", "b?"), ("bc",), True),
        (("*/qwen*",), ("org/qwen3",), True),
        (("org/*",), ("org",), False),
        (("[ab]*",), ("bee",), True),
        (("[ab]*",), ("cee",), False),
        ((), ("a",), False),
        (("*",), (), True),
    ],
)
def test_patterns_of_models(patterns: tuple[str, ...], names: tuple[str, ...], *, fits: bool) -> None:
    assert Caller(models=patterns).is_for(*names) is fits


KEYS = st.text(st.characters(codec="utf-8", exclude_characters=" \r\n\0", min_codepoint=33), min_size=1)


@given(st.lists(KEYS, unique=True, max_size=5), KEYS)
def test_exactly_the_keys_open(keys: list[str], shown: str) -> None:
    ring = Keyring([ApiKeyConfig("there is one"), *map(ApiKeyConfig, keys)])
    for fields in ({"x-api-key": shown}, {"Authorization": basic(f"u:{shown}")}):
        identity = ring.identify(CIMultiDict(fields))
        assert (identity is not None) is (shown in keys)
        if identity is not None:
            assert identity.caller.name == f"apiKeys[{keys.index(shown) + 1}]"
