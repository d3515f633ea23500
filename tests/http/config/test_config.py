"""Tests of a configuration made in Python, and of what a configuration comes to."""

import math
import re
from typing import Any

import attrs
import pytest

from swapcore import Model, SwapcoreError
from swapcore_http.config import (
    CollationConfig,
    Config,
    ConfigError,
    GroupConfig,
    MatrixConfig,
    ModelConfig,
    keys,
    loads,
)
from swapcore_http.config.schema import Settings
from swapcore_http.config.setting import settings_of
from tests.http.config.records import records

A = ModelConfig("a", cmd="serve --port ${PORT} '${MODEL_ID} x'", aliases=["b", "c"])


def test_models_may_be_a_list_or_a_mapping() -> None:
    assert Config([A]) == Config(models=(A,)) == Config(models={"a": A})
    assert not Config().models


def test_it_cannot_be_changed() -> None:
    config = Config([A])
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.start_port = 5  # type: ignore[misc] # This is what is tested.
    with pytest.raises(TypeError):
        config.models["b"] = A  # type: ignore[index] # Likewise.


def test_it_equals_what_the_same_yaml_says() -> None:
    yaml = """
        globalTTL: 5
        hooks: {on_startup: {preload: [c, a]}}
        models:
          a: {cmd: "serve --port ${PORT} '${MODEL_ID} x'", aliases: [b, c]}
    """
    assert loads(yaml).config == Config([A], global_ttl=5, preload=["c", "a"])


def test_names_are_resolved() -> None:
    config = Config([A, ModelConfig("c", cmd="${PORT}")], preload=["b", "c", "a"])
    assert {name: config.resolve(name) for name in ("a", "b", "c", "d", "")} == {
        "a": "a", "b": "a", "c": "c", "d": None, "": None,
    }  # fmt: skip
    assert config.preload == ("a", "c")


def test_argv() -> None:
    assert A.argv(7) == ["serve", "--port", "7", "a x"]
    only = Config([A]).models["a"]
    assert only.argv(7) == ["serve", "--port", "7", "a x"]
    assert only.argv(None) == only.argv() == ["serve", "--port", "5800", "a x"]
    with pytest.raises(ValueError, match=re.escape("a: there is no port for ${PORT}")):
        A.argv(None)


def test_ports_are_expanded_before_the_command_is_split() -> None:
    assert ModelConfig("a", cmd="x -p${PORT} '${PORT}' \\${PORT}").argv(1) == ["x", "-p1", "1", "1"]


def test_stop_argv() -> None:
    assert A.stop_argv(7, 99) == []
    assert ModelConfig("a", cmd_stop="kill -9 ${PID} # ${PORT} ${PID}").stop_argv(7, 99) == [
        "kill", "-9", "99", "#", "7", "99",
    ]  # fmt: skip


def test_url() -> None:
    assert A.url(7) == "http://localhost:7"
    assert Config([A]).models["a"].url() == "http://localhost:5800"
    assert ModelConfig("a", proxy=" http://h:80/b// ").url(None) == "http://h:80/b"


def test_environment() -> None:
    model = ModelConfig("a", env=["A=1", "B=x=${PORT}", "A=2", "C="])
    parent = {"A": "0", "HOME": "/h"}
    assert model.environment(parent, 7) == {"A": "2", "HOME": "/h", "B": "x=7", "C": ""}
    assert parent == {"A": "0", "HOME": "/h"}
    assert Config([ModelConfig("a", cmd="${PORT}", env=["P=${PORT}"])]).models["a"].environment({}) == {
        "P": "5800"
    }


def test_a_port_that_was_chosen_is_kept_and_not_counted_again() -> None:
    models = [
        ModelConfig(name, cmd="${PORT}", port=port) for name, port in [("a", None), ("b", 5800), ("c", None)]
    ]
    config = Config(models)
    assert [each.port for each in config.models.values()] == [5801, 5800, 5802]


def numbered(*names: str, start: int = 5800) -> Config:
    models = [ModelConfig(name, cmd="serve ${PORT}", check_endpoint="/${PORT}") for name in names]
    return Config(
        [*models, ModelConfig("fixed", cmd="serve", proxy="http://localhost:9000")], start_port=start
    )


def ports(config: Config) -> dict[str, int | None]:
    return {model.id: model.port for model in config.models.values() if model.id != "fixed"}


def test_a_run_keeps_its_port_and_the_numbering_skips_it() -> None:
    config = numbered("a", "b", "c", "d")
    assert ports(config) == {"a": 5800, "b": 5801, "c": 5802, "d": 5803}
    beside = config.beside({"c": 5800, "gone": 5802}, {5800, 5802, 5803, 9000})
    assert ports(beside) == {"a": 5801, "b": 5804, "c": 5800, "d": 5805}
    assert beside.models["c"].check_endpoint == "/5800"
    assert beside.catalog() == config.catalog(), "no model is another one because of its port"
    assert ports(config) == {"a": 5800, "b": 5801, "c": 5802, "d": 5803}, "it is a new one"


def test_where_no_number_is_left_over_the_runs_find_their_ports() -> None:
    config = numbered("a", "b", start=65534)
    assert ports(config.beside({}, {65534})) == {"a": 65534, "b": 65535}


def test_effective_limits() -> None:
    config = Config(
        [
            ModelConfig("plain", cmd="${PORT}"),
            ModelConfig(
                "own",
                cmd="${PORT}",
                ttl=3,
                unload_timeout=4,
                health_check_timeout=5,
                concurrency_limit=6,
                patience=7.5,
                max_queue=8,
                pinned=True,
            ),
            ModelConfig("never", cmd="${PORT}", ttl=0, concurrency_limit=-1),
        ],
        global_ttl=30,
        unload_timeout=40,
        health_check_timeout=50,
    )
    assert [config.ttl(name) for name in config.models] == [30, 3, 0]
    assert [config.stop_timeout(name) for name in config.models] == [40, 4, 40]
    models = [attrs.evolve(model, revision="") for model in config.catalog()]
    assert models == [
        Model("plain", concurrency_limit=10, start_timeout=50, ttl=30, unload_timeout=40),
        Model(
            "own",
            concurrency_limit=6,
            start_timeout=5,
            ttl=3,
            unload_timeout=4,
            patience=7.5,
            max_queue=8,
            pinned=True,
        ),
        Model("never", concurrency_limit=10, start_timeout=50, ttl=None, unload_timeout=40),
    ]


def test_an_unload_timeout_of_nothing_is_the_default() -> None:
    assert Config([A], unload_timeout=0).stop_timeout("a") == 10


def test_the_same_rules_hold_and_say_everything_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config(
            [ModelConfig("a", cmd="x", ttl=-2), ModelConfig("b", cmd="${PORT} ${X}", aliases=["z", "z"])],
            start_port=0,
            log_level="INFO",
            preload=["nobody"],
        )
    assert isinstance(caught.value, SwapcoreError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).split("\n") == [
        "startPort: 0 is too small; expected a port from 1 to 65535",
        "logLevel: 'INFO' is no log level (did you mean info?); expected debug, info, warn, error",
        "models.a.ttl: -2 is too small; expected seconds, 0 for never, or -1 for globalTTL",
        (
            "models.a.cmd: has no ${PORT}, which proxy needs, as it is 'http://localhost:${PORT}' "
            "unless it is written; expected ${PORT} in it, or a proxy with a fixed port"
        ),
        (
            "models.b.cmd: unknown macro ${X}; expected a name under macros, "
            "${PORT}, ${MODEL_ID} or, in cmdStop and afterStop, ${PID}"
        ),
        "models.b.aliases[1]: duplicate alias 'z'; it belongs to b already",
        "hooks.on_startup.preload[0]: no model is called 'nobody'; expected the name of a model",
    ]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([A, A], "models.a: two models have this id"),
        ({"b": A}, "models.b: holds the model 'a'; expected the same id in both places"),
        ([ModelConfig("a", cmd="${PORT}", port=0)], "models.a.port: 0 is no port; expected 1 to 65535"),
        (
            [ModelConfig("a", cmd="${PORT}", port=65536)],
            "models.a.port: 65536 is no port; expected 1 to 65535",
        ),
    ],
)
def test_refused_models(models: list[ModelConfig], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(models)
    assert str(caught.value) == message


def test_a_text_is_not_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match="expected a list of texts, got the text 'abc'"):
        ModelConfig("a", aliases="abc")
    with pytest.raises(TypeError, match="expected a list of texts"):
        Config([A], preload="a")


def test_what_nothing_honours_is_said_wherever_a_configuration_is_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        keys,
        "UNSUPPORTED",
        {Settings: {"api_keys": "who may ask", "capture_buffer": ""}, ModelConfig: {"ttl": ""}},
    )
    what = (
        "not supported yet, and to ignore it would change who may ask; "
        "expected no such key until a later release"
    )
    with pytest.raises(ConfigError) as caught:
        Config([A], api_keys=["k"], capture_buffer=9)
    assert str(caught.value) == f"apiKeys: {what}"
    with pytest.raises(ConfigError) as caught:
        loads("apiKeys: [k]", "c")
    assert str(caught.value).split("\n")[0] == f"c:1:1: apiKeys: {what}"
    loaded = loads("apiKeys: []\ncaptureBuffer: 9\nmodels: {a: {cmd: '${PORT}', ttl: 50}}", "c")
    assert [str(each).split("\n")[0] for each in loaded.warnings] == [
        "c:2:1: warning: captureBuffer: has no effect here",
        "c:3:30: warning: models.a.ttl: has no effect here",
    ]


def revision(**changes: Any) -> str:
    """Return the revision of a model with these settings, beside one that takes the first port."""
    settings: dict[str, Any] = {
        "cmd": "x ${PORT}",
        "cmd_stop": "y ${PORT}",
        "env": ["A=1"],
        "proxy": "http://h:${PORT}",
        "check_endpoint": "http://h:${PORT}/z",
    }
    model = ModelConfig("m", **{**settings, **changes})
    config = Config([ModelConfig("a", cmd="${PORT}"), model])
    return config.catalog().by_id["m"].revision


@pytest.mark.parametrize(
    "change",
    [
        {"cmd": "x -v ${PORT}"},
        {"cmd_stop": ""},
        {"env": ["A=2"]},
        {"env": []},
        {"proxy": "http://g:${PORT}"},
        {"check_endpoint": "none"},
    ],
)
def test_what_makes_another_process_makes_another_revision(change: dict[str, Any]) -> None:
    assert revision(**change) != revision()


def test_what_makes_no_other_process_leaves_the_revision() -> None:
    assert revision() == revision(ttl=5, patience=3, aliases=["n"], cmd="# a comment\nx ${PORT}")
    alone = ModelConfig("m", cmd="x ${PORT}", check_endpoint="http://h:${PORT}/z")
    beside = Config([ModelConfig("a", cmd="${PORT}"), alone])
    assert beside.models["m"].port != Config([alone]).models["m"].port
    assert beside.catalog().by_id["m"] == Config([alone]).catalog().by_id["m"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": math.nan}, "patience: nan is too small; expected seconds, 0 or more, or .inf"),
        (
            {"collation": CollationConfig(quantum=math.nan)},
            (
                "routing.scheduler.settings.collation.quantum: nan is too small; "
                "expected a number from 0 to 1000"
            ),
        ),
        ({"groups": [GroupConfig("g"), GroupConfig("g")]}, "groups.g: two groups have this name"),
        (
            {"groups": {"h": GroupConfig("g")}},
            "groups.h: holds the group 'g'; expected the same name in both places",
        ),
        (
            {"groups": [GroupConfig("g")], "matrix": MatrixConfig({"s": "a"})},
            (
                "matrix: stands beside groups, and only one of the two can say which models live together; "
                "expected one of them"
            ),
        ),
        ({"router": "matrix"}, "routing.router.use: there is no matrix; expected one with sets"),
    ],
)
def test_refused_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config([A], **settings)
    assert str(caught.value) == message


@pytest.mark.parametrize("cls", records())
def test_every_setting_says_how_it_is_written(cls: type[attrs.AttrsInstance]) -> None:
    settings = settings_of(cls)
    # The first field may be what a record is called.
    assert set(list(attrs.fields_dict(cls))[1:]) - set(settings) <= {"port"}
    keys = [setting.key for setting in settings.values()]
    assert len(keys) == len(set(keys))
    assert all(setting.expected for setting in settings.values())


def test_comfyui_is_asked_for_much_at_once_and_its_websocket_does_not_count() -> None:
    config = Config(
        models=[
            ModelConfig("comfyui_auto", proxy="http://x"),
            ModelConfig("other", proxy="http://x", concurrency_limit=3),
        ]
    )
    assert (config.models["comfyui_auto"].concurrency_limit, config.models["other"].concurrency_limit) == (
        50,
        3,
    )
    assert config.models["comfyui_auto"].ignore_websockets
    assert not config.models["other"].ignore_websockets
    busy = Config(models=[ModelConfig("comfyui_auto", proxy="http://x", concurrency_limit=60)])
    assert busy.models["comfyui_auto"].concurrency_limit == 60
