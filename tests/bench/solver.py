"""What does a plan cost where sets say which models may live together?"""

import time
from collections.abc import Iterator, Sequence
from random import Random

from swapcore.planning import Matrix
from tests.bench.measure import Figure, figure
from tests.bench.targets import Options

ROUNDS = 15
GROWTH = ((10, 2), (100, 2), (1000, 2), (1000, 10), (1000, 40))
"""How many models there are, and how many of them are resident."""


def run(_: Options) -> Iterator[Figure]:
    matrix, residents = groups(10, 10, 10)
    yield figure("solver: 10 groups of 10, 10 resident", plans(matrix, "g0-9", residents), "ms", limit=5)
    matrix, residents = adversary(clauses=10, alternatives=10)
    yield figure(
        "solver: incomparable alternatives, 40 resident", plans(matrix, "t", residents), "ms", limit=50
    )
    matrix, residents = any_of(8, 3)
    yield figure("solver: any 3 of 8", plans(matrix, "m7", residents), "ms")
    matrix, residents = any_of(40, 20)
    yield figure("solver: any 20 of 40", plans(matrix, "m39", residents), "ms", limit=50)
    matrix, residents = many_sets(500)
    yield figure("solver: 500 sets, 40 resident", plans(matrix, "t", residents), "ms")
    smallest: list[float] = []
    for models, resident in GROWTH:
        matrix, residents = groups(max(2, models // 25), min(25, models // 2), resident)
        values = plans(matrix, "g0-1", residents)
        smallest = smallest or values
        yield figure(f"solver: {models} models, {resident} resident", values, "ms", baseline=smallest)


def plans(matrix: Matrix, target: str, residents: Sequence[str]) -> list[float]:
    """Measure single plans; the losses differ from one to the next."""
    values = []
    for number in range(ROUNDS):
        loss = {model: 10.0 / (1 + number + place) for place, model in enumerate(residents)}
        begun = time.perf_counter()
        matrix(target, residents, loss)
        values.append((time.perf_counter() - begun) * 1e3)
    return values


def groups(count: int, size: int, resident: int) -> tuple[Matrix, list[str]]:
    """One of each group; the residents are spread over the groups."""
    names = [[f"g{group}-{number}" for number in range(size)] for group in range(count)]
    text = " & ".join(f"({' | '.join(group)})" for group in names)
    residents = [names[number % count][number // count] for number in range(resident)]
    return Matrix({"all": text}, models=[name for group in names for name in group]), residents


def adversary(clauses: int, alternatives: int) -> tuple[Matrix, list[str]]:
    """Alternatives that overlap and of which none holds more than another."""
    random = Random(1)
    models = [f"m{number}" for number in range(40)]
    parts = (
        " | ".join(" & ".join(random.sample(models, 3)) for _ in range(alternatives)) for _ in range(clauses)
    )
    text = " & ".join(("t", *(f"({part})" for part in parts)))
    return Matrix({"all": text}, models=("t", *models)), models


def any_of(count: int, room: int) -> tuple[Matrix, list[str]]:
    models = [f"m{number}" for number in range(count)]
    return Matrix({"any": " & ".join([f"({' | '.join(models)})"] * room)}, models=models), models[:room]


def many_sets(count: int) -> tuple[Matrix, list[str]]:
    """Sets of five, each with the target in it."""
    random = Random(1)
    models = [f"m{number}" for number in range(1000)]
    sets = {f"s{number}": " & ".join(("t", *random.sample(models, 4))) for number in range(count)}
    return Matrix(sets, models=("t", *models)), models[:40]
