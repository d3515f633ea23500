"""Which planner of the core do faultless settings come to?

The core knows ids and variables alone, so here every alias is put in terms of them.
"""

import re
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

from swapcore.planning import Group, Groups
from swapcore_http.config.names import Names
from swapcore_http.config.routing import GroupConfig, MatrixConfig
from swapcore_http.config.schema import Settings

if TYPE_CHECKING:
    from swapcore.planning import Matrix

__all__ = ["names_in", "planner_of"]

NAME = re.compile(r"(?<![\w.+-])[\w.-]+")
"""A name in the expression of a set, other than that of another set."""


def planner_of(settings: Settings, names: Names) -> "Groups | Matrix":
    """Make what says to the engine which models must leave for another.

    Where nothing is configured all others leave: they are one group that swaps.
    """
    models = tuple(settings.models)
    if settings.uses_matrix and settings.matrix is not None:
        return _matrix(settings.matrix, models, names)
    return Groups((_group(group, names) for group in settings.groups.values()), models)


def names_in(expressions: Iterable[str]) -> set[str]:
    """Collect the names of models and variables in the expressions of sets."""
    return {name for text in expressions for name in NAME.findall(text)}


def _group(group: GroupConfig, names: Names) -> Group:
    return Group(
        group.name,
        (_id(name, names) for name in group.members),
        swap=group.swap,
        exclusive=group.exclusive,
        persistent=group.persistent,
    )


def _matrix(matrix: MatrixConfig, models: tuple[str, ...], names: Names) -> "Matrix":
    # Most configurations have none, and need not wait for the solver.
    from swapcore.planning.matrix import VARIABLE, Matrix  # noqa: PLC0415

    variables = {name: _id(model, names) for name, model in matrix.vars.items()}
    free = (
        name
        for name in map("alias-{}".format, count())
        if name not in variables and names.resolve(name) is None
    )

    def as_variable(match: re.Match[str]) -> str:
        name = match[0]
        model = names.resolve(name)
        if name in variables or model is None or model == name:
            return name
        if not VARIABLE.fullmatch(name):
            # The core is stricter with variables than with names in expressions.
            name = next(free)
        variables[name] = model
        return name

    return Matrix(
        {name: NAME.sub(as_variable, text) for name, text in matrix.sets.items()},
        models=models,
        vars=variables,
        evict_costs={
            name if name in matrix.vars else _id(name, names): cost
            for name, cost in matrix.evict_costs.items()
        },
    )


def _id(name: str, names: Names) -> str:
    model = names.resolve(name)
    assert model is not None, f"{name} is no model"  # noqa: S101 - the rules have seen to it.
    return model
