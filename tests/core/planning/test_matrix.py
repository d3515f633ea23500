"""Tests of `swapcore.planning.matrix`; the work that it does is tested with `solver`."""

import copy
import math
import pickle
from collections.abc import Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from swapcore.planning import BUSY, ExpressionError, Matrix, Plan, PlanningError
from swapcore.planning.expression import AllOf, Either, Expression, Name, Reference, parse
from tests.core.planning import expanding

FULL = {
    "standard": "(g | q | m) & v",
    "with_rerank": "e & (g | q) & v",
    "creative": "(g | q) & sd",
    "full": "L",
}
FULL_COSTS = {"v": 50, "L": 30, "whisper": 10}
AX_AY = {"s1": "a & x", "s2": "a & y"}


@pytest.mark.parametrize(
    ("sets", "costs", "target", "running", "evict", "target_set", "name", "cost"),
    [
        ({"s1": "a & b"}, {}, "a", "a", "", "a", "s1", 0),
        ({"s1": "a & b"}, {}, "c", "a b", "a b", "c", "", 2),
        ({"s1": "a & b"}, {}, "c", "", "", "c", "", 0),
        ({"s1": "a & b"}, {}, "a", "b c", "c", "a b", "s1", 1),
        ({"s1": "a & v", "s2": "a & L"}, {"v": 50, "L": 30}, "a", "v", "", "a v", "s1", 0),
        ({"s1": "a & v", "s2": "a & L"}, {"v": 50, "L": 30}, "a", "L", "", "a L", "s2", 0),
        (AX_AY, {}, "a", "", "", "a x", "s1", 0),
        ({"s1": "g & v", "s2": "g & m"}, {"v": 50}, "g", "v m", "m", "g v", "s1", 1),
        ({"s1": "g & v", "s2": "q & v"}, {}, "g", "", "", "g v", "s1", 0),
        (FULL, FULL_COSTS, "q", "g v", "g", "q v", "standard", 1),
        (FULL, FULL_COSTS, "L", "g v", "g v", "L", "full", 51),
        (FULL, FULL_COSTS, "sd", "g v", "v", "g sd", "creative", 50),
        (FULL, FULL_COSTS, "g", "e q v", "q", "e g v", "with_rerank", 1),
    ],
    ids=["1", "2", "3", "4", "5a", "5b", "6", "7", "8", "full-q", "full-L", "full-sd", "full-g"],
)
def test_it_gives_the_answers_of_llama_swap(  # noqa: PLR0917 # One column of the table each.
    sets: Mapping[str, str],
    costs: Mapping[str, float],
    target: str,
    running: str,
    evict: str,
    target_set: str,
    name: str,
    cost: float,
) -> None:
    models = ("a", "b", "c", "e", "g", "m", "q", "sd", "v", "x", "y", "L", "whisper")
    matrix = Matrix(sets, models=models, evict_costs=costs)
    plan = matrix(target, running.split(), dict.fromkeys(running.split(), 1.0))
    assert plan == Plan(target, tuple(evict.split()), tuple(target_set.split()), name, cost)


# Against a planner that lists every combination -----------------------------------------------------------

MODELS = [f"m{number}" for number in range(7)]
NAMES = {"first": "m0", "m1": "m2"}
"""A variable of its own name, and one that hides a model."""

LOSSES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 1.0, 7.5, BUSY + 1.0, math.inf])


def count(tree: Expression, sizes: Mapping[str, int]) -> int:
    match tree:
        case Name():
            return 1
        case Reference(text):
            return sizes[text]
        case Either(parts):
            return sum(count(part, sizes) for part in parts)
        case AllOf(parts):
            return math.prod(count(part, sizes) for part in parts)


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, str]:
    """Up to three sets, of at most a few hundred combinations, the later ones written first by half."""
    sets: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for number in range(draw(st.integers(1, 3))):
        leaves = st.sampled_from([Name(name) for name in (*MODELS, *NAMES)])
        references = st.sampled_from([Reference(name) for name in sets]) if sets else st.nothing()
        trees: st.SearchStrategy[Expression] = st.recursive(
            leaves | references,
            lambda trees: st.lists(trees, min_size=2, max_size=3).flatmap(
                lambda parts: st.sampled_from([AllOf(tuple(parts)), Either(tuple(parts))])
            ),
            max_leaves=12,
        )
        tree = draw(trees)
        name = f"s{number}"
        sizes[name] = count(tree, sizes)
        sets[name] = expanding.written(tree)
    assume(sum(sizes.values()) <= 300)
    return dict(reversed(sets.items())) if draw(st.booleans()) else sets


@settings(max_examples=400, deadline=None)
@given(
    layouts(),
    st.sampled_from([*MODELS, "unheard-of"]),
    st.dictionaries(st.sampled_from([*MODELS, "outdated"]), LOSSES),
    st.dictionaries(st.sampled_from(["first", *MODELS[2:]]), st.sampled_from([0.5, 1, 3, 50])),
)
def test_it_answers_like_one_that_lists_every_combination(
    sets: dict[str, str], target: str, loss: dict[str, float], costs: dict[str, float]
) -> None:
    matrix = Matrix(sets, models=MODELS, vars=NAMES, evict_costs=costs, budget=10**9)
    resident = list(loss)
    plan = matrix(target, resident, loss)
    resolved = {NAMES.get(name, name): cost for name, cost in costs.items()}
    evict, combination, name = expanding.plan(target, resident, loss, sets=sets, names=NAMES, costs=resolved)
    assert plan.evict == evict
    assert plan.set == name
    assert plan.target_set == (tuple(resident) if target in loss and not evict else combination)
    assert plan.exhaustive
    leaving = [model for model in evict if loss[model] > 0]
    if costs and math.inf not in [loss[model] for model in leaving]:
        assert plan.cost == sum(resolved.get(model, 1) for model in leaving)
    else:
        assert plan.cost == math.fsum(loss[model] for model in leaving)
    assert matrix(target, resident, loss) == plan


@settings(max_examples=200, deadline=None)
@given(layouts(), st.sets(st.sampled_from(MODELS)))
def test_models_can_live_together_if_some_combination_holds_them(
    sets: dict[str, str], models: set[str]
) -> None:
    matrix = Matrix(sets, models=MODELS, vars=NAMES, budget=10**9)
    expected = len(models) <= 1 or any(
        models <= set(combination)
        for text in sets.values()
        for combination in expanding.combinations(parse(text), sets, NAMES)
    )
    assert matrix.can_live_together(sorted(models)) == expected


@settings(max_examples=200, deadline=None)
@given(
    layouts(), st.sampled_from(MODELS), st.dictionaries(st.sampled_from(MODELS), LOSSES), st.integers(1, 20)
)
def test_with_any_budget_what_stays_may_live_together(
    sets: dict[str, str], target: str, loss: dict[str, float], budget: int
) -> None:
    small, large = (Matrix(sets, models=MODELS, vars=NAMES, budget=one) for one in (budget, 10**9))
    plan, best = small(target, list(loss), loss), large(target, list(loss), loss)
    stays = [model for model in loss if model not in plan.evict]
    assert target not in plan.evict
    assert target in plan.target_set
    assert large.can_live_together({target, *stays})
    if plan.exhaustive and plan.evict:
        assert plan == best
    assert expanding.price(plan.evict, loss, {}) >= expanding.price(best.evict, loss, {})


# The order of plans ---------------------------------------------------------------------------------------


def evicted(matrix: Matrix, target: str, loss: Mapping[str, float]) -> tuple[str, ...]:
    return matrix(target, list(loss), loss).evict


def test_one_that_may_not_leave_outweighs_everything_else() -> None:
    matrix = Matrix({"s1": "t & a", "s2": "t & b & c"}, models="abct", evict_costs={"b": 1000})
    assert evicted(matrix, "t", {"a": math.inf, "b": BUSY, "c": BUSY}) == ("b", "c")
    assert evicted(matrix, "t", {"a": math.inf, "b": math.inf, "c": 1.0}) == ("a",)


def test_configured_costs_come_before_losses_and_losses_before_the_written_order() -> None:
    loss = {"a": 1.0, "b": BUSY}
    sets = {"s1": "t & a", "s2": "t & b"}
    assert evicted(Matrix(sets, models="abt"), "t", loss) == ("a",)
    assert evicted(Matrix(sets, models="abt", evict_costs={"a": 2}), "t", loss) == ("b",)
    assert evicted(Matrix(sets, models="abt", evict_costs={"t": 2}), "t", loss) == ("a",)
    assert evicted(Matrix(sets, models="abt"), "t", {"a": 1.0, "b": 1.0}) == ("b",)


def test_the_longer_idle_one_leaves_where_costs_are_equal() -> None:
    """R14 and R18: what is cheap to load again leaves, and among equals what was used least recently."""
    matrix = Matrix({"any": " & ".join(["(a | b | c | d)"] * 3)}, models="abcd")
    assert evicted(matrix, "d", {"a": 10 / 2, "b": 10 / 9, "c": 10 / 3}) == ("b",)
    assert evicted(matrix, "d", {"a": 60 / 9, "b": 10 / 2, "c": 60 / 3}) == ("b",)


def test_what_is_leaving_already_leaves_for_free_whatever_it_is_said_to_cost() -> None:
    sets = {"s1": "t & a", "s2": "t & b"}
    matrix = Matrix(sets, models="abt", evict_costs={"b": 50})
    plan = matrix("t", "ab", {"a": 1.0, "b": 0.0})
    assert (plan.evict, plan.cost) == (("b",), 0)
    # Two that cost nothing, but the one in the second set alone would have to be waited for.
    assert matrix("t", "b", {"b": 0.0}) == Plan("t", (), ("t", "b"), "s2")


def test_sets_are_tried_in_written_order_and_not_in_that_of_their_names_or_references() -> None:
    sets = {"zeta": "t & +omega", "alpha": "t & y", "omega": "x"}
    assert Matrix(sets, models="txy")("t", (), {}).target_set == ("t", "x")
    sets = {"alpha": "t & y", "omega": "x", "zeta": "t & +omega"}
    assert Matrix(sets, models="txy")("t", (), {}).target_set == ("t", "y")


def test_waiting_for_two_that_leave_is_better_than_evicting_one_that_would_stay() -> None:
    matrix = Matrix({"s1": "t & b & c", "s2": "t & a"}, models="abct")
    assert evicted(matrix, "t", {"a": 0.5, "b": 0.0, "c": 0.0}) == ("b", "c")


def test_costs_need_not_be_whole_numbers() -> None:
    matrix = Matrix({"s1": "t & a", "s2": "t & b"}, models="abt", evict_costs={"a": 0.25, "b": 0.75})
    assert matrix("t", "ab", {"a": 9.0, "b": 1.0}) == Plan("t", ("a",), ("t", "b"), "s2", 0.25)


def test_of_equal_combinations_an_earlier_choice_comes_before_one_that_a_later_one_improved() -> None:
    matrix = Matrix({"s": "t & (o | x | o & y) & (o | z)"}, models="toxyz")
    # {o, y, z} would cost the same, but is chosen further right.
    assert matrix("t", "oxyz", {"o": 1.0, "x": 2.0, "y": 1.0, "z": 1.0}).target_set == ("t", "x", "o")


def test_the_leftmost_choice_counts_most() -> None:
    matrix = Matrix({"s": "(a | b) & (c | d) & t"}, models="abcdt")
    loss = dict.fromkeys("abcd", 1.0)
    assert matrix("t", (), {}).target_set == ("a", "c", "t")
    assert matrix("t", "abcd", loss).evict == ("b", "d")
    assert matrix("t", "dcba", loss).evict == ("d", "b")


def test_a_resident_target_evicts_what_it_may_not_live_beside() -> None:
    """As after a reload: those that stayed up under the old configuration may not stay under the new one."""
    matrix = Matrix({"s": "a & (b | c)"}, models="abc")
    loss = dict.fromkeys("abc", 1.0)
    assert matrix("a", "ab", loss) == Plan("a", (), ("a", "b"), "s")
    assert matrix("a", "abc", loss) == Plan("a", ("c",), ("a", "b"), "s", 1)


def test_a_part_that_is_written_twice_chooses_twice() -> None:
    sets = {"one": "a | b", "two": "+one & +one"}
    matrix = Matrix(sets, models="ab")
    assert matrix.can_live_together("ab")
    assert matrix("a", "b", {"b": 1.0}) == Plan("a", (), ("a", "b"), "two")
    assert Matrix({"s": "a & a | a"}, models="ab")("a", (), {}).target_set == ("a",)


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, "sets: there are none; expected at least one"),
        ({"s": ""}, "sets: s: the expression is empty (at position 0)"),
        ({"s": "a & ()"}, "sets: s: there is nothing in these parentheses (at position 5)"),
        ({"s": "a & nope"}, "sets: s: there is no variable or model 'nope' (at position 4)"),
        ({"s": "a | +nope"}, "sets: s: there is no set 'nope' (at position 4)"),
        ({"s": "a & +s"}, "sets: s: it refers to itself: s → s (at position 4)"),
        (
            {"s": "a", "x": "a & +y", "y": "+s | +z", "z": "+x"},
            "sets: x: it refers to itself: x → y → z → x (at position 4)",
        ),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(sets: dict[str, str], message: str) -> None:
    with pytest.raises(PlanningError) as caught:
        Matrix(sets, models="ab")
    assert str(caught.value) == message
    assert isinstance(caught.value, ExpressionError) == ("position" in message)
    assert message.startswith(": ".join(caught.value.path))


def test_a_set_that_nests_too_deeply_through_references_is_refused() -> None:
    sets = {"s0": "a | b & a"}
    sets |= {f"s{number}": f"a | b & +s{number - 1}" for number in range(1, 200)}
    with pytest.raises(PlanningError, match="sets: s125: it nests 252 deep, at most 250 are allowed"):
        Matrix(sets, models="ab")
    # The deepest that there may be is solved within the stack there is.
    deepest = {name: text for name, text in sets.items() if int(name[1:]) < 125}
    assert Matrix(deepest, models="ab")("a", "b", {"b": 1.0}).evict == ()
    # References alone do not nest.
    chain = {"s0": "a & b"} | {f"s{number}": f"+s{number - 1}" for number in range(1, 2000)}
    assert Matrix(chain, models="ab").can_live_together("ab")


@pytest.mark.parametrize("name", ["", "x_y", "x" * 33, "é", "a b", "a\n", "x/y"])
def test_a_variable_needs_a_simple_name(name: str) -> None:
    with pytest.raises(PlanningError, match="expected 1 to 32 of the letters") as caught:
        Matrix({"s": "a"}, models="ab", vars={name: "a"})
    assert caught.value.path == ("vars", name)


@pytest.mark.parametrize("name", ["x", "X.1-b", "x" * 32, "b"])
def test_a_variable_stands_for_its_model_even_if_a_model_has_its_name(name: str) -> None:
    matrix = Matrix({"s": f"{name} & c"}, models="abc", vars={name: "a"}, evict_costs={name: 7})
    assert matrix("c", (), {}).target_set == ("a", "c")
    assert matrix.costs == {"a": 7}


@pytest.mark.parametrize(
    ("variables", "costs", "message"),
    [
        ({"x": "nope"}, {}, "vars: x: there is no model 'nope'"),
        ({"x": "a", "y": "x"}, {}, "vars: y: there is no model 'x'"),
        ({}, {"nope": 1}, "evict_costs: nope: there is no such variable or model"),
        ({}, {"a": 0}, "evict_costs: a: it is 0; expected more than 0"),
        ({}, {"a": -1}, "evict_costs: a: it is -1; expected more than 0"),
        ({}, {"a": math.inf}, "evict_costs: a: it is inf; expected more than 0"),
        ({}, {"a": math.nan}, "evict_costs: a: it is nan; expected more than 0"),
        (
            {"x": "a"},
            {"a": 1, "x": 2},
            "evict_costs: x: the model 'a' has another cost, 1, under another name",
        ),
    ],
)
def test_variables_and_costs_that_make_no_sense_are_refused(
    variables: dict[str, str], costs: dict[str, float], message: str
) -> None:
    with pytest.raises(PlanningError) as caught:
        Matrix({"s": "a"}, models="ab", vars=variables, evict_costs=costs)
    assert str(caught.value) == message


def test_the_same_cost_under_both_names_is_no_contradiction() -> None:
    assert Matrix({"s": "a"}, models="ab", vars={"x": "a"}, evict_costs={"a": 2, "x": 2}).costs == {"a": 2}


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(PlanningError, match="budget: it is 0; expected at least 1"):
        Matrix({"s": "a"}, models="ab", budget=0)


# A pure value ---------------------------------------------------------------------------------------------


def test_it_is_a_value_that_remembers_its_order() -> None:
    one, other = (Matrix(AX_AY, models="axy", vars={"b": "a"}, evict_costs={"a": 2}) for _ in range(2))
    assert one == other == pickle.loads(pickle.dumps(one))  # noqa: S301 # Our own bytes.
    assert hash(one) == hash(other)
    assert copy.deepcopy(one) is one
    assert one != Matrix(dict(reversed(AX_AY.items())), models="axy", vars={"b": "a"}, evict_costs={"a": 2})


def test_what_was_given_may_change_afterwards() -> None:
    sets = dict(AX_AY)
    matrix = Matrix(sets, models="axy")
    sets["s1"] = "a & y"
    assert matrix.sets == AX_AY
