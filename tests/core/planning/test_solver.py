"""Tests of `swapcore.planning.solver`: how much work it does, and what it answers when that is bounded."""

import subprocess
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random

import pytest

from swapcore.planning import Matrix, Plan, solver

ROOT = Path(__file__).parent.parent.parent.parent


def test_ten_groups_of_ten_need_a_fraction_of_the_budget() -> None:
    """10¹⁰ combinations: what is independent is solved apart."""
    models = [f"{group}{number}" for group, number in product("abcdefghij", range(10))]
    text = " & ".join(f"({' | '.join(f'{group}{number}' for number in range(10))})" for group in "abcdefghij")
    resident = [f"{group}3" for group in "abcdefghij"]
    plan = Matrix({"s": text}, models=models, budget=400)("a7", resident, dict.fromkeys(resident, 1.0))
    assert plan.exhaustive
    assert plan.evict == ("a3",)
    assert plan.target_set == ("a7", *resident[1:])


def test_more_models_than_a_machine_word_has_bits() -> None:
    models = [f"m{number}" for number in range(200)]
    sets = {"half": " & ".join(models[:100]), "rest": " & ".join((models[0], *models[100:]))}
    matrix = Matrix(sets, models=models)
    loss = dict.fromkeys(models[1:], 1.0)
    assert matrix("m0", models[1:], loss).evict == tuple(models[1:100])
    assert matrix("m0", models[1:], {**loss, "m50": 3.0}).evict == tuple(models[100:])
    assert matrix.can_live_together(models[:100])
    assert not matrix.can_live_together(models[1:])


def adversary(clauses: int, alternatives: int) -> tuple[str, list[str]]:
    """An expression whose alternatives overlap and cannot be compared."""
    random = Random(1)
    models = [f"m{number}" for number in range(40)]
    parts = [
        f"({' | '.join(' & '.join(random.sample(models, 3)) for _ in range(alternatives))})"
        for _ in range(clauses)
    ]
    return " & ".join(("t", *parts)), models


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[solver.Option]:
    """All options that the solver makes, as the budget counts them."""
    options: list[solver.Option] = []
    note = solver._note

    def noting(found: dict[int, solver.Option], option: solver.Option) -> None:
        options.append(option)
        note(found, option)

    monkeypatch.setattr(solver, "_note", noting)
    return options


@pytest.mark.parametrize(("budget", "stay"), [(1, 20), (300, 25), (5000, 30)])
def test_the_work_is_bounded_and_the_plan_is_safe(made: list[solver.Option], budget: int, stay: int) -> None:
    """T-47: 10¹⁰ combinations again, and none can be left out before the end."""
    text, models = adversary(10, 10)
    plan = Matrix({"s": text}, models=(*models, "t"), budget=budget)("t", models, dict.fromkeys(models, 1.0))
    assert not plan.exhaustive
    # Past the budget each part is looked at once more.
    assert len(made) <= budget + 111
    stays = {model for model in models if model not in plan.evict}
    assert stays <= set(plan.target_set)
    for clause in text.split(" & (")[1:]:
        alternatives = [set(one.split(" & ")) for one in clause.rstrip(")").split(" | ")]
        assert any(one <= set(plan.target_set) for one in alternatives)
    # The more it may look at, the better. No combination holds more than 30.
    assert len(stays) >= stay


def test_past_the_budget_the_heaviest_are_kept(made: list[solver.Option]) -> None:
    models = [f"m{number}" for number in range(40)]
    matrix = Matrix({"any": " & ".join([f"({' | '.join(models)})"] * 20)}, models=models, budget=3000)
    loss = {model: float(1 + number * 7 % 40) for number, model in enumerate(models)}
    plan = matrix("m0", models[1:], loss)
    assert not plan.exhaustive
    assert len(made) <= 3000 + 60
    cheapest = sorted(models[1:], key=loss.__getitem__)[:20]
    assert sorted(plan.evict) == sorted(cheapest)


def test_a_wide_choice_is_paid_for_in_each_of_its_surroundings(made: list[solver.Option]) -> None:
    levels = range(1, 13)
    models = [f"{letter}{number}" for letter in "xy" for number in levels]
    models += [f"z{number}" for number in range(300)]
    sets = {"s0": " | ".join((*models, "t"))}
    for number in levels:
        sets[f"s{number}"] = f"(x{number} & +s{number - 1}) | (y{number} & +s{number - 1})"
    matrix = Matrix(dict(reversed(sets.items())), models=(*models, "t"), budget=1000)
    plan = matrix("t", models, dict.fromkeys(models, 1.0))
    assert plan.set == "s12"
    assert not plan.exhaustive
    # The budget may be exceeded by one look at each part.
    assert len(made) <= 1000 + len(models) + 1 + 12 * 6


def test_a_plan_that_evicts_nothing_is_the_best_however_it_was_found() -> None:
    matrix = Matrix({"s": "t & (a | b) & (a | c) & (b | c)"}, models="abct", budget=1)
    assert matrix("t", "ab", {"a": 1.0, "b": 1.0}) == Plan("t", (), ("t", "a", "b"), "s")
    assert not matrix("t", "abc", dict.fromkeys("abc", 1.0)).exhaustive


def test_what_another_option_is_always_better_than_is_left_out(made: list[solver.Option]) -> None:
    matrix = Matrix({"s": " & ".join(["(a & b & c & d | a | b | c | d)"] * 6)}, models="abcd")
    assert matrix("a", "bcd", {"b": 1.0, "c": 1.0, "d": 1.0}) == Plan("a", (), tuple("abcd"), "s")
    # The five choices once, as all six parts are the same, and then one for each part.
    assert len(made) == 5 + 6


def test_references_that_double_at_each_step_do_not_double_the_work() -> None:
    sets = {"s0": "t | a | b"}
    for number in range(1, 60):
        sets[f"s{number}"] = f"(+s{number - 1} & +s{number - 1}) | (a & +s{number - 1})"
    plan = Matrix(sets, models="abct")("t", "abc", dict.fromkeys("abc", 1.0))
    assert plan.evict == ("c",)


def test_what_is_chosen_of_references_that_double_is_walked_once() -> None:
    sets = {"s0": "a | t"} | {f"s{number}": f"+s{number - 1} & +s{number - 1}" for number in range(1, 60)}
    matrix = Matrix(dict(reversed(sets.items())), models="at")
    assert matrix("t", (), {}) == Plan("t", (), ("a", "t"), "s59")
    assert matrix.can_live_together("at")


def test_a_budget_that_does_not_suffice_says_no_rather_than_yes() -> None:
    text, models = adversary(10, 10)
    matrix = Matrix({"s": text, "other": "a & b"}, models=(*models, "t", "a", "b"), budget=50)
    assert not matrix.can_live_together(models)
    assert matrix.can_live_together("ab")


def answers(matrix: Matrix, target: str, models: Sequence[str]) -> str:
    return repr([matrix(target, models[count:], dict.fromkeys(models, 1.0)) for count in range(0, 40, 8)])


@pytest.mark.parametrize("seed", ["0", "1", "77"])
def test_the_hash_seed_changes_nothing(seed: str) -> None:
    program = (
        "from tests.core.planning.test_solver import *\n"
        "text, models = adversary(6, 6)\n"
        "print(answers(Matrix({'s': text}, models=(*models, 't'), budget=2000), 't', models))"
    )
    output = subprocess.run(
        (sys.executable, "-c", program),
        env={"PYTHONHASHSEED": seed},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    text, models = adversary(6, 6)
    expected = answers(Matrix({"s": text}, models=(*models, "t"), budget=2000), "t", models)
    assert output.stdout.decode().strip() == expected
