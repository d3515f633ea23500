"""Tests of a configuration made in Python, and of what a configuration comes to."""

import re

import attrs
import pytest

from swapcore import Catalog, Model, SwapcoreError
from swapcore_http.config import Config, ConfigError, ModelConfig, loads
from swapcore_http.config.schema import Settings, settings_of

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
            ),
            ModelConfig("never", cmd="${PORT}", ttl=0, concurrency_limit=-1),
        ],
        global_ttl=30,
        unload_timeout=40,
        health_check_timeout=50,
    )
    assert [config.ttl(name) for name in config.models] == [30, 3, 0]
    assert [config.stop_timeout(name) for name in config.models] == [40, 4, 40]
    assert config.catalog() == Catalog(
        [
            Model("plain", concurrency_limit=10, start_timeout=50, ttl=30, unload_timeout=40),
            Model("own", concurrency_limit=6, start_timeout=5, ttl=3, unload_timeout=4),
            Model("never", concurrency_limit=10, start_timeout=50, ttl=None, unload_timeout=40),
        ]
    )


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
            "models.a.proxy: 'http://localhost:${PORT}' needs ${PORT}, but cmd does not have it; "
            "expected ${PORT} in cmd too, or a proxy with a fixed port"
        ),
        (
            "models.b.cmd: unknown macro ${X}; expected ${PORT}, ${MODEL_ID} or, in cmdStop, ${PID}: "
            "macros of one's own and environment macros come in a later release"
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


@pytest.mark.parametrize("cls", [Settings, ModelConfig])
def test_every_setting_says_how_it_is_written(cls: type[attrs.AttrsInstance]) -> None:
    settings = settings_of(cls)
    assert set(attrs.fields_dict(cls)) - set(settings) <= {"models", "id", "port"}
    keys = [setting.key for setting in settings.values()]
    assert len(keys) == len(set(keys))
    assert all(setting.expected for setting in settings.values())
