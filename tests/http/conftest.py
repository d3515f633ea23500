"""Fixtures for all tests of the adapter."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

UVLOOP = "TEST_UVLOOP" in os.environ
"""Whether to try how it goes with uvloop."""

ASYNCIO: tuple[str, dict[str, bool]] = "asyncio", {"use_uvloop": UVLOOP}

ON_ANY_LOOP = pytest.mark.parametrize(
    "anyio_backend", [ASYNCIO, ("trio", {})], ids=["asyncio", "trio"], scope="session"
)
"""Marks what goes with any event loop that anyio knows, as the driver does."""


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The adapter is an aiohttp server: asyncio is the loop it runs on, uvloop's if that is asked for."""
    return ASYNCIO


if UVLOOP:

    @pytest.fixture(scope="session", autouse=True)
    async def one_loop(anyio_backend: tuple[str, object]) -> None:
        """Have one loop open what it keeps for itself, before files are counted."""
        if anyio_backend != ASYNCIO:
            return
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        server.close()
        await server.wait_closed()


@pytest.fixture(scope="session", autouse=True)
def runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what servers note about their lives and loads away from those of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder
