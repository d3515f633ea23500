"""Is it said what makes no sense about how callers are met?"""

from typing import Any

import pytest

from swapcore_http.config import ModelConfig, Severity
from swapcore_http.config.problems import dotted
from swapcore_http.config.schema import Settings
from swapcore_http.config.surface_rules import surface_findings


@pytest.mark.parametrize(
    ("fields", "warned"),
    [({}, True), ({"forward_auth": True}, False), ({"cmd": "serve --port ${PORT}"}, False)],
)
def test_an_upstream_that_wants_a_key_it_is_not_shown(fields: dict[str, Any], *, warned: bool) -> None:
    model = ModelConfig("a", **{"cmd": "serve --port ${PORT} --api-key k", **fields})
    found = list(surface_findings(Settings(models=[model], api_keys=["k"])))
    assert [dotted(each.path) for each in found] == ["models.a.cmd"] * warned
    assert all(each.severity is Severity.WARNING for each in found)
    assert not list(surface_findings(Settings(models=[model])))
