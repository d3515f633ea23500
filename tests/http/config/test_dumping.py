"""Tests of writing a configuration: reading it gives the same one."""

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swapcore_http.config import (
    ApiKeyConfig,
    CapabilitiesConfig,
    CollationConfig,
    Config,
    ConfigError,
    FiltersConfig,
    GroupConfig,
    MatrixConfig,
    ModelConfig,
    PeerConfig,
    PeerTimeoutsConfig,
    PerformanceConfig,
    ProfileConfig,
    SelectorConfig,
    StoreConfig,
    TimeoutsConfig,
    dumps,
    keys,
    loads,
)

pytestmark = pytest.mark.usefixtures("all_supported")


def everything() -> Config:
    return Config(
        [
            ModelConfig(
                "org/a:1",
                cmd="x --port ${PORT} \\\n  --b 'c d'\n",
                cmd_stop="stop ${PID}",
                env=["A=1", "B=${PORT}"],
                aliases=["yes", "1e3", "010", "2020-01-01", "<<", "~", "a: b", "é #"],
                filters=FiltersConfig(
                    strip_params="b, a",
                    set_params={"t": 0.5, "n": None},
                    set_params_by_id={"hot": {"t": [1, {}]}},
                ),
                timeouts=TimeoutsConfig(connect=0),
                capabilities=CapabilitiesConfig(inputs=["text"], tools=True, context=5),
                metadata={"port": "${PORT}", "deep": [{"x": 1e300, "y": "0x10"}]},
                macros={"m": 5, "n": "${m}"},
                patience=math.inf,
                send_loading_state=False,
            ),
            ModelConfig("b", cmd="x ${PORT}", health_check_timeout=5, name="${MODEL_ID} at ${PORT}"),
        ],
        api_keys=[
            "plain",
            ApiKeyConfig("rich", name="n", models=["a*"], scopes=["infer"], share=0.5, priority=-1),
        ],
        peers=[
            PeerConfig("p", proxy="http://h", models="auto", timeouts=PeerTimeoutsConfig(connect=1)),
            PeerConfig("q", proxy="http://h", models=["m"], api_key="1234", forward_auth=True),
        ],
        selectors=[SelectorConfig("s", strategy="pin", targets=["b", "m"], metadata={"a": 1})],
        profiles=[ProfileConfig("f", pins={"x": "b", "y": ""})],
        groups=[GroupConfig("g", members=["b"], swap=False)],
        priorities={"b": -5},
        collation=CollationConfig(load_factor=3.0),
        performance=PerformanceConfig(disabled=True),
        store=StoreConfig("x.db"),
        session_ids=[],
        macros={"yes": True, "no": "off", "n": 1.5},
        preload=["hot"],
        route_unknown_paths=False,
        start_port=9000,
    )


def test_everything_comes_back() -> None:
    config = everything()
    text = dumps(config)
    again = loads(text, env={})
    assert again.config == config
    assert dumps(again.config) == text


def test_defaults_are_not_written() -> None:
    assert dumps(Config()) == "{}\n"
    assert dumps(Config([ModelConfig("a", cmd="x ${PORT}")])) == "models:\n  a:\n    cmd: x ${PORT}\n"


def test_a_matrix_keeps_the_order_of_its_sets() -> None:
    matrix = MatrixConfig({"z": "a & b", "y": "a"}, vars={"v": "b"}, evict_costs={"v": 2.5})
    config = Config([ModelConfig(name, cmd="${PORT}") for name in "ab"], matrix=matrix)
    again = loads(dumps(config), env={}).config
    assert again == config
    assert list(again.matrix.sets if again.matrix else ()) == ["z", "y"]


def test_groups_stand_below_a_router_that_is_written() -> None:
    models = [ModelConfig(name, cmd="${PORT}") for name in "ab"]
    config = Config(models, router="group", groups=[GroupConfig("g", members=["a"])])
    assert loads(dumps(config), env={}).config == config
    config = Config(models, router="matrix", matrix=MatrixConfig({"s": "a & b"}))
    assert loads(dumps(config), env={}).config == config


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "yes",
        "null",
        "~",
        "1e3",
        "0o7",
        "0b1",
        "1_0",
        ".inf",
        "<<",
        "- a",
        "a: b",
        "# c",
        "|",
        " x ",
        "a\n b\n",
        "é\t",
        "=",
        "!x",
    ]
)
FREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(
    id_=TEXTS,
    cmd=TEXTS,
    metadata=st.dictionaries(TEXTS, FREE, max_size=3),
    other=st.fixed_dictionaries(
        {},
        optional={
            "name": TEXTS,
            "aliases": st.lists(TEXTS, max_size=3),
            "env": st.lists(TEXTS.map("A={}".format), max_size=2),
            "patience": st.floats(min_value=0),
            "ttl": st.integers(-1, 10**9),
            "unlisted": st.booleans(),
        },
    ),
)
@example(id_="a", cmd="x", metadata={"": "\x85"}, other={})
@settings(deadline=None)
def test_whatever_the_texts(id_: str, cmd: str, metadata: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "UNSUPPORTED", {})
        try:
            config = Config([ModelConfig(id_, cmd=cmd + " ${PORT}", metadata=metadata, **other)])
        except ConfigError:
            return
        assert loads(dumps(config), env={}).config == config
