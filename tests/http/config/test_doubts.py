"""Tests of what is said of settings that make sense but are probably mistakes."""

from pathlib import Path

import pytest

from swapcore_http.config import ConfigError, load, loads

pytestmark = pytest.mark.usefixtures("all_supported")

A = "models: {a: {cmd: 'x ${PORT}'"
B = "b: {cmd: 'x ${PORT}'"

CASES = {
    "a stay that is short beside the load": (
        f"healthCheckTimeout: 600\n{A}, ttl: 5}}}}",
        ["2:37: models.a.ttl: a may take 600 s to load, but stays for 5 s only"],
    ),
    "a stay that is short for all": (
        f"healthCheckTimeout: 600\nglobalTTL: 29\n{A}}}, {B}}}}}",
        ["2:12: globalTTL: a may take 600 s to load, but stays for 29 s only"],
    ),
    "a stay that is long enough": (f"healthCheckTimeout: 600\n{A}, ttl: 30}}}}", []),
    "a stay that is for ever": (f"healthCheckTimeout: 600\n{A}, ttl: 0}}}}", []),
    "a model in no set": (
        (
            f"{A}}}, {B}, aliases: [x]}}, c: {{cmd: 'x ${{PORT}}'}}}}\n"
            "matrix: {vars: {v: x}, sets: {s: v, t: +s}}"
        ),
        [
            "1:10: models.a: is in no set of the matrix, and so runs alone: nothing else stays up beside it",
            "1:70: models.c: is in no set of the matrix, and so runs alone: nothing else stays up beside it",
        ],
    ),
    "a model that is shut out by a pinned one": (
        f"{A}, pinned: true}}, {B}}}}}",
        ["1:47: models.b: is refused once 'a' is up, which is pinned and cannot be up together with it"],
    ),
    "a pinned one with room beside it": (
        f"{A}, pinned: true}}, {B}}}}}\ngroups: {{g: {{members: [a, b], swap: false}}}}",
        [],
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_doubts(text: str, expected: list[str]) -> None:
    warnings = loads(text, env={}).warnings
    assert [
        f"{each.line}:{each.column}: {each.path}: {each.message.split(';')[0]}" for each in warnings
    ] == expected


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


def said(file: Path, path: Path) -> list[str]:
    return [f"{each.path}: {each.message}" for each in load(file, env={"PATH": str(path)}).warnings]


def test_programs_are_looked_for_on_the_path_that_a_model_has(file: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "here"
    program.write_text("")
    program.chmod(0o755)
    file.write_text(f"""
models:
  a: {{cmd: 'here ${{PORT}}'}}
  b: {{cmd: 'gone ${{PORT}}'}}
  c: {{cmd: 'gone ${{PORT}}', env: ['PATH={tmp_path / "bin"}']}}
  d: {{cmd: '{program} ${{PORT}}'}}
  e: {{cmd: '/gone/gone ${{PORT}}'}}
""")
    what = "expected one that can be started"
    assert said(file, tmp_path / "bin") == [
        f"models.b.cmd: 'gone' is no program on PATH; {what}",
        f"models.c.cmd: 'gone' is no program on PATH; {what}",
        f"models.e.cmd: '/gone/gone' is no program; {what}",
    ]
    assert load(file, env={}).warnings == ()


def test_a_store_must_be_writable(file: Path, tmp_path: Path) -> None:
    (tmp_path / "there.db").write_text("")
    for name in ("there.db", "new.db"):
        file.write_text(f"store: {{path: {tmp_path / name}}}\nmodels: {{}}")
        assert said(file, tmp_path) == [": there are no models in it"]
    for name, fault in [
        ("", "is a directory; expected the path of a file"),
        ("gone/x.db", "is in a directory that does not exist; expected one that does"),
    ]:
        file.write_text(f"store: {{path: {tmp_path / name}}}")
        with pytest.raises(ConfigError) as caught:
            load(file, env={"PATH": str(tmp_path)})
        assert [(each.path, each.message) for each in caught.value.problems if each.path] == [
            ("store.path", fault)
        ]
