"""What does the engine cost a request, by itself?

It is the thread's own processor time that is counted, so that little of what
else the machine does shows, with the garbage collector set as the server sets it.
"""

import gc
import statistics
import time
from collections.abc import Iterator

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Command,
    Engine,
    Event,
    Exited,
    Forward,
    Model,
    Plan,
    Policy,
    Released,
    Start,
    Stop,
)
from swapcore.planning import Group, Groups
from swapcore_http.cli import GARBAGE
from tests.bench.measure import Figure, figure
from tests.bench.targets import Options

REQUESTS = 20_000
ROUNDS = 9
UP = 10


def run(options: Options) -> Iterator[Figure]:
    gc.set_threshold(GARBAGE, 20, 20)
    yield figure(
        f"engine: a request to a ready model, {UP} running", [warm() for _ in range(ROUNDS)], "µs", limit=50
    )
    yield figure("engine: a whole swap, room for one", [swap() for _ in range(ROUNDS)], "µs")
    yield figure(
        f"engine: an event that swaps, {UP} running", [swap_among() for _ in range(ROUNDS)], "µs", limit=100
    )
    yield figure(
        "engine: an event, 5000 waiting for 50 models, 99 %",
        [statistics.quantiles(crowd(), n=100)[98] for _ in range(ROUNDS)],
        "µs",
        limit=100,
    )
    if options.short:
        return
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
    begun = time.thread_time()
    for ticket in range(UP, UP + REQUESTS):
        engine.handle(Arrived(ticket, "m3"), 1.0)
        engine.deadline  # noqa: B018
        engine.handle(Released(ticket), 1.0)
        engine.deadline  # noqa: B018
    return (time.thread_time() - begun) / REQUESTS * 1e6


def swap() -> float:
    engine = Engine(Catalog([Model("a"), Model("b")]))
    engine.handle(Arrived(0, "a"), 0.0)
    engine.handle(BecameReady("a", 1), 0.0)
    engine.handle(Released(0), 0.0)
    swaps = REQUESTS // 10
    begun = time.thread_time()
    for number in range(1, swaps + 1):
        old, new = ("a", "b") if number % 2 else ("b", "a")
        engine.handle(Arrived(number, new), 1.0)
        engine.handle(Exited(old, number), 1.0)
        engine.handle(BecameReady(new, number + 1), 1.0)
        engine.handle(Released(number), 1.0)
    return (time.thread_time() - begun) / swaps * 1e6


def swap_among() -> float:
    """The mean of the four events of a swap in one of ten groups, each with one model up."""
    names = [f"{group}{member}" for group in range(UP) for member in "ab"]
    groups = Groups(
        [Group(f"g{group}", (f"{group}a", f"{group}b"), exclusive=False) for group in range(UP)], models=names
    )
    engine = Engine(Catalog(Model(name) for name in names), groups)
    for group in range(UP):
        engine.handle(Arrived(group, f"{group}a"), 0.0)
        engine.handle(BecameReady(f"{group}a", group + 1), 0.0)
        engine.handle(Released(group), 0.0)
    swaps = REQUESTS // 20
    begun = time.thread_time()
    for number in range(swaps):
        group, turn = number % UP, number // UP
        old, new = ("ab", "ba")[turn % 2]
        engine.handle(Arrived(UP + number, f"{group}{new}"), 1.0)
        engine.handle(Exited(f"{group}{old}", number + 1), 1.0)
        engine.handle(BecameReady(f"{group}{new}", UP + number + 1), 1.0)
        engine.handle(Released(UP + number), 1.0)
    return (time.thread_time() - begun) / swaps / 4 * 1e6


def crowd() -> list[float]:
    """What each event costs, in µs, of serving 5000 callers of 50 models with room for one."""
    engine = Engine(Catalog(Model(f"m{number}") for number in range(50)), policy=Policy(patience=1.0))
    took: list[float] = []
    now = 0.0

    def handle(event: Event) -> tuple[Command, ...]:
        begun = time.thread_time()
        commands = engine.handle(event, now)
        took.append((time.thread_time() - begun) * 1e6)
        return commands

    todo: list[Event] = []

    def follow(commands: tuple[Command, ...]) -> None:
        for command in commands:
            match command:
                case Start(model, run):
                    todo.append(BecameReady(model, run))
                case Stop(model, run):
                    todo.append(Exited(model, run))
                case Forward(ticket):
                    todo.append(Released(ticket))
                case _:
                    raise AssertionError(command)

    for ticket in range(5000):
        follow(handle(Arrived(ticket, f"m{ticket % 50}")))
    while todo:
        now += 0.01
        follow(handle(todo.pop(0)))
    return took


def queued(waiting: int) -> float:
    engine = Engine(Catalog([Model("a", concurrency_limit=1), Model("b")]))
    engine.handle(Arrived(0, "a"), 0.0)
    engine.handle(BecameReady("a", 1), 0.0)
    for ticket in range(1, waiting + 1):
        engine.handle(Arrived(ticket, "ab"[ticket % 2]), 0.0)
    begun = time.thread_time()
    for ticket in range(waiting + 1, waiting + 1 + REQUESTS // 10):
        engine.handle(Arrived(ticket, "b"), 1.0)
        engine.handle(Released(ticket), 1.0)
    return (time.thread_time() - begun) / (REQUESTS // 10) * 1e6
