"""Every fault leaves nothing behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.http.leaving import Surroundings, leaving_nothing


@pytest.fixture(autouse=True)
async def around(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Surroundings]:
    folder: Path = tmp_path_factory.mktemp("around")
    async with leaving_nothing(folder) as surroundings:
        yield surroundings
