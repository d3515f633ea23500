"""Tests of `swapcore.planning.expression`."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapcore.planning import ExpressionError
from swapcore.planning.expression import (
    MAX_NESTING,
    AllOf,
    Either,
    Expression,
    Name,
    Reference,
    parse,
)
from tests.core.planning.expanding import written

A, B, C = Name("a"), Name("b"), Name("c")

NAMES = st.text(st.characters(categories=["L", "Nd"], include_characters="_-."), min_size=1, max_size=4)
TREES: st.SearchStrategy[Expression] = st.recursive(
    st.builds(Name, NAMES) | st.builds(Reference, NAMES),
    lambda trees: st.lists(trees, min_size=2, max_size=4).flatmap(
        lambda parts: st.sampled_from([AllOf(tuple(parts)), Either(tuple(parts))])
    ),
)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a", A),
        (" a\t\n", A),
        ("((a))", A),
        ("a & b & c", AllOf((A, B, C))),
        ("a|b|c", Either((A, B, C))),
        ("a & b | c", Either((AllOf((A, B)), C))),
        ("a | b & c", Either((A, AllOf((B, C))))),
        ("(a | b) & c", AllOf((Either((A, B)), C))),
        ("(a & b) & c", AllOf((AllOf((A, B)), C))),
        ("+std & a", AllOf((Reference("std"), A))),
        ("llama-3.1_8B & 模型é٣", AllOf((Name("llama-3.1_8B"), Name("模型é٣")))),
        ("-", Name("-")),
    ],
)
def test_what_is_read(text: str, tree: Expression) -> None:
    assert parse(text) == tree


def test_names_and_references_know_where_they_stand() -> None:
    tree = parse("ab & (+cd|e)")
    assert isinstance(tree, AllOf)
    either = tree.parts[1]
    assert isinstance(either, Either)
    first, second, third = tree.parts[0], *either.parts
    assert isinstance(first, Name)
    assert isinstance(second, Reference)
    assert isinstance(third, Name)
    assert [first.position, second.position, third.position] == [0, 6, 10]


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "the expression is empty"),
        ("  ", 2, "the expression is empty"),
        ("a b", 2, "expected '&' or '|' before 'b'"),
        ("a (b)", 2, "expected '&' or '|' before '('"),
        ("(a) +b", 4, "expected '&' or '|' before '+b'"),
        ("a+b", 1, "expected '&' or '|' before '+b'"),
        ("a &", 3, "expected a model or a set, but the expression ends"),
        ("a | (b |", 8, "expected a model or a set, but the expression ends"),
        ("(a & ())", 6, "there is nothing in these parentheses"),
        ("(", 1, "expected a model or a set, but the expression ends"),
        ("& a", 0, "expected a model or a set before '&'"),
        ("a | | b", 4, "expected a model or a set before '|'"),
        ("a & ()", 5, "there is nothing in these parentheses"),
        ("(a |)", 4, "expected a model or a set before ')'"),
        ("(a &)", 4, "expected a model or a set before ')'"),
        ("a)", 1, "this ')' was never opened"),
        (")", 0, "this ')' was never opened"),
        ("(a | b", 0, "this '(' is never closed"),
        ("a & ((b | c)", 4, "this '(' is never closed"),
        ("a & b/c", 5, "unexpected character '/'"),
        ("é & a:b", 5, "unexpected character ':'"),
        ("a & ! b", 4, "unexpected character '!'"),
        ("a & +", 4, "expected the name of a set right after '+'"),
        ("+ a", 0, "expected the name of a set right after '+'"),
        ("+(a)", 0, "expected the name of a set right after '+'"),
    ],
)
def test_each_error_says_what_and_where(text: str, position: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert (caught.value.position, caught.value.message, caught.value.path) == (position, message, ())
    assert str(caught.value) == f"{message} (at position {position})"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 # Our own bytes.


@given(TREES)
def test_what_is_written_is_read_back(tree: Expression) -> None:
    assert parse(written(tree)) == tree


@given(TREES, st.data())
def test_an_alien_character_is_found_where_it_stands(tree: Expression, data: st.DataObject) -> None:
    text = written(tree).replace(" ", "")
    place = data.draw(st.integers(0, len(text)))
    broken = text[:place] + "!" + text[place:]
    with pytest.raises(ExpressionError) as caught:
        parse(broken)
    # A `+` that has lost its name is found first.
    assert caught.value.position == place - broken[:place].endswith("+")


@given(st.text(st.sampled_from("ab&|()+ !"), max_size=30))
def test_any_text_is_read_or_refused_within_its_length(text: str) -> None:
    try:
        tree = parse(text)
    except ExpressionError as error:
        found: int | Expression = error.position
    else:
        found = tree
    assert found in range(len(text) + 1) if isinstance(found, int) else parse(written(found)) == found


def test_nesting_is_bounded_and_nothing_else_is() -> None:
    deepest = "(" * MAX_NESTING + "a" + ")" * MAX_NESTING
    assert parse(deepest) == A
    with pytest.raises(ExpressionError, match="more than 100 parentheses in each other") as caught:
        parse(f"b & ({deepest})")
    assert caught.value.position == 4 + MAX_NESTING
    with pytest.raises(ExpressionError):
        parse("(" * 100_000)
    long = parse(" | ".join(["a & b"] * 50_000))
    assert isinstance(long, Either)
    assert len(long.parts) == 50_000
