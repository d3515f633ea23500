"""Fixtures for the tests of the configuration."""

import pytest

from swapcore_http.config import source


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
