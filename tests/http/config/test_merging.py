"""Tests of how several files become one configuration: the inventory's heading A.12."""

from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapcore_http.config import ConfigError, load
from swapcore_http.config.merging import merge
from swapcore_http.config.plain import Plain, plain
from swapcore_http.config.source import parse
from tests.http.config.test_fuzz import flow

pytestmark = pytest.mark.usefixtures("all_supported")

A, B = "a: {cmd: 'x ${PORT}'}", "b: {cmd: 'x ${PORT}'}"

WRONG = {
    "a model twice": (f"models: {{{A}}}", f"models: {{{A}}}", "b.yaml:1:10: models.a: duplicate model 'a'"),
    "a group twice": ("groups: {g: {}}", "groups: {g: ~}", "b.yaml:1:10: groups.g: duplicate group 'g'"),
    "a peer twice": ("peers: {p: {}}", "peers: {p: {}}", "b.yaml:1:9: peers.p: duplicate peer 'p'"),
    "sets twice": (
        "matrix: {sets: {}}",
        "matrix: {sets: {}}",
        "b.yaml:1:10: matrix.sets: duplicate part of the matrix",
    ),
    "another value": (
        "startPort: 5",
        "startPort: 6",
        "b.yaml:1:12: startPort: says something else than before",
    ),
    "another tag": ("logLevel: 5", "logLevel: '5'", "b.yaml:1:11: logLevel: says something else than before"),
    "another kind": (
        "apiKeys: [k]",
        "apiKeys: {}",
        "b.yaml:1:10: apiKeys: a mapping cannot be merged with a list",
    ),
    "another macro": (
        "macros: {m: 1}",
        "macros: {m: 2}",
        "b.yaml:1:13: macros.m: says something else than before",
    ),
}


def write(folder: Path, *texts: str) -> Path:
    for name, text in zip("abc", texts, strict=False):
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(("first", "second", "message"), WRONG.values(), ids=WRONG.keys())
def test_contradictions(
    first: str, second: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write(tmp_path, first, second))
    with pytest.raises(ConfigError) as caught:
        load(directory=".", env={})
    problem = next(each for each in caught.value.problems if each.notes)
    assert str(problem).startswith(message)
    assert [note.file for note in problem.notes] == ["a.yaml"]


def test_lists_and_macros_and_sections_of_all_files(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        "apiKeys: [one]\nmacros: {m: 1}\nlogLevel: info\nhooks:\nmatrix: {vars: {v: a}}\n"
        f"models: {{{A}}}",
        "apiKeys: [two]\nmacros: {m: 1, n: '${m}2'}\nlogLevel: info\nmatrix: {sets: {s: v}}\n"
        f"models: {{{B}}}",
        "models: {c: {cmd: 'x ${PORT} ${n}'}}\nhooks: {on_startup: {preload: [b]}}",
    )
    (folder / "ignored.txt").write_text("[")
    config = load(directory=folder, env={}).config
    assert [each.key for each in config.api_keys] == ["one", "two"]
    assert list(config.models) == ["a", "b", "c"]
    assert config.models["c"].argv(9) == ["x", "9", "12"]
    assert config.preload == ("b",)


def test_a_problem_is_in_the_file_where_it_stands(tmp_path: Path) -> None:
    folder = write(tmp_path, "apiKeys: [k]", "apiKeys: [k2,\n  '']")
    with pytest.raises(ConfigError) as caught:
        load(directory=folder, env={})
    assert str(caught.value).startswith(f"{folder / 'b.yaml'}:2:3: apiKeys[2]: the key is empty")


def test_which_files_there_may_be(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        load()
    with pytest.raises(ConfigError, match="there is no"):
        load(directory=tmp_path)
    alone = tmp_path.parent / "alone.yaml"
    alone.write_text(f"models: {{{A}}}")
    assert list(load(alone, directory=tmp_path, env={}).config.models) == ["a"]
    write(tmp_path, f"models: {{{B}}}")
    with pytest.raises(ConfigError, match="is in the directory"):
        load(tmp_path / "a.yaml", directory=tmp_path)


LEAVES = st.none() | st.sampled_from(["1", "x", "y", "true"])
KEYS = st.sampled_from(["models", "groups", "macros", "a", "b"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
FILES = st.dictionaries(KEYS, TREES, max_size=3)


def merged(*parts: Plain) -> tuple[Plain, int]:
    conflicts: list[object] = []
    whole, *rest = map(deepcopy, parts)
    for part in rest:
        whole = merge(whole, part, lambda *conflict: conflicts.append(conflict))
    return whole, len(conflicts)


def part(tree: object, number: int) -> Plain:
    root = parse(flow(tree)).root
    assert root is not None
    return plain(root, number)


@given(FILES, FILES, FILES)
@settings(deadline=None)
def test_it_is_all_the_same_which_are_merged_first(one: object, two: object, three: object) -> None:
    a, b, c = part(one, 0), part(two, 1), part(three, 2)
    left, left_conflicts = merged(a, b, c)
    inner, inner_conflicts = merged(b, c)
    right, right_conflicts = merged(a, inner)
    assert bool(left_conflicts) == bool(inner_conflicts + right_conflicts)
    if not left_conflicts:
        assert left.data == right.data
        assert left.places.keys() == right.places.keys()
