"""Which traffic are the policies measured on?

Every trace is a pure function of its seed. `random.Random(seed)` is drawn from in the order that
each function's docstring gives, and from nothing else, so that the figures can be computed again
anywhere. Python promises the same numbers from `random`, `expovariate` and `uniform` across
versions; `choices`, `choice`, `sample`, `shuffle` and `randint` have been stable since 3.11.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from random import Random

from attrs import frozen

__all__ = [
    "EVICTION_FAMILIES",
    "EVICTION_WORKLOADS",
    "SMALL_RATES",
    "EvictionCase",
    "Loop",
    "Loops",
    "Request",
    "Round",
    "Trace",
    "World",
    "agent_loops",
    "eviction",
    "hot_stream",
    "overloaded",
    "pairs",
    "small",
]

STOP = 1.0
"""Seconds from a `Stop` to the room being back, in every world here."""

SMALL_RATES = (0.15, 0.4)
"""Arrivals per second of the small traces."""

EVICTION_LOADS = (3.0, 5.0, 8.0, 15.0, 30.0, 60.0)
"""The load times that the eviction cases draw from."""

EVICTION_FAMILIES = ("any three", "six triples", "knapsack")
EVICTION_WORKLOADS = ("zipf", "phases", "loops")

MODELS = 8
"""How many models an eviction case has."""


@frozen
class World:
    """The hardware and the models on it."""

    loads: Mapping[str, float]
    """For each model, in definition order, the seconds from its `Start` until it is ready."""

    sets: tuple[tuple[str, ...], ...]
    """The largest sets of models that may live together; what is part of one may, too."""

    concurrency: int = 1
    """How many callers each upstream serves at once."""

    stop: float = STOP
    """Seconds from a `Stop` to the room being back."""


@frozen
class Request:
    """One caller: when it arrives, for what, and how long its service takes, in seconds."""

    at: float
    model: str
    service: float


@frozen
class Trace:
    """Traffic that does not depend on how it is served, in order of arrival."""

    world: World
    requests: tuple[Request, ...]


@frozen
class Round:
    """One request of a loop, and how many seconds after it the next one comes."""

    service: float
    gap: float


@frozen
class Loop:
    """An agent that asks one model again and again, each time after the last answer."""

    model: str
    rounds: tuple[Round, ...]


@frozen
class Loops:
    """Traffic that does depend on how it is served."""

    world: World
    loops: tuple[Loop, ...]


@frozen
class EvictionCase:
    """Requests in a fixed order, one second apart: only what to evict is to be decided."""

    world: World
    order: tuple[str, ...]


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"m{number}" for number in range(count))


def _one_slot(*loads: float, concurrency: int = 1) -> World:
    names = _names(len(loads))
    return World(dict(zip(names, loads, strict=True)), tuple((name,) for name in names), concurrency)


def small(seed: int, rate: float) -> Trace:
    """Thirty requests for three models with room for one.

    Drawn for each request in turn: the time since the one before, the model, the service.
    """
    return Trace(_one_slot(10.0, 20.0, 5.0), _poisson(Random(seed), rate, 30, (5, 3, 2)))


def pairs(seed: int, rate: float = 0.3) -> Trace:
    """Sixteen requests for four models of which any two may live together.

    Not one of the suites that figures are promised for: it shows the coexisting case beside its
    exact optimum. Drawn as `small` is.
    """
    names = _names(4)
    world = World(dict(zip(names, (10.0, 20.0, 5.0, 8.0), strict=True)), tuple(combinations(names, 2)))
    return Trace(world, _poisson(Random(seed), rate, 16, (4, 3, 2, 2)))


def _poisson(draw: Random, rate: float, count: int, weights: tuple[int, ...]) -> tuple[Request, ...]:
    names = _names(len(weights))
    now = 0.0
    requests = []
    for _ in range(count):
        now += draw.expovariate(rate)
        model = names[draw.choices(range(len(weights)), weights)[0]]
        requests.append(Request(now, model, max(0.2, draw.expovariate(1 / 2.0))))
    return tuple(requests)


def hot_stream() -> Trace:
    """A model that is never idle for ten minutes, and five rare callers for another. Nothing is drawn."""
    hot = [Request(float(second), "m0", 3.0) for second in range(600)]
    rare = [Request(20.0 + 100.0 * number, "m1", 2.0) for number in range(5)]
    return Trace(_one_slot(10.0, 10.0, concurrency=4), _merged(hot, rare))


def overloaded(seed: int) -> Trace:
    """A model offered twice what it can serve for an hour, and one rare caller after a minute.

    Drawn for each request for the hot model: the time since the one before.
    """
    draw = Random(seed)
    concurrency, service, lasts = 4, 3.0, 3600.0
    hot: list[Request] = []
    now = draw.expovariate(2 * concurrency / service)
    while now < lasts:
        hot.append(Request(now, "m0", service))
        now += draw.expovariate(2 * concurrency / service)
    rare = Request(60.0, "m1", 2.0)
    return Trace(_one_slot(10.0, 10.0, concurrency=concurrency), _merged(hot, [rare]))


def _merged(*streams: list[Request]) -> tuple[Request, ...]:
    return tuple(sorted((one for stream in streams for one in stream), key=lambda one: one.at))


def agent_loops(seed: int, loops: int) -> Loops:
    """So many agents of 25 rounds, each with a model of its own, and room for one model.

    Drawn for each loop in turn, and in it for each round: the service, the gap after it.
    """
    draw = Random(seed)
    world = _one_slot(*(15.0 for _ in range(loops)))
    return Loops(
        world,
        tuple(
            Loop(
                model,
                tuple(Round(4.0 * draw.uniform(0.6, 1.4), 3.0 * draw.uniform(0.5, 1.5)) for _ in range(25)),
            )
            for model in world.loads
        ),
    )


def eviction(seed: int, family: str, workload: str) -> EvictionCase:
    """Five hundred requests for eight models in a fixed order.

    Drawn: the load time of each model in turn, then what `_sets` draws for the family, then what
    the workload's own function draws.
    """
    draw = Random(seed)
    loads = {name: draw.choice(EVICTION_LOADS) for name in _names(MODELS)}
    sets = _sets(draw, family, loads)
    source = {"zipf": _zipf, "phases": _phases, "loops": _loops}[workload](draw)
    order = tuple(model for model, _ in zip(source, range(500), strict=False))
    return EvictionCase(World(loads, sets), order)


def _sets(draw: Random, family: str, loads: Mapping[str, float]) -> tuple[tuple[str, ...], ...]:
    """Draw a family: nothing; or six samples of three; or the size of each model in turn."""
    names = tuple(loads)
    match family:
        case "any three":
            return tuple(combinations(names, 3))
        case "six triples":
            triples = tuple(tuple(sorted(draw.sample(names, 3))) for _ in range(6))
            # A model that no triple has runs alone.
            alone = tuple((name,) for name in names if not any(name in triple for triple in triples))
            return triples + alone
        case "knapsack":
            sizes = {name: max(2.0, load / 2 + draw.uniform(0, 4)) for name, load in loads.items()}
            room = max(1.05 * max(sizes.values()), 0.4 * sum(sizes.values()))
            return _largest_fitting(sizes, room)
        case _:
            raise ValueError(f"no family is called {family!r}")


def _largest_fitting(sizes: Mapping[str, float], room: float) -> tuple[tuple[str, ...], ...]:
    """Return the sets that fit and that nothing can be added to, the larger ones first."""
    found: list[tuple[str, ...]] = []
    for count in range(len(sizes), 0, -1):
        for some in combinations(sizes, count):
            fits = sum(sizes[name] for name in some) <= room
            if fits and not any(set(some) <= set(larger) for larger in found):
                found.append(some)
    return tuple(found)


def _zipf(draw: Random) -> Iterator[str]:
    """Draw a shuffle of the models once, then each model with weight 1 ÷ its place in it."""
    names = list(_names(MODELS))
    draw.shuffle(names)
    weights = [1 / place for place in range(1, MODELS + 1)]
    while True:
        yield draw.choices(names, weights)[0]


def _phases(draw: Random) -> Iterator[str]:
    """Draw for each phase: its three models, its length; for each request: whether elsewhere, which."""
    names = _names(MODELS)
    while True:
        active = draw.sample(names, 3)
        others = [name for name in names if name not in active]
        for _ in range(draw.randint(15, 50)):
            elsewhere = draw.random() < 0.1
            yield draw.choice(others) if elsewhere else draw.choices(active, (4, 2, 1))[0]


def _loops(draw: Random) -> Iterator[str]:
    """Draw the cycle's length and its models once; for each request: whether elsewhere, then which."""
    names = _names(MODELS)
    cycle = draw.sample(names, draw.randint(3, 5))
    others = [name for name in names if name not in cycle]
    while True:
        for model in cycle:
            while draw.random() < 0.05:
                yield draw.choice(others)
            yield model
