"""Are captures shown as they came, without secrets, and are no more of them kept than may be?"""

import json
from base64 import b64encode

import pytest

from swapcore_http.activity.captures import REDACTED, Capture, Captures, RawFields, joined, raw_redacted

RAW: RawFields = (
    (b"host", b"x"),
    (b"X-Twice", b"one"),
    (b"x-twice", b"two"),
    (b"AUTHORIZATION", b"Bearer s3cret"),
    (b"Cookie", b"s3cret"),
    (b"Accept", b"*/*"),
    (b"X-Strange", "ä€".encode() + b"\xff"),
    (b"Content-Length", b"7"),
)
NO_SECRETS = raw_redacted(RAW)


def test_secrets_are_replaced_whatever_the_case_of_their_names() -> None:
    hidden = {b"AUTHORIZATION", b"Cookie"}
    assert tuple((name, REDACTED.encode() if name in hidden else value) for name, value in RAW) == NO_SECRETS
    assert raw_redacted(NO_SECRETS[:3]) is not None
    assert b"s3cret" not in joined(RAW)


@pytest.mark.parametrize(
    "name", ["Authorization", "proxy-authorization", "COOKIE", "set-cookie", "X-API-Key"]
)
def test_all_secrets_are_known(name: str) -> None:
    assert raw_redacted(((name.encode(), b"s3cret"),)) == ((name.encode(), REDACTED.encode()),)


def test_a_capture_is_shown_with_the_first_field_of_each_name() -> None:
    answered: RawFields = ((b"X-Latin", b"\xe4"), (b"Set-Cookie", b"s3cret"), (b"X-Latin", b"b"))
    capture = Capture("/p", joined(RAW), b"asked", joined(answered), None)
    shown = capture.as_json(7)
    assert shown == {
        "id": 7,
        "req_path": "/p",
        "req_headers": {
            "host": "x",
            "X-Twice": "one",
            "AUTHORIZATION": REDACTED,
            "Cookie": REDACTED,
            "Accept": "*/*",
            "X-Strange": "ä€\udcff",
        },
        "req_body": b64encode(b"asked").decode(),
        "resp_headers": {"X-Latin": "ä", "Set-Cookie": REDACTED},
        "resp_body": None,
    }
    json.dumps(shown).encode()


def test_the_oldest_go_first() -> None:
    one = Capture("/p", joined(RAW), b"x" * 1000, joined(()), b"y" * 1000)
    assert one.size > 2000
    captures = Captures(3 * one.size)
    for number in range(5):
        assert captures.keep(number, one)
    assert [number for number in range(5) if number in captures] == [2, 3, 4]
    captures.resize(one.size)
    assert captures.get(3) is None
    assert captures.get(4) is one
    assert captures.size == one.size
    assert not captures.keep(5, Capture("/p", joined(()), b"x" * 5000, joined(()), None)), "it is larger"
    assert 4 in captures
