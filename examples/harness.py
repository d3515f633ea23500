"""The simulator in a user's own tests: will my models and my traffic go together?

Run it: `pytest examples/harness.py`.
"""

from swapcore import Catalog, Forward, Model, Refusal, Reject, Start
from swapcore.testing import Fate, Simulator

CATALOG = Catalog([Model("chat", concurrency_limit=4), Model("code", concurrency_limit=4, ttl=600)])
FATES = {"chat": Fate(load=12, stop=1), "code": Fate(load=30, stop=2)}


def test_an_hour_of_two_users_needs_few_swaps() -> None:
    """One chats every 20 s, the other asks for code every 5 minutes."""
    world = Simulator(CATALOG, fates=FATES)
    chats = [world.ask("chat", at=at, service=6) for at in range(0, 3600, 20)]
    codes = [world.ask("code", at=at, service=15) for at in range(7, 3600, 300)]
    world.run()

    waits = [world.callers[ticket].waited for ticket in chats + codes]
    assert all(wait is not None for wait in waits), "everybody is served"
    assert max(wait for wait in waits if wait is not None) < 90
    starts = [one for step in world.log for one in step.commands if isinstance(one, Start)]
    assert len(starts) <= 2 * len(codes) + 1, "no more than there and back each time"


def test_a_model_that_fails_to_load_does_not_harm_the_other() -> None:
    """The first load of code runs out of memory."""
    world = Simulator(CATALOG, fates=FATES | {"code": [Fate(load=30, fails_after=8), Fate(load=30)]})
    code = world.ask("code")
    chat = world.ask("chat", at=1)
    world.run()
    assert world.callers[code].answer == Reject(code, Refusal.START_FAILED, "died")
    assert isinstance(world.callers[chat].answer, Forward)
    assert world.callers[chat].waited == 8 + 12 - 1
