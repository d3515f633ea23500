"""Tests of `swapcore.planning.groups`."""

import copy
import pickle
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore.planning import Group, Groups, PlanningError
from swapcore.planning.groups import Rule

MODELS = "abcdef"


@st.composite
def layouts(draw: st.DrawFn) -> Groups:
    """Any way to sort the models into up to three groups and the rest."""
    number = {model: draw(st.integers(0, 3)) for model in MODELS}
    flags = st.booleans()
    return Groups(
        (
            Group(f"g{one}", [m for m in MODELS if number[m] == one], draw(flags), draw(flags), draw(flags))
            for one in (1, 2, 3)
        ),
        MODELS,
    )


@given(layouts(), st.sampled_from(MODELS), st.permutations(MODELS), st.integers(0, len(MODELS)))
def test_groups_are_a_double_loop(groups: Groups, target: str, models: list[str], count: int) -> None:
    resident = models[:count]
    loss = {model: float(number) for number, model in enumerate(resident)}
    table = {model: group for group in groups.groups for model in group.members}
    evict = []
    for model in resident:
        mine, other = table.get(target), table.get(model)
        if model == target:
            continue
        if mine == other:
            if mine is None or mine.swap:
                evict.append(model)
        elif (mine is None or mine.exclusive) and not (other is not None and other.persistent):
            evict.append(model)
    plan = groups(target, resident, loss)
    assert plan.evict == tuple(evict)
    assert plan.target_set == (target, *(m for m in resident if m != target and m not in evict))
    assert (plan.target, plan.set, plan.exhaustive) == (target, "", True)
    assert plan.cost == sum(loss[model] for model in evict)
    assert groups(target, resident, loss) == plan


@given(layouts(), st.permutations(MODELS), st.integers(0, len(MODELS)))
def test_what_can_live_together_stays_so_whichever_is_asked_for(
    groups: Groups, models: list[str], count: int
) -> None:
    them = models[:count]
    loss = dict.fromkeys(them, 1.0)
    assert groups.can_live_together(them) == all(not groups(model, them, loss).evict for model in them)


def test_who_came_in_beside_an_exclusive_group_leaves_at_its_next_request() -> None:
    """T-48: llama-swap's rule, kept on purpose. It also holds for a target that is up already."""
    groups = Groups([Group("e", "a"), Group("n", "b", exclusive=False)], "ab")
    loss = {"a": 1.0, "b": 1.0}
    assert groups("b", "a", loss).evict == ()
    assert groups("a", "b", loss).evict == ("b",)
    assert groups("b", "ab", loss).evict == ()
    assert groups("a", "ab", loss).evict == ("b",)
    assert not groups.can_live_together("ab")


def test_models_of_no_group_and_unknown_ones_take_turns() -> None:
    groups = Groups([Group("g", "a", persistent=True)], "abc")
    assert groups.group_of("b") is groups.group_of("unheard-of")
    assert groups.group_of("b").members == ("b", "c")
    assert groups("b", "ac", {"a": 1.0, "c": 1.0}).evict == ("c",)
    assert groups("unheard-of", "ac", {"a": 1.0, "c": 1.0}).evict == ("c",)
    assert groups.rule("b", "c") is Rule.SWAPS


def test_persistent_protects_from_other_groups_only() -> None:
    groups = Groups([Group("g", "ab", persistent=True)], "abc")
    assert groups("a", "b", {"b": 1.0}).evict == ("b",)
    assert groups("c", "b", {"b": 1.0}).evict == ()


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([Group("(default)", "a")], "(default): this name is kept for the models that are in no other group"),
        ([Group("g", "a"), Group("g", "b")], "g: there are two groups of this name"),
        ([Group("g", "aba")], "g: members: 'a' is listed twice"),
        ([Group("g", "ab"), Group("h", "ca")], "h: members: 'a' is a member of 'g' already"),
        ([Group("g", "ax")], "g: members: there is no model 'x'; members are named by their ids"),
    ],
)
def test_contradictions_are_refused(groups: list[Group], message: str) -> None:
    with pytest.raises(PlanningError) as caught:
        Groups(groups, "abc")
    assert str(caught.value) == message
    assert message.startswith(": ".join(caught.value.path))


def test_groups_are_values() -> None:
    one, other = (Groups([Group("g", "ab", swap=False)], "abc") for _ in range(2))
    assert one == other == pickle.loads(pickle.dumps(one))  # noqa: S301 # Our own bytes.
    assert hash(one) == hash(other)
    assert copy.deepcopy(one) is one
    assert one != Groups([Group("g", "ab")], "abc")
    assert {one.can_live_together(them) for them in permutations("ab")} == {True}
