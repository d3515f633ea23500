"""Whatever the text, it is a configuration or an error that says where: never another exception."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swapcore import Engine
from swapcore_http.config import ConfigError, Loaded, Severity, loads, source
from swapcore_http.config.schema import ModelConfig, Settings
from swapcore_http.config.setting import settings_of

KEYS = [setting.key.split(".")[0] for cls in (Settings, ModelConfig) for setting in settings_of(cls).values()]

PIECES = [
    *" \t\n:-?[]{},&*!|>'\"%@`#~<.\\$\x85\u2028\ufeff\0\x07\ud800",
    *(": ", "- ", "? ", "\n  ", "\n    ", "\n- ", "---", "...", "&a ", "*a", "<<: "),
    *("!!str ", "!!int ", "!x!y ", "models: ", "on_startup: ", "preload: "),
    *("%YAML 1.1\n", "%TAG ! x\n", "\\x", "\\ud800", "\\UFFFFFFFF", "\\0", "|2-\n", ">+\n"),
    *("${PORT}", "${MODEL_ID}", "${PID}", "${env.X}", "${X}", "A=1", "http://h:80", "http://[", "none"),
    *("a", "é", "😀", "1", "-1", "0.5", "1e999", ".nan", "0x", "yes", "null"),
]  # fmt: skip

SOUP = st.lists(st.sampled_from(PIECES) | st.sampled_from(KEYS).map("{}: ".format), max_size=30).map("".join)

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(PIECES[-20:])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=20,
)
MODELS = st.dictionaries(
    st.sampled_from(["a", "b", "", "c.d/e"]),
    st.fixed_dictionaries({}, optional={key.key: TREES for key in settings_of(ModelConfig).values()}),
    max_size=3,
)
NAMES = st.sampled_from(["a", "b", "c.d/e", "g", "x_y", "(default)", ""])
EXPRESSIONS = st.lists(st.sampled_from([*"ab g&|()+é/", "x_y", " & ", " | ", "+g", "+b"]), max_size=8)
GROUPS = st.dictionaries(
    NAMES,
    st.none()
    | st.fixed_dictionaries({}, optional={"members": st.lists(NAMES, max_size=3) | TREES, "swap": TREES}),
    max_size=3,
)
MATRIX = st.fixed_dictionaries(
    {"sets": st.dictionaries(NAMES, EXPRESSIONS.map("".join) | NAMES | TREES, max_size=3)},
    optional={
        "vars": st.dictionaries(NAMES, NAMES, max_size=2) | TREES,
        "evict_costs": st.dictionaries(NAMES, LEAVES, max_size=2) | TREES,
    },
)
ROUTING = st.fixed_dictionaries(
    {},
    optional={
        "router": st.fixed_dictionaries(
            {},
            optional={
                "use": st.sampled_from(["group", "matrix", ""]) | LEAVES,
                "settings": st.fixed_dictionaries({}, optional={"groups": GROUPS, "matrix": MATRIX}),
            },
        ),
        "scheduler": TREES
        | st.fixed_dictionaries(
            {
                "settings": st.fixed_dictionaries(
                    {},
                    optional={
                        "fifo": st.fixed_dictionaries(
                            {"priority": st.dictionaries(NAMES, st.integers() | LEAVES, max_size=2)}
                        ),
                        "collation": st.dictionaries(
                            st.sampled_from(["quantum", "loadFactor", "choice"]), LEAVES, max_size=3
                        ),
                    },
                )
            }
        ),
    },
)
SOUND = st.fixed_dictionaries(
    {
        name: st.just({"cmd": "x ${PORT}", "aliases": [alias]})
        for name, alias in [("a", "x_y"), ("c.d/e", "g")]
    },
    optional={"b": st.just({"cmd": "x ${PORT}"})},
)
TOP = {key.key.split(".")[0]: TREES for key in settings_of(Settings).values() if key.key != "models"}
CONFIGS = st.fixed_dictionaries({"models": MODELS | TREES}, optional=TOP) | st.fixed_dictionaries(
    {"models": SOUND}, optional={"groups": GROUPS, "matrix": MATRIX, "routing": ROUTING}
)


def flow(tree: object) -> str:
    """Write a tree as YAML in flow style."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(flow, tree)) + "]"
    if isinstance(tree, str):
        return '"' + "".join(f"\\U{ord(char):08X}" for char in tree) + '"'
    return "~" if tree is None else str(tree).replace("inf", ".inf").replace("nan", ".nan").lower()


def outcome(text: str | bytes) -> Loaded | ConfigError:
    try:
        loaded = loads(text, "c")
    except ConfigError as error:
        result = error
    else:
        # Whatever passes the rules is good enough for the core.
        config = loaded.config
        Engine(config.catalog(), config.planner(), policy=config.policy(), max_queue=config.max_queue)
        return loaded
    errors = [problem for problem in result.problems if problem.severity is Severity.ERROR]
    assert errors
    assert all(problem.line >= 1 and problem.column >= 1 for problem in errors)
    places = [(problem.line, problem.column) for problem in result.problems]
    assert places == sorted(places)
    assert str(result).startswith("c:")
    return result


@given(st.text() | st.binary() | SOUP)
@example("\\")
@example('"\\UFFFFFFFF"')
@example('a: "\\U00110000"')
@example("%YAML 1.99999999999999999999999\n---\na")
@settings(max_examples=400, deadline=None)
def test_any_text(text: str | bytes) -> None:
    outcome(text)


@given(st.text() | SOUP)
@example('"\\UFFFFFFFF"')
@example("%YAML 9999999999999999999999999\n---\na")
@settings(max_examples=400, deadline=None)
def test_any_text_with_the_pure_parser(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "CParser", None)
        outcome(text)


@given(CONFIGS.map(flow))
@settings(max_examples=300, deadline=None)
def test_any_tree_is_the_same_to_both_parsers(text: str) -> None:
    fast = outcome(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "CParser", None)
        pure = outcome(text)
    if isinstance(fast, ConfigError):
        assert isinstance(pure, ConfigError)
        assert pure.problems == fast.problems
    else:
        assert pure == fast
