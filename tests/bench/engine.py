"""What does the engine cost a request, by itself?"""

import time
from collections.abc import Iterator

from swapcore import Arrived, BecameReady, Catalog, Engine, Exited, Model, Plan, Released
from tests.bench.measure import Figure, figure

REQUESTS = 20_000
ROUNDS = 9
UP = 10


def run() -> Iterator[Figure]:
    yield figure(
        f"engine: a request to a ready model, {UP} running", [warm() for _ in range(ROUNDS)], "µs", limit=50
    )
    yield figure("engine: a whole swap, room for one", [swap() for _ in range(ROUNDS)], "µs")
    few, many = [], []
    for _ in range(ROUNDS):
        few.append(queued(10))
        many.append(queued(10_000))
    yield figure("engine: a caller comes and goes, 10000 waiting", many, "µs", baseline=few, limit=1.5)


def warm() -> float:
    """One request costs an `Arrived`, a `Released`, and reading the deadline after each."""
    engine = Engine(
        Catalog(Model(f"m{number}", ttl=60.0) for number in range(UP)),
        lambda target, resident, loss: Plan(target, ()),  # noqa: ARG005
    )
    for number in range(UP):
        engine.handle(Arrived(number, f"m{number}"), 0.0)
        engine.handle(BecameReady(f"m{number}", number + 1), 0.0)
        engine.handle(Released(number), 0.0)
    begun = time.perf_counter()
    for ticket in range(UP, UP + REQUESTS):
        engine.handle(Arrived(ticket, "m3"), 1.0)
        engine.deadline  # noqa: B018
        engine.handle(Released(ticket), 1.0)
        engine.deadline  # noqa: B018
    return (time.perf_counter() - begun) / REQUESTS * 1e6


def swap() -> float:
    engine = Engine(Catalog([Model("a"), Model("b")]))
    engine.handle(Arrived(0, "a"), 0.0)
    engine.handle(BecameReady("a", 1), 0.0)
    engine.handle(Released(0), 0.0)
    swaps = REQUESTS // 10
    begun = time.perf_counter()
    for number in range(1, swaps + 1):
        old, new = ("a", "b") if number % 2 else ("b", "a")
        engine.handle(Arrived(number, new), 1.0)
        engine.handle(Exited(old, number), 1.0)
        engine.handle(BecameReady(new, number + 1), 1.0)
        engine.handle(Released(number), 1.0)
    return (time.perf_counter() - begun) / swaps * 1e6


def queued(waiting: int) -> float:
    engine = Engine(Catalog([Model("a", concurrency_limit=1), Model("b")]))
    engine.handle(Arrived(0, "a"), 0.0)
    engine.handle(BecameReady("a", 1), 0.0)
    for ticket in range(1, waiting + 1):
        engine.handle(Arrived(ticket, "ab"[ticket % 2]), 0.0)
    begun = time.perf_counter()
    for ticket in range(waiting + 1, waiting + 1 + REQUESTS // 10):
        engine.handle(Arrived(ticket, "b"), 1.0)
        engine.handle(Released(ticket), 1.0)
    return (time.perf_counter() - begun) / (REQUESTS // 10) * 1e6
