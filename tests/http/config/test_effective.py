"""What does a configuration come to, and does it hide its secrets?"""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swapcore_http.config import Config, ConfigError, GroupConfig, MatrixConfig, ModelConfig, loads
from swapcore_http.config.dumping import as_yaml
from swapcore_http.config.effective import COMPANY, company, effective, explained, finite

WRITTEN = """\
macros: {dir: /models, run: "llama --port ${PORT} -m ${dir}"}
globalTTL: 60
unloadTimeout: 0
sendLoadingState: true
apiKeys: [one-key, {key: another-key, name: guest}]
models:
  a:
    macros: {size: 5}
    cmd: |
      # a comment
      ${run}/${MODEL_ID}-${size}.gguf --api-key key-of-a
    cmdStop: stop ${PID} ${PORT}
    env: [TOKEN=token-of-a, PATH=/path-of-a]
    patience: .inf
    metadata: {api_key: key-in-metadata, at: "${PORT}"}
    filters: {setParamsByID: {hot: {t: 1}}}
  b:
    cmd: run
    proxy: http://me:password-of-b@host:1
    healthCheckTimeout: 5
    ttl: 0
peers: {p: {proxy: http://h, apiKey: key-of-p, models: [m]}}
"""

SECRETS = [
    *("one-key", "another-key", "key-of-a", "token-of-a", "path-of-a"),
    *("key-in-metadata", "password-of-b", "key-of-p"),
]


pytestmark = pytest.mark.usefixtures("all_supported")


@pytest.fixture
def written() -> dict[str, Any]:
    return effective(loads(WRITTEN).config)


def test_macros_ports_and_defaults_are_filled_in(written: dict[str, Any]) -> None:
    a, b = written["models"]["a"], written["models"]["b"]
    assert a["cmd"] == "llama --port 5800 -m /models/a-5.gguf --api-key ***\n"
    assert a["cmdStop"] == "stop ${PID} 5800"
    assert a["proxy"] == "http://localhost:5800"
    assert a["metadata"]["at"] == 5800
    assert a["aliases"] == ["hot"]
    assert (a["ttl"], b["ttl"]) == (60, 0)
    assert (a["healthCheckTimeout"], b["healthCheckTimeout"]) == (120, 5)
    assert (a["unloadTimeout"], a["concurrencyLimit"], a["sendLoadingState"]) == (10, 10, True)
    assert (a["patience"], b["patience"]) == (math.inf, 60)
    assert "macros" not in {*written, *a}
    assert written["routing"]["router"] == {"use": "group", "settings": {"groups": {}}}
    assert written["captureBuffer"] == 5


def test_secrets_are_hidden_and_their_surroundings_shown(written: dict[str, Any]) -> None:
    text = as_yaml(written)
    assert [secret for secret in SECRETS if secret in WRITTEN] == SECRETS
    assert [secret for secret in SECRETS if secret in text] == []
    assert [each["key"] for each in written["apiKeys"]] == ["***", "***"]
    assert [each["name"] for each in written["apiKeys"]] == ["", "guest"]
    assert written["models"]["a"]["env"] == ["TOKEN=***", "PATH=***"]
    assert written["models"]["b"]["proxy"] == "http://***@host:1"
    assert written["peers"]["p"]["apiKey"] == "***"


def test_an_infinite_number_can_be_told_in_json(written: dict[str, Any]) -> None:
    data = json.loads(json.dumps(finite(written), allow_nan=False))
    assert data["models"]["a"]["patience"] == ".inf"


NAMES = list("abcde")


@st.composite
def configurations(draw: st.DrawFn) -> Config:
    """Make configurations without secrets, of groups or a matrix."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    models = [
        ModelConfig(
            name,
            cmd=draw(st.sampled_from(["x ${PORT}", "x --port ${PORT} # no comment", "${PORT}\\\n y"])),
            ttl=draw(st.integers(-1, 5)),
            pinned=draw(st.booleans()),
            concurrency_limit=draw(st.integers(-1, 2)),
        )
        for name in names
    ]
    if draw(st.booleans()):
        sets = draw(st.lists(st.lists(st.sampled_from(names), min_size=1), min_size=1, max_size=3))
        operators = st.sampled_from([" & ", " | "])
        matrix = MatrixConfig({f"s{place}": draw(operators).join(each) for place, each in enumerate(sets)})
        return Config(models, matrix=matrix, unload_timeout=draw(st.integers(0, 5)))
    of = {name: draw(st.sampled_from(["", "g", "h"])) for name in names}
    groups = [
        GroupConfig(
            group,
            members=[name for name in names if of[name] == group],
            swap=draw(st.booleans()),
            exclusive=draw(st.booleans()),
            persistent=draw(st.booleans()),
        )
        for group in ("g", "h")
    ]
    try:
        return Config(models, groups=groups, global_ttl=draw(st.integers(0, 5)))
    except ConfigError:
        return Config(models)


@given(configurations())
@settings(deadline=None, max_examples=15)
def test_it_can_be_read_again_and_comes_to_the_same(config: Config) -> None:
    again = loads(as_yaml(explained(config)), env={})
    assert effective(again.config) == effective(config)
    assert again.config.planner() == config.planner()
    assert not [each for each in again.warnings if COMPANY in each.path]


@given(configurations())
@settings(deadline=None, max_examples=40)
def test_company_is_what_the_planner_says(config: Config) -> None:
    planner, rows = config.planner(), company(config)
    pinned = {each.id for each in config.models.values() if each.pinned}
    assert list(rows) == list(config.models)
    for one, row in rows.items():
        together = (other for other in rows if one != other and planner.can_live_together([one, other]))
        assert row.together == tuple(together)
        for other in rows.keys() - {one}:
            leaves = bool(planner(one, (other,), {other: 1.0}).evict)
            assert (other in row.evicts) == (leaves and other not in pinned)
            assert (other in row.kept_out_by) == (leaves and other in pinned)
        assert set(row.evicts) == {other for other in rows if one in rows[other].evicted_by}


def test_a_one_way_rule_shows_on_both_sides() -> None:
    models = [ModelConfig(name, cmd="${PORT}", pinned=name == "pin") for name in ("chat", "embed", "pin")]
    groups = [GroupConfig("small", members=["embed"], exclusive=False)]
    rows = company(Config(models, groups=groups))
    # `embed` comes in beside `chat`, but `chat` evicts it.
    assert (rows["embed"].group, rows["embed"].evicts) == ("small", ())
    assert rows["embed"].evicted_by == ("chat", "pin")
    assert (rows["chat"].together, rows["chat"].evicts) == ((), ("embed",))
    assert (rows["chat"].kept_out_by, rows["pin"].evicted_by) == (("pin",), ())


def test_sets_are_named() -> None:
    models = [ModelConfig(name, cmd="${PORT}") for name in "abc"]
    rows = company(Config(models, matrix=MatrixConfig({"s": "a & b", "t": "a"})))
    assert (rows["a"].sets, rows["b"].sets, rows["c"].sets) == (("s", "t"), ("s",), ())
    assert (rows["a"].together, rows["a"].evicts) == (("b",), ("c",))
