"""Tests of which planner, policy and priorities a configuration comes to."""

import math

import attrs
import pytest

from swapcore import Policy, one_at_a_time
from swapcore.planning import Group, Groups, Matrix
from swapcore_http.config import (
    CollationConfig,
    Config,
    ConfigError,
    GroupConfig,
    MatrixConfig,
    ModelConfig,
    loads,
)


def simple(*names: str, **aliases: list[str]) -> list[ModelConfig]:
    return [ModelConfig(name, cmd="${PORT}", aliases=aliases.get(name, ())) for name in names]


def test_without_groups_one_model_runs_at_a_time() -> None:
    planner = Config(simple("a", "b", "c")).planner()
    assert isinstance(planner, Groups)
    loss = {"a": 1.0, "b": 2.0}
    assert planner("c", ("a", "b"), loss) == one_at_a_time("c", ("a", "b"), loss)
    assert planner("a", ("a", "b"), loss) == one_at_a_time("a", ("a", "b"), loss)


def test_groups_in_python_and_in_both_spellings() -> None:
    config = Config(
        simple("a", "b", "c", b=["bee"]),
        groups=[GroupConfig("g", members=["a", "bee"], swap=False, exclusive=False), GroupConfig("h")],
    )
    assert config.planner() == Groups(
        [Group("g", ["a", "b"], swap=False, exclusive=False), Group("h", [])], ["a", "b", "c"]
    )
    models = "models: {a: {cmd: '${PORT}'}, b: {cmd: '${PORT}', aliases: [bee]}, c: {cmd: '${PORT}'}}\n"
    groups = "{g: {members: [~, a, bee], swap: no, exclusive: false}, h: ~}"
    assert loads(f"{models}groups: {groups}").config == config
    newer = loads(f"{models}routing: {{router: {{settings: {{groups: {groups}}}}}}}").config
    assert newer == config
    # Nothing, written in the other way, is no contradiction.
    newer = loads(f"{models}groups: {{}}\nrouting: {{router: {{settings: {{groups: {groups}}}}}}}").config
    assert newer == config
    chosen = loads(f"{models}routing: {{router: {{use: group, settings: {{groups: {groups}}}}}}}").config
    assert chosen == attrs.evolve(config, router="group")
    assert chosen.planner() == config.planner()


def test_a_matrix_in_python_and_in_both_spellings() -> None:
    matrix = MatrixConfig(
        {"z": "v & (a | c)", "y": "+z | c"}, vars={"v": "bee"}, evict_costs={"v": 5, "a": 0.5}
    )
    config = Config(simple("a", "b", "c", b=["bee"]), matrix=matrix)
    assert config.planner() == Matrix(
        {"z": "v & (a | c)", "y": "+z | c"},
        models=["a", "b", "c"],
        vars={"v": "b"},
        evict_costs={"v": 5, "a": 0.5},
    )
    models = "models: {a: {cmd: '${PORT}'}, b: {cmd: '${PORT}', aliases: [bee]}, c: {cmd: '${PORT}'}}\n"
    written = "{evict_costs: {v: 5, a: 0.5}, vars: {v: bee}, sets: {z: v & (a | c), y: +z | c}}"
    assert loads(f"{models}matrix: {written}").config == config
    newer = f"{models}routing: {{router: {{use: matrix, settings: {{matrix: {written}, groups: {{}}}}}}}}"
    assert loads(newer).config == attrs.evolve(config, router="matrix")
    other = attrs.evolve(matrix, sets=dict(reversed(list(matrix.sets.items()))))
    assert other != matrix


def test_the_first_of_equal_sets_is_chosen_and_not_the_first_by_name() -> None:
    models = "models: {a: {cmd: '${PORT}'}, b: {cmd: '${PORT}'}, c: {cmd: '${PORT}'}}\n"
    sets = {"zeta": "a & b", "alpha": "a & c"}
    for order in (list(sets.items()), list(reversed(sets.items()))):
        written = dict(order)
        text = ", ".join(f"{name}: {value}" for name, value in written.items())
        plan = loads(f"{models}matrix: {{sets: {{{text}}}}}").config.planner()("a", (), {})
        assert plan.set == next(iter(written))


def test_an_alias_will_do_wherever_a_model_is_named() -> None:
    # None of the last three could be a variable; the first is no alias, since it is a variable already.
    aliases = ["w", "x_y", "über", "a" * 33]
    matrix = MatrixConfig(
        {
            "s": f"(x_y|über & alias-0 | a | +t) & {'a' * 33}",
            "x_y": "c&w",
            "t": "x_y & x_yz & alias-1 | +x_y",
        },
        vars={"w": "b", "alias-0": "b"},
        evict_costs={"x_y": 5, "b": 2},
    )
    models = simple("a", "b", "c", "x_yz", "alias-1", a=aliases)
    planner = Config(models, matrix=matrix).planner()
    plain = Matrix(
        {"s": "(a|a & b | a | +t) & a", "x_y": "c&b", "t": "a & x_yz & alias-1 | +x_y"},
        models=[model.id for model in models],
        evict_costs={"a": 5, "b": 2},
    )
    loss = {model.id: 1.0 for model in models}
    for target in loss:
        for resident in (tuple(loss), ("a", "b"), ("b", "x_yz"), ("c",), ()):
            assert planner(target, resident, loss) == plain(target, resident, loss)


def test_what_is_not_used_is_not_looked_at() -> None:
    broken = MatrixConfig({"s": "nobody"})
    groups = [GroupConfig("g", members=["nobody"])]
    assert isinstance(Config(simple("a"), router="group", matrix=broken).planner(), Groups)
    fine = MatrixConfig({"s": "a"})
    assert isinstance(Config(simple("a"), router="matrix", groups=groups, matrix=fine).planner(), Matrix)


def test_everything_that_is_wrong_with_a_matrix_is_said_at_once() -> None:
    matrix = MatrixConfig(
        {"s": "a |", "t": "+s & b", "u": "a & nobody", "v": "+u | +v"}, evict_costs={"x": 1, "a": 0}
    )
    with pytest.raises(ConfigError) as caught:
        Config(simple("a", "b"), matrix=matrix)
    assert str(caught.value).split("\n") == [
        "matrix.evict_costs.x: no model is called 'x'; expected a model's name, or one of vars",
        "matrix.evict_costs.a: 0 is no cost; expected a number more than 0",
        "matrix.sets.s: expected a model or a set, but the expression ends, at character 4",
        "matrix.sets.v: it refers to itself: v → v, at character 6",
        "matrix.sets.u: there is no variable or model 'nobody', at character 5",
    ]
    with pytest.raises(ConfigError) as caught:
        Config(simple("a"), matrix=MatrixConfig({f"s{number}": "(" for number in range(100)}))
    assert len(caught.value.problems) == 20


def test_a_set_that_nests_too_deep_is_refused() -> None:
    sets = {"s0": "a & b", **{f"s{number}": f"(+s{number - 1} | a) & b" for number in range(1, 400)}}
    with pytest.raises(ConfigError, match=r"matrix.sets.s\d+: it nests \d+ deep, at most 250 are allowed"):
        Config(simple("a", "b"), matrix=MatrixConfig(sets))


def test_names_that_are_gone_with_their_models_are_no_second_problem() -> None:
    text = """
        models: {a: 5, b: {cmd: "${PORT}", aliases: 5}}
        matrix: {sets: {s: a & alias}, vars: {v: a}, evict_costs: {a: 1}}
        routing: {scheduler: {settings: {fifo: {priority: {a: 1, alias: 2}}}}}
    """
    with pytest.raises(ConfigError) as caught:
        loads(text)
    assert [each.path for each in caught.value.problems] == ["models.a", "models.b.aliases"]


def test_policy_and_priorities() -> None:
    config = Config(
        simple("a", "b", "c", b=["bee"]),
        patience=math.inf,
        priorities={"bee": 3, "c": -2},
        collation=CollationConfig(load_factor=3, quantum=0.5, choice="work"),
    )
    assert [config.priority(name) for name in ("a", "b", "c")] == [0, 3, -2]
    assert config.policy() == Policy(patience=math.inf, load_factor=3, quantum=0.5, choice="work")
    assert Config().policy() == Policy()
    assert loads("""
            models: {a: {cmd: "${PORT}"}, b: {cmd: "${PORT}", aliases: [bee]}, c: {cmd: "${PORT}"}}
            patience: .inf
            routing:
              scheduler:
                use: fifo
                settings:
                  fifo: {priority: {bee: 3, c: -2}}
                  collation: {loadFactor: 3, quantum: 0.5, choice: work}
        """).config == attrs.evolve(config, scheduler="fifo")
