"""Fixtures for the tests of the configuration."""

import pytest

from swapcore_http.config import keys, loading, source


@pytest.fixture(params=["c", "pure"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the C parser, and as if it were not installed."""
    name: str = request.param
    if name == "pure":
        monkeypatch.setattr(source, "CParser", None)
    else:
        # It comes with the extra `http`, which all these tests need.
        assert vars(source)["CParser"] is not None
    return name


@pytest.fixture
def all_supported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test as if every setting were honoured, so that it need not change when one comes to be."""
    monkeypatch.setattr(keys, "UNSUPPORTED", {})


@pytest.fixture
def no_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test without asking whether sound settings are meant so."""
    monkeypatch.setattr(loading, "doubts", lambda _: ())
