"""Does `explain` give the answers that a configuration asks for, and say why?"""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from swapcore_http import cli
from swapcore_http.config import Config, GroupConfig, MatrixConfig, ModelConfig, loads
from swapcore_http.explain import UnknownNameError, explain

STANDARD = {"s1": "a & b"}
HEAVY = {"s1": "a & v", "s2": "a & L"}
KEPT = {"s1": "g & v", "s2": "g & m"}

CASES: dict[str, tuple[dict[str, str], dict[str, float], str, str, str, str, str]] = {
    # What: sets, costs, requested, running; evict, target set, set.
    "1 already running": (STANDARD, {}, "a", "a", "", "a", "s1"),
    "2 in no set": (STANDARD, {}, "c", "a b", "a b", "c", ""),
    "3 in no set, nothing running": (STANDARD, {}, "c", "", "", "c", ""),
    "4 non-members leave": (STANDARD, {}, "a", "b c", "c", "a b", "s1"),
    "5a lowest cost": (HEAVY, {"v": 50, "L": 30}, "a", "v", "", "a v", "s1"),
    "5b lowest cost": (HEAVY, {"v": 50, "L": 30}, "a", "L", "", "a L", "s2"),
    "6 tie: definition order": ({"s1": "a & x", "s2": "a & y"}, {}, "a", "", "", "a x", "s1"),
    "7 expensive ones are kept": (KEPT, {"v": 50}, "g", "v m", "m", "g v", "s1"),
    "8 nothing running": ({"s1": "g & v", "s2": "q & v"}, {}, "g", "", "", "g v", "s1"),
}


def yaml(models: str, **sections: object) -> str:
    """Write a configuration of models without programs, and of these sections."""
    named = {name: {"cmd": "x", "proxy": "http://localhost:1"} for name in models.split()}
    # JSON is YAML.
    return json.dumps({"models": named, **sections})


@pytest.mark.parametrize(
    ("sets", "costs", "requested", "running", "evict", "target_set", "name"), CASES.values(), ids=CASES.keys()
)
def test_solver_cases(
    *,
    sets: dict[str, str],
    costs: dict[str, float],
    requested: str,
    running: str,
    evict: str,
    target_set: str,
    name: str,
) -> None:
    text = yaml("a b c g q m v L x y", matrix={"sets": sets, "evict_costs": costs})
    answer = explain(loads(text).config, requested, running.split())
    assert (answer.target, answer.evict, sorted(answer.target_set)) == (
        requested,
        tuple(evict.split()),
        sorted(target_set.split()),
    )
    assert answer.set == name


FULL = """
models:
  gemma: &model {cmd: x, proxy: "http://localhost:1"}
  qwen: *model
  mistral: *model
  voxtral: {<<: *model, aliases: [voice, "stt:1"]}
  reranker: *model
  sdxl: *model
  llama-70b: *model
  whisper: *model
matrix:
  vars: {g: gemma, q: qwen, m: mistral, v: voxtral, e: reranker, sd: sdxl, L: llama-70b}
  evict_costs: {v: 50, L: 30, whisper: 10}
  # In this order, which is not that of their names.
  sets:
    standard: (g | q | m) & v
    with_rerank: e & (g | q) & v
    creative: (g | q) & sd
    full: L
"""

SCENARIO = [
    ("qwen", "gemma voxtral", "gemma", "qwen voxtral", "standard", 1),
    ("llama-70b", "gemma voxtral", "gemma voxtral", "llama-70b", "full", 51),
    ("sdxl", "gemma voxtral", "voxtral", "gemma sdxl", "creative", 50),
    ("gemma", "reranker qwen voxtral", "qwen", "gemma voxtral reranker", "with_rerank", 1),
]


@pytest.mark.parametrize(("requested", "running", "evict", "target_set", "name", "cost"), SCENARIO)
@pytest.mark.parametrize("spelling", ["legacy", "routing"])
def test_the_full_scenario_through_the_command(
    *,
    requested: str,
    running: str,
    evict: str,
    target_set: str,
    name: str,
    cost: float,
    spelling: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "config.yaml"
    text = FULL
    if spelling == "routing":
        head, _, matrix = text.partition("matrix:\n")
        indented = "".join(f"      {line}\n" for line in matrix.splitlines())
        text = f"{head}routing:\n  router:\n    use: matrix\n    settings:\n      matrix:\n{indented}"
    path.write_text(text)
    arguments = ["explain", requested, "--config", str(path), "--running", running.replace(" ", ",")]
    assert cli.main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer) == ["target", "evict", "target_set", "set", "cost", "reasons"]
    assert (answer["target"], answer["set"], answer["cost"]) == (requested, name, cost)
    assert answer["evict"] == evict.split()
    assert sorted(answer["target_set"]) == sorted(target_set.split())
    assert [reason.split()[0] for reason in answer["reasons"]] == [
        model for model in loads(text).config.models if model in running.split()
    ]


def test_what_people_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FULL)
    assert cli.main(["explain", "sdxl", "--config", str(path), "--running", "stt:1, gemma ,,voice"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "A request for sdxl evicts voxtral, at a cost of 50.",
        "  gemma stays: what was chosen of the set creative holds it",
        "  voxtral leaves: what was chosen of the set creative does not hold it; its cost is 50",
        "Then these may live together, by the set creative: gemma, sdxl.",
    ]
    assert cli.main(["explain", "whisper", "--config", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "A request for whisper evicts nothing.",
        "Then these may live together: whisper.",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gema"], "swapcore-http: no model is called 'gema' (did you mean gemma?)\n"),
        (["gemma", "--running", "qwen,zzz"], "swapcore-http: no model is called 'zzz'\n"),
    ],
)
def test_unknown_names(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FULL)
    assert cli.main(["explain", *arguments, "--config", str(path)]) == 1
    out, said = capsys.readouterr()
    assert out == ""
    # What is odd about the configuration is said before.
    assert said.endswith("\n" + message)


def test_a_configuration_with_an_error_is_said_to_have_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("matrix: {sets: {s: a}}")
    assert cli.main(["explain", "a", "--config", str(path)]) == 1
    assert f"{path}:1:20: matrix.sets.s: there is no variable or model 'a'" in capsys.readouterr().err


def models(*names: str, **pinned: bool) -> list[ModelConfig]:
    return [
        ModelConfig(name, cmd="x", proxy="http://h", pinned=pinned.get(name, False), aliases=[f"{name}2"])
        for name in names
    ]


def test_groups() -> None:
    config = Config(
        models("a", "b", "c", "d"),
        groups=[
            GroupConfig("together", members=["a", "b"], swap=False, exclusive=False),
            GroupConfig("kept", members=["c"], persistent=True),
        ],
    )
    answer = explain(config, "d2", ["c2", "a", "a2"])
    assert (answer.target, answer.evict, answer.target_set, answer.set) == ("d", ("a",), ("d", "c"), "")
    assert answer.cost == 1
    assert answer.reasons == (
        (
            "a leaves: the target's group is exclusive, and the resident's is not persistent "
            "(d in (default), a in together); its loss is 1"
        ),
        "c stays: the resident's group is persistent (d in (default), c in kept)",
    )
    assert explain(config, "a", ["b", "d"]).evict == ()
    assert explain(config, "d", ["d", "b"]).evict == ("b",)


def test_a_pinned_model_does_not_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(models("a", "b", "c", b=True), matrix=MatrixConfig({"s": "a & b | c & b | a & c"}))
    assert explain(config, "a", ["b", "c"]).evict == ("c",)
    alone = Config(models("a", "b", b=True))
    answer = explain(alone, "a", ["b"])
    assert (answer.evict, answer.cost) == (("b",), math.inf)
    path = tmp_path / "config.yaml"
    path.write_text(
        "models: {a: {cmd: x, proxy: http://h}, b: {cmd: x, proxy: http://h, pinned: true}}", encoding="utf-8"
    )
    command = ["explain", "a", "--config", str(path), "--running", "b"]
    assert cli.main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"] is None
    assert cli.main(command) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "A request for a would have to evict b, which cannot be done.",
        (
            "  b would have to leave: they share a group that holds one model at a time ((default)); "
            "it may not, and while it is up the target cannot come in"
        ),
    ]


def test_unknown_names_are_an_error_of_their_own() -> None:
    with pytest.raises(UnknownNameError, match="no model is called 'x'"):
        explain(Config(models("a")), "x", [])


def test_it_needs_neither_aiohttp_nor_an_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(FULL)
    code = (
        "import sys; from swapcore_http import cli; "
        f"assert cli.main(['explain', 'gemma', '--config', {str(path)!r}]) == 0; "
        "print(sorted({'aiohttp', 'anyio', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
