"""Do groups, matrix and priorities name models that exist, and contradict neither themselves nor each other?

The planners of the core refuse what makes no sense, at the first thing they
meet. Here everything is found, and where it stands.
"""

from collections.abc import Iterator, Sequence

from swapcore.planning import ExpressionError, PlanningError
from swapcore.planning.groups import DEFAULT_GROUP
from swapcore_http.config.names import Names
from swapcore_http.config.problems import Finding, Path, describe, nearest
from swapcore_http.config.routing import MatrixConfig
from swapcore_http.config.schema import Settings

__all__ = ["COLLATION", "NAMES", "routing_findings"]

COLLATION = ("routing", "scheduler", "settings", "collation")
PRIORITY = ("routing", "scheduler", "settings", "fifo", "priority")

NAMES: Path = ("names",)
"""Stands for what all names mean, where a finding is drawn from that."""

MOST_FAULTS = 20
"""Sets that are found faulty at most: all of them are read again for each."""

STAND_IN = "stand-in"
"""The expression of a faulty set while the others are looked at, and the model in it."""


def routing_findings(settings: Settings, names: Names) -> Iterator[Finding]:
    """Find everything about living together and going first that makes no sense."""
    router = ("routing", "router", "use")
    yield from _choice(settings.router, ("", "group", "matrix"), router, "router")
    yield from _choice(settings.scheduler, ("", "fifo"), ("routing", "scheduler", "use"), "scheduler")
    choice = settings.collation.choice
    yield from _choice(choice, ("oldest", "age", "work"), (*COLLATION, "choice"), "choice")
    if not settings.router and settings.groups and settings.matrix is not None:
        what = "stands beside groups, and only one of the two can say which models live together"
        yield Finding(("matrix",), f"{what}; expected one of them", at_key=True)
    elif settings.router == "matrix" and settings.matrix is None:
        yield Finding(router, "there is no matrix; expected one with sets", about=(("matrix",),))
    elif settings.uses_matrix and settings.matrix is not None:
        yield from _matrix(settings.matrix, names)
    elif settings.router in ("", "group"):
        yield from _groups(settings, names)
    yield from _priorities(settings, names)


def _choice(value: str, known: Sequence[str], where: Path, noun: str) -> Iterator[Finding]:
    """Find a word that is none of those known."""
    if value not in known:
        meant = nearest(value, known)
        hint = f" (did you mean {meant}?)" if meant else ""
        expected = " or ".join(filter(None, known))
        yield Finding(where, f"{describe(value)} is no {noun}{hint}; expected {expected}")


def _groups(settings: Settings, names: Names) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for group in settings.groups.values():
        path = ("groups", group.name)
        if group.name == DEFAULT_GROUP:
            what = "this name is kept for the group of all models in no other; expected another name"
            yield Finding(path, what, at_key=True)
        for index, name in enumerate(group.members):
            where = (*path, "members", index)
            model = names.resolve(name)
            if model is None:
                yield Finding(where, f"{names.unknown(name)}; expected a model's name", about=(NAMES,))
            elif model not in owners:
                owners[model] = group.name
            elif owners[model] == group.name:
                yield Finding(where, f"{_called(name, model)} is listed twice; expected each member once")
            else:
                what = f"{_called(name, model)} is in the group {owners[model]} already"
                yield Finding(where, f"{what}; expected each model in one group at most")


def _priorities(settings: Settings, names: Names) -> Iterator[Finding]:
    seen = set[str]()
    for name in settings.priorities:
        where = (*PRIORITY, name)
        model = names.resolve(name)
        if model is None:
            what = f"{names.unknown(name)}; expected a model's name"
            yield Finding(where, what, at_key=True, about=(NAMES,))
        elif model in seen:
            yield Finding(where, f"{_called(name, model)} has a priority already", at_key=True)
        else:
            seen.add(model)


def _matrix(matrix: MatrixConfig, names: Names) -> Iterator[Finding]:
    faults = list(_variables(matrix, names))
    if faults:
        # Without them nobody knows what the rest means.
        yield from faults
        return
    yield from _costs(matrix, names)
    yield from _sets(matrix, names)


def _variables(matrix: MatrixConfig, names: Names) -> Iterator[Finding]:
    # Most configurations have no matrix, and need not wait for the solver.
    from swapcore.planning.matrix import VARIABLE  # noqa: PLC0415

    for name, model in matrix.vars.items():
        where = ("matrix", "vars", name)
        if not VARIABLE.fullmatch(name):
            what = f"{describe(name)} is no short name; expected 1 to 32 letters, digits, dots and dashes"
            yield Finding(where, what, at_key=True)
        elif names.resolve(model) is None:
            yield Finding(where, f"{names.unknown(model)}; expected a model's name", about=(NAMES,))


def _costs(matrix: MatrixConfig, names: Names) -> Iterator[Finding]:
    seen = set[str]()
    for name, cost in matrix.evict_costs.items():
        where = ("matrix", "evict_costs", name)
        model = names.resolve(matrix.vars.get(name, name))
        if model is None:
            what = f"{names.unknown(name)}; expected a model's name, or one of vars"
            yield Finding(where, what, at_key=True, about=(NAMES,))
        elif model in seen:
            yield Finding(where, f"{_called(name, model)} has a cost already", at_key=True)
        else:
            seen.add(model)
        if not 0 < cost < float("inf"):
            yield Finding(where, f"{cost:g} is no cost; expected a number more than 0")


def _sets(matrix: MatrixConfig, names: Names) -> Iterator[Finding]:
    from swapcore.planning import Matrix  # noqa: PLC0415 - likewise.

    sets = dict(matrix.sets)
    if not sets:
        yield Finding(("matrix", "sets"), "there are none; expected at least one", about=(NAMES,))
        return
    # To see whether an alias means something, it does as a model of its own.
    models = (*names, STAND_IN)
    for _ in range(MOST_FAULTS):
        try:
            Matrix(sets, models=models, vars=matrix.vars)
        except PlanningError as fault:
            _, name = fault.path
            what, within = fault.message, None
            if isinstance(fault, ExpressionError):
                what += f", at character {fault.position + 1}"
                within = sets[name], fault.position
            yield Finding(("matrix", "sets", name), what, about=(NAMES,), within=within)
            sets[name] = STAND_IN
        else:
            return


def _called(name: str, model: str) -> str:
    return describe(name) if name == model else f"{describe(name)}, the model {model},"
