"""Every heading of llama-swap's inventory, case by case: what a configuration means, or how it is refused.

The tables are in `inventory`, one file per heading. A case is a title, YAML,
perhaps an environment, and what is expected:

    == a title
    YAML, in which » marks where the first problem stands
    $ NAME=value
    => an expression about the configuration, which is true
    !! the message of an error, whole
    ?? the message of a warning, whole

Errors and warnings stand in the order in which they are said, and there are no others.
"""

from pathlib import Path

import pytest
from attrs import field, frozen

from swapcore_http.config import Config, ConfigError, Severity, loads

pytestmark = pytest.mark.usefixtures("all_supported")

FOLDER = Path(__file__).parent / "inventory"
MARK = "»"


@frozen
class Case:
    title: str
    yaml: str
    env: dict[str, str] = field(factory=dict)
    true: list[str] = field(factory=list)
    errors: list[str] = field(factory=list)
    warnings: list[str] = field(factory=list)

    @property
    def text(self) -> str:
        return self.yaml.replace(MARK, "")

    @property
    def place(self) -> tuple[int, int]:
        before = self.yaml[: self.yaml.index(MARK)].split("\n")
        return len(before), len(before[-1]) + 1


def parse(block: str) -> Case:
    title, *lines = block.rstrip("\n").split("\n")
    case = Case(title, "")
    yaml: list[str] = []
    kinds = {"$ ": None, "=> ": case.true, "!! ": case.errors, "?? ": case.warnings}
    for line in lines:
        prefix = next((each for each in kinds if line.startswith(each)), None)
        if prefix is None:
            yaml.append(line)
        elif prefix == "$ ":
            name, _, value = line[2:].partition("=")
            case.env[name] = value.encode().decode("unicode_escape")
        else:
            kind = kinds[prefix]
            assert kind is not None
            kind.append(line[3:])
    return Case(title, "\n".join(yaml), case.env, case.true, case.errors, case.warnings)


def cases() -> list[object]:
    result: list[object] = []
    for path in sorted(FOLDER.glob("*.txt")):
        _, *blocks = ("\n" + path.read_text(encoding="utf-8")).split("\n== ")
        for block in blocks:
            case = parse(block)
            result.append(pytest.param(case, id=f"{path.stem}: {case.title}"))
    return result


def said(problems: object) -> list[str]:
    assert isinstance(problems, tuple)
    return [f"{each.path}: {each.message}" if each.path else each.message for each in problems]


@pytest.mark.parametrize("case", cases())
def test_inventory(case: Case) -> None:
    assert case.true or case.errors or case.warnings, "nothing is expected"
    if case.errors:
        with pytest.raises(ConfigError) as caught:
            loads(case.text, "c", env=case.env)
        problems = caught.value.problems
        errors = tuple(each for each in problems if each.severity is Severity.ERROR)
        assert said(errors) == case.errors
        assert said(tuple(each for each in problems if each not in errors)) == case.warnings
        if MARK in case.yaml:
            assert (errors[0].line, errors[0].column) == case.place
        return
    loaded = loads(case.text, "c", env=case.env)
    assert said(loaded.warnings) == case.warnings
    if MARK in case.yaml:
        assert (loaded.warnings[0].line, loaded.warnings[0].column) == case.place
    for expression in case.true:
        check(expression, loaded.config)


def check(expression: str, config: Config) -> None:
    """Evaluate both sides of a comparison, so that a failure shows them."""
    left, equals, right = expression.partition(" == ")
    names = {"config": config, "m": next(iter(config.models.values()), None)}
    value = eval(left, names)  # noqa: S307 - the tables are our own.
    if equals:
        assert value == eval(right, names), expression  # noqa: S307 - likewise.
    else:
        assert value, expression


def test_every_heading_has_its_table() -> None:
    headings = {path.stem.split("_")[0] for path in FOLDER.glob("*.txt")}
    # A.12 is about several files, which test_merging has, and A.15 and A.17 are about other modules.
    assert headings >= {f"A{number:02}" for number in (*range(1, 12), 13, 14, 16)}
