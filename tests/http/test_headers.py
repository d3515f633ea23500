"""Do header fields pass, and only those that should?"""

from multidict import CIMultiDict

from swapcore_http.headers import for_client, for_upstream


def test_fields_of_one_connection_stop_here() -> None:
    given = CIMultiDict(
        [
            ("Host", "models.example"),
            ("Connection", "keep-alive, X-Private"),
            ("Keep-Alive", "timeout=5"),
            ("X-Private", "for the next hop only"),
            ("TE", "trailers"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "websocket"),
            ("Proxy-Authorization", "Basic abc"),
            ("Proxy-Connection", "keep-alive"),
            ("Expect", "100-continue"),
            ("Authorization", "Bearer of the upstream"),
        ]
    )
    assert list(for_upstream(given, None).items()) == [
        ("Host", "models.example"),
        ("Authorization", "Bearer of the upstream"),
    ]


def test_tokens_of_all_connection_fields_count() -> None:
    given = CIMultiDict(
        [("Connection", "close"), ("Connection", " x-one , X-TWO "), ("X-One", "1"), ("X-two", "2")]
    )
    assert not for_client(given)


def test_repeated_fields_stay_repeated_and_in_order() -> None:
    given = CIMultiDict([("Set-Cookie", "a=1"), ("X-Else", "x"), ("Set-Cookie", "b=2")])
    assert list(for_client(given).items()) == list(given.items())


def test_repeated_fields_are_spelt_alike() -> None:
    given = CIMultiDict([("X-Twice", "1"), ("x-twice", "2")])
    assert list(for_upstream(given, None).items()) == [("X-Twice", "1"), ("X-Twice", "2")]


def test_client_is_appended_to_the_hops() -> None:
    assert for_upstream(CIMultiDict(), "10.0.0.9")["X-Forwarded-For"] == "10.0.0.9"
    given = CIMultiDict([("X-Forwarded-For", "1.1.1.1, 2.2.2.2"), ("X-Forwarded-For", "3.3.3.3")])
    passed = for_upstream(given, "10.0.0.9")
    assert passed.getall("X-Forwarded-For") == ["1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9"]
    assert for_upstream(given, None).getall("X-Forwarded-For") == ["1.1.1.1, 2.2.2.2", "3.3.3.3"]


def test_expect_is_only_dropped_from_requests() -> None:
    assert for_client(CIMultiDict({"Expect": "x"})) == {"Expect": "x"}


def test_event_streams_are_not_to_be_collected_on_the_way() -> None:
    events = for_client(
        CIMultiDict({"content-type": "Text/Event-Stream; charset=utf-8", "X-Accel-Buffering": "yes"})
    )
    assert events.getall("X-Accel-Buffering") == ["no"]
    assert "X-Accel-Buffering" not in for_client(CIMultiDict({"Content-Type": "application/json"}))
