"""Tests of `swapcore_http.once`."""

import anyio
import pytest

from swapcore_http.once import Once, once
from tests.http.conftest import ON_ANY_LOOP

pytestmark = [pytest.mark.anyio, ON_ANY_LOOP]


async def test_who_waits_goes_on_when_it_happens() -> None:
    it = once()
    passed: list[str] = []

    async def wait() -> None:
        await it
        passed.append("on")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not passed
        it.happen()
    assert passed == ["on"]


async def test_what_has_happened_is_not_waited_for() -> None:
    it = once()
    it.happen()
    it.happen()
    with anyio.fail_after(5):
        await it


async def test_it_may_happen_after_who_waited_was_cancelled() -> None:
    it: Once = once()
    with anyio.move_on_after(0) as scope:
        await it
    assert scope.cancelled_caught
    it.happen()
