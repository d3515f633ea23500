"""Does the schema accept what can be loaded, and refuse what has the wrong shape?"""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from swapcore_http.cli import main
from swapcore_http.config import source
from swapcore_http.config.json_schema import json_schema
from swapcore_http.config.plain import plain
from swapcore_http.config.setting import settings_of
from tests.http.config.records import records

CASES = Path(__file__).parent / "cases"
EXAMPLES = Path(__file__).parents[3] / "examples"

STRUCTURAL = re.compile(r" is not (?:a |true )| is too (?:small|large); expected [a-z ]+ from |not one of ")
"""Messages about the shape of one value, whatever else is written."""

NO_JSON = re.compile(r": -?(?:nan|inf) is not ")
"""YAML has numbers that JSON has no word for."""

VALIDATOR = Draft202012Validator(json_schema())


def data_of(text: str) -> Any:
    root = source.parse(source.decode(text)).root
    return None if root is None else plain(root).data


def cases(*, wrong: bool) -> list[tuple[str, str]]:
    """Read the sources and messages of the tables of cases that can be parsed at all."""
    found = []
    for path in sorted(CASES.glob("wrong*.txt" if wrong else "odd*.txt")):
        for case in path.read_text(encoding="utf-8").split("\n\n")[1:]:
            text, message = case.rstrip().rsplit("\n    ", 1)
            text = text.replace("»", "")
            try:
                data_of(text)
            except source.SourceError:
                continue
            found.append((text, message))
    return found


def test_it_is_a_schema() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


@pytest.mark.parametrize("text", ["", "~", "{}", "models: {}", "models: ~", "x-common: &a {b: 1}"])
def test_what_says_nothing_is_valid(text: str) -> None:
    assert VALIDATOR.is_valid(data_of(text))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    assert list(VALIDATOR.iter_errors(data_of(path.read_text(encoding="utf-8")))) == []


ODD = [
    (text, message)
    for text, message in cases(wrong=False)
    # What stands in the part of routing that is not used may be anything, and so may what has no effect.
    if "has no effect, because" not in message and "has no effect here" not in message
]


@pytest.mark.parametrize(("text", "message"), ODD)
def test_what_can_be_loaded_is_valid_unless_a_key_is_unknown(text: str, message: str) -> None:
    unknown = "unknown key" in message
    errors = [error.message for error in VALIDATOR.iter_errors(data_of(text))]
    assert bool(errors) == unknown, errors


WRONG = [
    (text, message)
    for text, message in cases(wrong=True)
    if STRUCTURAL.search(message) and not NO_JSON.search(message)
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_has_the_wrong_shape_is_invalid(text: str, message: str) -> None:
    assert not VALIDATOR.is_valid(data_of(text))


def test_most_shapes_are_tried() -> None:
    assert len(WRONG) > 60
    assert len(ODD) > 20


def test_macros_may_stand_for_anything() -> None:
    assert VALIDATOR.is_valid(
        data_of("models: {a: {cmd: x, ttl: '${T}', unlisted: '${U}', patience: '${P}'}}")
    )
    assert not VALIDATOR.is_valid(data_of("models: {a: {cmd: x, ttl: soon}}"))


def test_older_keys_are_marked() -> None:
    filters = json_schema()["$defs"]["Filters"]["properties"]
    assert filters["strip_params"]["deprecated"]
    assert "deprecated" not in filters["stripParams"]


def test_groups_may_stand_in_both_places() -> None:
    properties = json_schema()["properties"]
    inside = properties["routing"]["properties"]["router"]["properties"]["settings"]["properties"]
    assert inside["groups"] == properties["groups"]


def test_every_setting_is_described_with_its_default() -> None:
    described = json.dumps(json_schema())
    for cls in records():
        for setting in settings_of(cls).values():
            assert f'"{setting.key.split(".")[-1]}": {{' in described
    properties = json_schema()["properties"]
    assert properties["healthCheckTimeout"]["default"] == 120
    assert properties["healthCheckTimeout"]["description"] == "How long an upstream may take to become ready."
    ttl = json_schema()["$defs"]["Model"]["properties"]["ttl"]
    assert VALIDATOR.evolve(schema=ttl).is_valid(-1)
    assert not VALIDATOR.evolve(schema=ttl).is_valid(-2)
    assert VALIDATOR.evolve(schema=properties["patience"]).is_valid(math.inf)


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
