"""Fixtures for all tests of the adapter."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The adapter is an aiohttp server: asyncio is the loop it runs on."""
    return "asyncio"
