"""Are callers told the same thing in every form, with the right status?"""

import json

import pytest
from aiohttp.test_utils import make_mocked_request

from swapcore import Refusal, Reject
from swapcore_http.driver import RefusedError
from swapcore_http.responses import error_response, refusal_error

STATUSES = {
    Refusal.UNKNOWN_MODEL: 404,
    Refusal.START_FAILED: 502,
    Refusal.UNLOADED: 503,
    Refusal.SHUTTING_DOWN: 503,
    Refusal.STUCK: 503,
    Refusal.CANNOT_FIT: 422,
    Refusal.QUEUE_FULL: 429,
    Refusal.COOLING_DOWN: 503,
}


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_its_status_and_says_why(refusal: Refusal) -> None:
    error = refusal_error("m", RefusedError(Reject(1, refusal, "the reason")))
    assert error.status == STATUSES[refusal]
    assert "the reason" in error.message


@pytest.mark.parametrize("refusal", set(Refusal) - {Refusal.START_FAILED})
def test_a_refusal_without_detail_still_says_something(refusal: Refusal) -> None:
    assert refusal_error("m", RefusedError(Reject(1, refusal))).message


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (9.0, "9"), (9.01, "10"), (None, "1")])
@pytest.mark.parametrize("refusal", [Refusal.QUEUE_FULL, Refusal.COOLING_DOWN])
def test_it_is_said_when_to_ask_again(refusal: Refusal, seconds: float | None, header: str | None) -> None:
    error = refusal_error("m", RefusedError(Reject(1, refusal, "later", seconds)))
    assert error.headers.get("Retry-After") == header


def test_a_failed_start_is_not_to_be_repeated() -> None:
    error = refusal_error("m", RefusedError(Reject(1, Refusal.START_FAILED, "exited with status 1")))
    assert error.message == "starting m failed: exited with status 1"
    assert error.headers == {"x-should-retry": "false"}


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", "bad_request"),
        (401, "authentication_error", "unauthorized"),
        (403, "authentication_error", "forbidden"),
        (404, "invalid_request_error", "not_found"),
        (409, "invalid_request_error", "conflict"),
        (413, "invalid_request_error", "invalid_request"),
        (422, "invalid_request_error", "invalid_request"),
        (429, "rate_limit_error", "rate_limit_exceeded"),
        (500, "server_error", "internal_error"),
        (502, "server_error", "bad_gateway"),
        (503, "server_error", "service_unavailable"),
        (504, "server_error", "gateway_timeout"),
    ],
)
@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "image/png"])
def test_the_envelope(status: int, kind: str, code: str, accept: str | None) -> None:
    request = make_mocked_request("POST", "/", headers={"Accept": accept} if accept else {})
    response = error_response(request, status, 'why "not"', {"X-More": "1"})
    assert response.status == status
    assert response.content_type == "application/json"
    assert response.headers["X-More"] == "1"
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "src": "swapcore",
        "error": {"message": 'why "not"', "type": kind, "param": None, "code": code},
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        "/v/messages",
        "/v1/messages/count_tokens",
        "/upstream/a/b/v1/messages",
    ],
)
def test_errors_of_anthropics_api(path: str, status: int, kind: str) -> None:
    response = error_response(make_mocked_request("POST", path + "?beta=true"), status, "why")
    assert (response.status, response.content_type) == (status, "application/json")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "error",
        "src": "swapcore",
        "error": {"type": kind, "message": "why"},
    }


@pytest.mark.parametrize("path", ["/v1/messages/x", "/v1/chat/messages", "/upstream/v/messages"])
def test_other_paths_have_the_envelope(path: str) -> None:
    response = error_response(make_mocked_request("POST", path), 404, "why")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body).keys() == {"src", "error"}


def test_who_asks_too_much_is_always_told_in_json() -> None:
    for accept in ("text/plain", "text/html"):
        request = make_mocked_request("POST", "/", headers={"Accept": accept})
        assert error_response(request, 429, "why").content_type == "application/json"


def test_text_for_those_who_want_text() -> None:
    request = make_mocked_request("GET", "/", headers={"Accept": "text/html, text/plain"})
    response = error_response(request, 503, "full & <busy>")
    assert (response.content_type, response.charset) == ("text/plain", "utf-8")
    assert response.body == b"swapcore: full & <busy>\n"


def test_a_page_for_browsers() -> None:
    request = make_mocked_request("GET", "/", headers={"Accept": "text/html,application/xhtml+xml;q=0.9"})
    response = error_response(request, 404, "<script>alert(1)</script> ü")
    assert (response.content_type, response.charset) == ("text/html", "utf-8")
    assert isinstance(response.body, bytes)
    page = response.body.decode()
    assert "404 Not Found" in page
    assert "swapcore: &lt;script&gt;alert(1)&lt;/script&gt; ü" in page
    assert "<script>" not in page


@pytest.mark.parametrize("accept", ["text/plain", "text/html", "application/json"])
def test_text_that_no_encoding_can_write_is_shown_escaped(accept: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Accept": accept})
    response = error_response(request, 404, "\ud800")
    assert isinstance(response.body, bytes)
    assert b"\\ud800" in response.body
