"""Is a megabyte of anything answered in bounded time, and are macros expanded the same way whenever?"""

import time

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapcore_http.config import ConfigError, loads
from swapcore_http.config.source import LARGEST_FILE

LONGEST = 10.0
"""Seconds of CPU time; some three are what is asked of a machine that does nothing else."""

MEGABYTE = LARGEST_FILE - 1000


def repeated(piece: str) -> str:
    return piece * (MEGABYTE // len(piece))


def lines(form: str) -> str:
    """Fill a megabyte with lines that are all different."""
    count = MEGABYTE // (len(form.format(0)) + 7)
    return "".join(form.format(number) + "\n" for number in range(count))


def bomb() -> str:
    """Let each of many anchors stand for ten of the one before."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 40)]
    return "a0: &a0 [x, x]\n" + "".join(levels)


HOSTILE = {
    "open brackets": repeated("["),
    "nested dashes": repeated("- "),
    "deeper and deeper": "".join(" " * n + f"k{n}:\n" for n in range(1300)),
    "alias bomb": bomb(),
    "alias of everything": "a: &a " + "[" + repeated("x,")[: MEGABYTE // 2] + "]\nb: [*a, *a, *a]\n",
    "a merge of many": "a: &a {x: 1}\nb: {<<: [" + repeated("*a,")[: MEGABYTE - 100] + "]}\n",
    "a long flow sequence": "models: [" + repeated("x,") + "]",
    "the same key": repeated("k: 1\n"),
    "unknown keys": lines("k{}: 1"),
    "models of one key": "models:\n" + lines("  m{}: {{cmd: x}}"),
    "wrong values": "models:\n" + lines("  m{}: {{ttl: soon}}"),
    "references": "models: {a: {cmd: '" + repeated("${PORT}")[: MEGABYTE - 7] + "'}}",
    "environment": "models: {a: {cmd: '" + repeated("${env.NOT}") + "'}}",
    "a deep set": "models: {a: {cmd: x}}\nmatrix: {sets: {s: '" + repeated("(") + "'}}",
    "many sets": "models: {a: {cmd: x}}\nmatrix:\n  sets:\n" + lines("    s{}: a"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_it_is_answered_in_bounded_time(text: str) -> None:
    said = ""
    start = time.process_time()
    try:
        loads(text, env={})
    except ConfigError as error:
        said = str(error)
    assert time.process_time() - start < LONGEST
    assert len(said) < MEGABYTE


def test_there_is_a_limit_of_models() -> None:
    few = "models:\n" + "".join(f"  m{number}: {{cmd: 'x ${{PORT}}'}}\n" for number in range(5001))
    with pytest.raises(ConfigError) as caught:
        loads("startPort: 1000\n" + few, "c", env={})
    (problem,) = caught.value.problems
    assert str(problem).split("\n")[0] == "c:3:3: models: there are 5001; expected at most 5000"


NAMES = ["a", "b", "c", "d"]
VALUES = st.integers() | st.lists(
    st.sampled_from([*(f"${{{name}}}" for name in NAMES), "${MODEL_ID}", "${PORT}", "$", "{", "x", " "]),
    max_size=6,
).map("".join)
MACROS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4, unique_by=lambda pair: pair[0]).map(
    dict
)


def flow(table: dict[str, object]) -> str:
    return (
        "{"
        + ", ".join(
            f"{key}: {value if isinstance(value, int) else repr(value)}" for key, value in table.items()
        )
        + "}"
    )


@given(MACROS, MACROS, st.sampled_from(["${a}", "x ${PORT} ${b}${c}", "${d} ${MODEL_ID}"]))
@settings(deadline=None, max_examples=200)
def test_expansion_ends_and_is_the_same_each_time(
    top: dict[str, object], own: dict[str, object], cmd: str
) -> None:
    text = f"macros: {flow(top)}\nmodels: {{m: {{cmd: 'x ${{PORT}} {cmd}', macros: {flow(own)}}}}}\n"
    start = time.process_time()
    outcomes = []
    for _ in range(2):
        try:
            outcomes.append(str(attrs.asdict(loads(text, env={}).config.models["m"])))
        except ConfigError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    # Four macros of six references each come to 6 ** 4 pieces at most.
    assert time.process_time() - start < LONGEST
    assert len(outcomes[0]) < 100_000
