"""Tests of how problems are shown, and of what is never shown."""

import pickle

import pytest

from swapcore_http.config import ConfigError, Problem, Severity, loads
from swapcore_http.config.problems import dotted, masked, nearest


def test_forms() -> None:
    where = {"file": "c.yaml", "line": 12, "column": 3, "source": "  key: x"}
    assert str(Problem(Severity.ERROR, "key", "wrong", **where)) == (  # type: ignore[arg-type] # Mixed by design.
        "c.yaml:12:3: key: wrong\n  12 |   key: x\n     |   ^"
    )
    assert str(Problem(Severity.WARNING, "key", "odd", "c.yaml", 12, 3)) == "c.yaml:12:3: warning: key: odd"
    assert str(Problem(Severity.ERROR, "", "wrong", "c.yaml")) == "c.yaml: wrong"
    assert str(Problem(Severity.ERROR, "key", "wrong")) == "key: wrong"


def test_long_lines_are_shown_around_the_caret() -> None:
    source = "a" * 300 + "HERE" + "b" * 300
    _, shown, caret = str(Problem(Severity.ERROR, "", "wrong", "c", 1, 301, source)).split("\n")
    assert shown == "  1 | " + "a" * 49 + "HERE" + "b" * 47
    assert caret.index("^") == shown.index("HERE")


@pytest.mark.parametrize("column", [1, 40, 100, 101, 599, 600])
def test_the_caret_points_at_the_column(column: int) -> None:
    source = "".join(chr(0x100 + place) for place in range(600))
    _, shown, caret = str(Problem(Severity.ERROR, "", "wrong", "c", 1, column, source)).split("\n")
    assert shown[caret.index("^")] == source[column - 1]


def test_tabs_do_not_move_the_caret() -> None:
    _, shown, caret = str(Problem(Severity.ERROR, "", "wrong", "c", 1, 3, "\ta\tb")).split("\n")
    assert shown == "  1 |  a b"
    assert caret == "    |   ^"


def test_nothing_shown_can_move_a_terminals_cursor() -> None:
    with pytest.raises(ConfigError) as caught:
        loads('models: {"a\\e[2J\\n\u202eb": 5}', "c\x1b.yaml")
    assert str(caught.value).split("\n")[0] == (
        "c\\x1b.yaml:1:24: models.a\\x1b[2J\\n\\u202eb: 5 is not a mapping; "
        "expected the model's settings, at least cmd"
    )


def test_an_error_lists_a_hundred_problems() -> None:
    text = "models:\n" + "".join(f"  m{number}: 5\n" for number in range(250))
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert len(caught.value.problems) == 250
    *_, last = str(caught.value).split("\n")
    assert last == "... and 150 more problems"
    assert str(caught.value).count("is not a mapping") == 100


def test_an_error_can_be_sent_to_another_process() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("models: 5")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - it is our own.
    assert again.problems == caught.value.problems


def test_paths() -> None:
    assert dotted(("models", "qwen2.5", "env", 3)) == "models.qwen2.5.env[3]"
    assert dotted(()) == ""
    assert dotted(("x" * 100, "a")) == "x" * 63 + "….a"


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("TTL", ["ttl", "cmd"]) == "ttl"
    assert nearest("loglevel", ["logLevel"]) == "logLevel"
    assert nearest("zzz", ["ttl", "cmd"]) is None
    assert nearest("x" * 65, ["x" * 65]) is None


SECRET = "hunter2"  # noqa: S105 - the one that must not be shown.

LEAKS = [
    f"apiKeys: [{SECRET}, {SECRET}]",
    f"apiKeys: [{SECRET}, [{SECRET}]]",
    f"apiKeys:\n  - '{SECRET}'\nmodels: {{a: {{env: [{SECRET}]}}}}",
    f"models: {{a: {{cmd: x, ttl: y, env: [{SECRET}, {{{SECRET}: {SECRET}}}, ={SECRET}]}}}}",
    f"models: {{a: {{cmd: x, env: {SECRET}}}}}",
    f"models: {{a: {{cmd: x, env: {{PASS: {SECRET}}}}}}}",
    f"models: {{a: {{cmd: [x --api-key {SECRET}]}}}}",
    f"models: {{a: {{cmd: 'x --hf-token={SECRET} ${{FOO}}'}}}}",
    f"models: {{a: {{cmd: x, proxy: 'http://u:{SECRET}@h:99999'}}}}",
    f"models: {{a: {{cmd: x, proxy: 'ftp://u:{SECRET}@h'}}}}",
    f"models: {{a: {{cmd: x, proxy: 'http://u:{SECRET}@h:${{PORT}}'}}}}",
    f"peers: {{p: {{proxy: x, apiKey: {SECRET}}}}}",
    f'apiKeys: ["{SECRET}',
    f"{{apiKeys: [\n  {SECRET}\n,{SECRET}], logLevel: loud}}",
    f"apiKeys: '{SECRET}'\n'",
    f"HF_TOKEN: {SECRET}: [",
]  # fmt: skip


@pytest.mark.parametrize("text", LEAKS)
def test_secrets_are_not_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert not any(SECRET in problem.source for problem in caught.value.problems)


def test_masks_keep_the_columns() -> None:
    line = "  api_key: abc, next: http://me:pw@host/"
    assert masked(line) == "  api_key: " + "*" * (len(line) - 11)
    assert masked("proxy: http://me:pw@host/x") == "proxy: http://*****@host/x"
    assert masked("keys: tokens") == "keys: tokens"
