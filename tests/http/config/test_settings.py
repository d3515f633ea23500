"""Tests of each setting in YAML: what it may be, what it may not, and where that is said."""

from math import inf
from pathlib import Path

import pytest
from attrs import evolve

from swapcore_http.config import CollationConfig, Config, ConfigError, Loaded, ModelConfig, Severity, loads

pytestmark = pytest.mark.usefixtures("parser", "all_supported", "no_doubts")

CMD = "cmd: 'x ${PORT}'"


def model(settings: str, name: str = "a") -> ModelConfig:
    """Load one model with these settings in flow style, and nothing odd about it."""
    loaded = loads(f"models: {{{name}: {{{settings}}}}}")
    assert loaded.warnings == ()
    return next(iter(loaded.config.models.values()))


PLAIN = ModelConfig("a", cmd="x ${PORT}", port=5800)

VALID: list[tuple[str, ModelConfig]] = [
    (CMD, PLAIN),
    (
        "cmd: '${PORT}', proxy: ~, aliases: ~, env: ~, ttl: ~, name: , unlisted: null",
        evolve(PLAIN, cmd="${PORT}"),
    ),
    (f"{CMD}, cmdStop: 'kill ${{PID}}'", evolve(PLAIN, cmd_stop="kill ${PID}")),
    (f"{CMD}, proxy: 'https://h:${{PORT}}/b/'", evolve(PLAIN, proxy="https://h:${PORT}/b/")),
    (f"{CMD}, proxy: 'http://[::1]:80'", evolve(PLAIN, proxy="http://[::1]:80")),
    ("cmd: x, proxy: 'http://h'", ModelConfig("a", cmd="x", proxy="http://h")),
    (f"{CMD}, checkEndpoint: ' none '", evolve(PLAIN, check_endpoint="none")),
    (f"{CMD}, checkEndpoint: ''", evolve(PLAIN, check_endpoint="")),
    (f"{CMD}, checkEndpoint: '/v1/x?y=%20'", evolve(PLAIN, check_endpoint="/v1/x?y=%20")),
    (f"{CMD}, checkEndpoint: 'http://h:${{PORT}}/x'", evolve(PLAIN, check_endpoint="http://h:5800/x")),
    (f"{CMD}, ttl: -1", PLAIN),
    (f"{CMD}, ttl: 0", evolve(PLAIN, ttl=0)),
    (f"{CMD}, ttl: 20.0", evolve(PLAIN, ttl=20)),
    (f"{CMD}, ttl: 010", evolve(PLAIN, ttl=8)),
    (f"{CMD}, ttl: 1_000", evolve(PLAIN, ttl=1000)),
    (f"{CMD}, ttl: 1e3", evolve(PLAIN, ttl=1000)),
    (f"{CMD}, unloadTimeout: 3", evolve(PLAIN, unload_timeout=3)),
    (f"{CMD}, healthCheckTimeout: 1", evolve(PLAIN, health_check_timeout=1)),
    (f"{CMD}, aliases: [b, 3.10, ~, true, 0x10]", evolve(PLAIN, aliases=("b", "3.10", "true", "0x10"))),
    (f"{CMD}, env: ['A=1=2', 'B=', 'P=${{PORT}}']", evolve(PLAIN, env=("A=1=2", "B=", "P=${PORT}"))),
    (f"{CMD}, useModelName: 1.10", evolve(PLAIN, use_model_name="1.10")),
    (f"{CMD}, concurrencyLimit: -3", evolve(PLAIN, concurrency_limit=-3)),
    (f"{CMD}, maxQueue: 0, pinned: yes", evolve(PLAIN, max_queue=0, pinned=True)),
    (f"{CMD}, patience: 2.5", evolve(PLAIN, patience=2.5)),
    (f"{CMD}, patience: 0", evolve(PLAIN, patience=0.0)),
    (f"{CMD}, patience: .inf", evolve(PLAIN, patience=inf)),
    (f"{CMD}, name: 5, description: 'on ${{PORT}}'", evolve(PLAIN, name="5", description="on 5800")),
    (f"{CMD}, unlisted: yes", evolve(PLAIN, unlisted=True)),
    (f"{CMD}, unlisted: off", PLAIN),
    (f"{CMD}, filters: {{}}, macros: , metadata: , compat: {{}}, timeouts: ", PLAIN),
    (
        """
            cmd: 'a ${MODEL_ID} ${PORT}',
            cmdStop: 's ${MODEL_ID}',
            proxy: 'http://h/${MODEL_ID}',
            name: '${MODEL_ID}',
            checkEndpoint: '/${MODEL_ID}',
            aliases: ['${MODEL_ID}2'],
            env: ['M=${MODEL_ID}'],
            description: '${no.pe}'
        """,
        ModelConfig(
            "a",
            cmd="a a ${PORT}",
            cmd_stop="s a",
            proxy="http://h/a",
            name="a",
            check_endpoint="/a",
            aliases=("a2",),
            env=("M=a",),
            description="${no.pe}",
            port=5800,
        ),
    ),
]


@pytest.mark.parametrize(("settings", "expected"), VALID)
def test_valid_models(settings: str, expected: ModelConfig) -> None:
    assert model(settings) == expected


def test_defaults() -> None:
    config = loads(f"models: {{a: {{{CMD}}}}}").config
    assert config == Config(
        models={"a": PLAIN},
        health_check_timeout=120,
        start_port=5800,
        global_ttl=0,
        unload_timeout=10,
        shutdown_timeout=30,
        reload_drain_timeout=None,
        log_level="info",
        preload=(),
        patience=60.0,
        max_queue=100_000,
        caller_headers=False,
        router="",
        groups={},
        matrix=None,
        scheduler="",
        priorities={},
        collation=CollationConfig(load_factor=2.0, quantum=1.0, choice="oldest"),
    )


def test_top_level() -> None:
    loaded = loads("""
        healthCheckTimeout: 5
        startPort: 65535
        globalTTL: 7
        unloadTimeout: 0
        shutdownTimeout: 0
        reloadDrainTimeout: 9
        logLevel: " WARN "
        hooks: {on_startup: {preload: [" o ", a, "", ~, a]}}
        models: {a: {cmd: "x ${PORT}", aliases: [o]}}
        patience: 1_0
        maxQueue: 7
        callerHeaders: on
        apiKeys: []
        groups: {}
        routing: {router: {settings: ~}}
        macros:
        peers: ~
        ui:
    """)
    assert loaded == Loaded(
        Config(
            models=[ModelConfig("a", cmd="x ${PORT}", aliases=("o",), port=65535)],
            health_check_timeout=5,
            start_port=65535,
            global_ttl=7,
            unload_timeout=0,
            shutdown_timeout=0,
            reload_drain_timeout=9,
            log_level="warn",
            preload=("a",),
            patience=10.0,
            max_queue=7,
            caller_headers=True,
        ),
        (),
    )
    assert loaded.config.preload == ("a",)


def test_keys_for_anchors_are_nobody_elses() -> None:
    loaded = loads(f"x-common: &common {{{CMD}}}\nmodels: {{a: *common}}")
    assert loaded.warnings == ()
    assert loaded.config.models["a"] == PLAIN


MULTILINE = """
models:
  a/b:
    cmd: |
      # A comment with ${PORT} and ${NONSENSE}.
      serve --port 80 \\
        # another
        --name '${MODEL_ID} # no comment'
    proxy: http://localhost:80
    cmdStop: |
      # with ${NONSENSE}
      stop
"""


def test_comments_are_gone_before_macros_are_read() -> None:
    config = loads(MULTILINE).config
    only = config.models["a/b"]
    assert only.cmd == "serve --port 80 \\\n  --name 'a/b # no comment'\n"
    assert only.port is None
    assert only.argv(None) == ["serve", "--port", "80", "--name", "a/b # no comment"]
    assert only.stop_argv(None, 1) == ["stop"]


def test_ports_are_counted_in_byte_order_of_ids() -> None:
    config = loads("""
        startPort: 9000
        models:
          b: {cmd: "x ${PORT}"}
          é: {cmd: "x ${PORT}"}
          a/c: {cmd: "x ${PORT} ${PORT}"}
          fixed: {cmd: x, proxy: "http://localhost:80"}
          B: {cmd: "x ${PORT}"}
          z: {cmd: "x ${PORT}"}
    """).config
    assert {name: each.port for name, each in config.models.items()} == {
        "b": 9002, "é": 9004, "a/c": 9001, "fixed": None, "B": 9000, "z": 9003,
    }  # fmt: skip
    assert list(config.models) == ["b", "é", "a/c", "fixed", "B", "z"]


MARK = "»"


def cases(name: str) -> list[tuple[str, int, int, str]]:
    """Read a table: sources, the mark's line and column in each, and the one message expected there."""
    text = (Path(__file__).parent / "cases" / f"{name}.txt").read_text(encoding="utf-8")
    result = []
    for case in text.split("\n\n")[1:]:
        source, message = case.rstrip().rsplit("\n    ", 1)
        before = source[: source.index(MARK)].split("\n")
        result.append((source.replace(MARK, ""), len(before), len(before[-1]) + 1, message))
    assert len(result) == text.count(MARK) > 5
    return result


@pytest.mark.parametrize(("text", "line", "column", "message"), cases("wrong_models") + cases("wrong"))
def test_wrong(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text, "c", env={})
    assert [str(problem).split("\n")[0] for problem in caught.value.problems] == [
        f"c:{line}:{column}: {message}"
    ]


THREE = f"models: {{a: {{{CMD}, aliases: [alias]}}, b: {{{CMD}}}, c: {{{CMD}}}}}\n"


@pytest.mark.parametrize(("text", "line", "column", "message"), cases("wrong_surface"))
def test_wrong_surface(text: str, line: int, column: int, message: str) -> None:
    before = "" if text.startswith("models:") else THREE
    with pytest.raises(ConfigError) as caught:
        loads(before + text, "c", env={})
    assert [str(problem).split("\n")[0] for problem in caught.value.problems] == [
        f"c:{line + bool(before)}:{column}: {message}"
    ]


@pytest.mark.parametrize(("text", "line", "column", "message"), cases("wrong_routing"))
def test_wrong_routing(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(THREE + text, "c", env={})
    assert [str(problem).split("\n")[0] for problem in caught.value.problems] == [
        f"c:{line + 1}:{column}: {message}"
    ]


@pytest.mark.parametrize(("text", "line", "column", "message"), cases("odd_routing"))
def test_odd_routing(text: str, line: int, column: int, message: str) -> None:
    loaded = loads(THREE + text, "c", env={})
    assert [str(each).split("\n")[0] for each in loaded.warnings] == [f"c:{line + 1}:{column}: {message}"]


@pytest.mark.parametrize(("text", "line", "column", "message"), cases("odd_models"))
def test_odd_models(text: str, line: int, column: int, message: str) -> None:
    loaded = loads(text, "c", env={})
    assert [str(each).split("\n")[0] for each in loaded.warnings] == [f"c:{line}:{column}: {message}"]
    assert list(loaded.config.models) == ["a"]


@pytest.mark.parametrize(("text", "line", "column", "message"), cases("odd"))
def test_odd(text: str, line: int, column: int, message: str) -> None:
    loaded = loads(f"models: {{a: {{{CMD}, aliases: [alias]}}}}\n{text}", "c")
    assert [str(each).split("\n")[0] for each in loaded.warnings] == [f"c:{line + 1}:{column}: {message}"]
    assert loaded.config.resolve("alias") == "a"


EVERYTHING = """\
models:
  a:
    cmd: serve ${PORT}
    ttl: soon
    env: [A=1, B]
    aliases: [x]
  b:
    cmd: {}
    tll: 5
    aliases: [x]
  c: ~
startPort: 0
globalTTL: [1]
hooks: {on_startup: {preload: [c]}}
"""


def test_everything_that_is_wrong_is_said_at_once_and_in_order() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(EVERYTHING, "dir/c.yaml")
    assert str(caught.value) == (
        "dir/c.yaml:4:10: models.a.ttl: 'soon' is not a whole number; "
        "expected seconds, 0 for never, or -1 for globalTTL\n"
        "  4 |     ttl: soon\n"
        "    |          ^\n"
        "dir/c.yaml:5:16: models.a.env[1]: has no equals sign; expected NAME=value\n"
        "  5 |     env: ********\n"
        "    |                ^\n"
        "dir/c.yaml:8:10: models.b.cmd: a mapping is not a text; expected a command line\n"
        "  8 |     cmd: {}\n"
        "    |          ^\n"
        "dir/c.yaml:9:5: warning: models.b.tll: unknown key, ignored; did you mean ttl?\n"
        "  9 |     tll: 5\n"
        "    |     ^\n"
        "dir/c.yaml:10:15: models.b.aliases[0]: duplicate alias 'x'; it belongs to a already\n"
        "  10 |     aliases: [x]\n"
        "     |               ^\n"
        "dir/c.yaml:11:6: models.c: null is not a mapping; expected the model's settings, at least cmd\n"
        "  11 |   c: ~\n"
        "     |      ^\n"
        "dir/c.yaml:12:12: startPort: 0 is too small; expected a port from 1 to 65535\n"
        "  12 | startPort: 0\n"
        "     |            ^\n"
        "dir/c.yaml:13:12: globalTTL: a list is not a whole number; expected seconds, 0 for never\n"
        "  13 | globalTTL: [1]\n"
        "     |            ^\n"
        "dir/c.yaml:14:32: warning: hooks.on_startup.preload[0]: no model is called 'c', ignored\n"
        "  14 | hooks: {on_startup: {preload: [c]}}\n"
        "     |                                ^"
    )
    first = caught.value.problems[0]
    assert (first.severity, first.file, first.line, first.column) == (Severity.ERROR, "dir/c.yaml", 4, 10)
    assert (first.path, first.source) == ("models.a.ttl", "    ttl: soon")


def test_what_is_wrong_in_a_list_does_not_move_the_rest() -> None:
    text = f"models: {{a: {{{CMD}, aliases: [[x], b, ~, {{}}, c, b]}}}}"
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert [(each.path, text[each.column - 1 :][:2]) for each in caught.value.problems] == [
        ("models.a.aliases[0]", "[x"),
        ("models.a.aliases[3]", "{}"),
        ("models.a.aliases[5]", "b]"),
    ]
