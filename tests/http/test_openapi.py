"""Is every route for operators described, as it is, and does none of them fail at anything?"""

from typing import Any

import anyio
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from swapcore_http.config import ProfileConfig
from swapcore_http.openapi import OPERATIONS, document
from tests.http.serving import Served, fake, serving, unrun

pytestmark = pytest.mark.anyio

ENDLESS = {"/api/events"}
"""What has no end to wait for."""

EXAMPLES = 8
"""Requests to each route."""


async def test_every_route_is_described_and_no_other() -> None:
    async with serving(unrun("a")) as served:
        there = {
            f"{route.method} {route.resource.canonical}"
            for route in served.runner.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
        status, _, told = await served.ask("GET", "/openapi.json")
    described = {f"{each.method} {each.path}" for each in OPERATIONS}
    assert {each for each in there if each.partition(" ")[2].startswith("/api/")} == {
        each for each in described if each.partition(" ")[2].startswith("/api/")
    }
    assert described <= there
    assert (status, told["openapi"]) == (200, "3.1.0")
    assert told["paths"]["/api/queue"]["get"]["summary"] == "Who waits for what, and for how long yet"


def test_its_schemas_are_schemas() -> None:
    for path in document("1")["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                for content in response["content"].values():
                    jsonschema.Draft202012Validator.check_schema(content["schema"])


async def test_nothing_fails_at_anything() -> None:
    profiles = {"night": ProfileConfig("night", pins={"x": "a"})}
    async with serving(fake("a"), profiles=profiles) as served:
        await served.chat("a")
        await anyio.to_thread.run_sync(try_all, served)


def try_all(served: Served) -> None:
    """Send requests of all kinds to all routes, in a thread; the server is in another."""
    schema = schemathesis.openapi.from_dict(document("1"))
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path in ENDLESS:
            continue

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def attempt(case: Any) -> None:
            response = case.call(base_url=served.base, timeout=60)
            case.validate_response(
                response,
                checks=[
                    not_a_server_error,
                    status_code_conformance,
                    content_type_conformance,
                    response_schema_conformance,
                ],
            )

        attempt()
