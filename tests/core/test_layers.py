"""May this module import that one? The layers of the design, read off the syntax trees."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import swapcore
import swapcore_http

CORE = Path(swapcore.__file__).parent
HTTP = Path(swapcore_http.__file__).parent
IMPURE = {
    "time", "os", "io", "random", "logging", "threading", "asyncio", "socket", "subprocess", "select",
    "signal", "pathlib", "multiprocessing", "concurrent", "datetime", "secrets", "uuid",
    "aiohttp", "anyio", "cattrs", "ruamel",
}  # fmt: skip


def imports_of(path: Path, root: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports, wherever in it that stands."""
    package = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{package} uses a relative import"
            yield str(node.module)


def modules(root: Path) -> list[Path]:
    return sorted(root.rglob("*.py"))


@pytest.mark.parametrize("path", modules(CORE), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_is_pure(path: Path) -> None:
    for name in imports_of(path, CORE):
        top = name.partition(".")[0]
        assert top not in IMPURE, f"{path.name} imports {name}"
        assert top in {"attrs", "swapcore"} or top in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize("name", ["catalog", "events", "commands", "errors"])
def test_messages_know_no_sibling_but_errors(name: str) -> None:
    siblings = {one for one in imports_of(CORE / f"{name}.py", CORE) if one.startswith("swapcore")}
    # A new catalog comes as an event, with the planner and the settings that belong to it.
    carried = {"swapcore.catalog", "swapcore.planning", "swapcore.settings"} if name == "events" else set()
    assert siblings <= {"swapcore.errors"} | carried


@pytest.mark.parametrize(
    "path", [*modules(CORE / "planning"), CORE / "collation.py"], ids=lambda path: path.name
)
def test_planning_and_collation_do_not_know_the_engine(path: Path) -> None:
    siblings = {one for one in imports_of(path, CORE) if one.startswith("swapcore")}
    assert not siblings & {"swapcore", "swapcore.engine", "swapcore.state", "swapcore.testing"}


def test_nothing_in_the_core_knows_the_simulator() -> None:
    for path in modules(CORE):
        within = CORE / "testing" in path.parents
        assert within or not any(name.startswith("swapcore.testing") for name in imports_of(path, CORE))


@pytest.mark.parametrize("name", ["control", "driver", "lease", "observing"])
def test_the_driver_knows_neither_http_nor_processes(name: str) -> None:
    names = {one.partition(".")[0] for one in imports_of(HTTP / f"{name}.py", HTTP)}
    assert not names & {"aiohttp", "subprocess", "asyncio", "socket", "ruamel", "cattrs"}


def test_only_the_configuration_knows_yaml() -> None:
    for path in modules(HTTP):
        if HTTP / "config" not in path.parents:
            tops = {name.partition(".")[0] for name in imports_of(path, HTTP)}
            assert not tops & {"ruamel", "yaml"}, f"{path.name} knows YAML"


def test_a_module_of_the_core_stays_small() -> None:
    for path in [*modules(CORE), *modules(HTTP)]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 450, f"{path.name} has {lines} lines: which second question moved in?"


def test_the_walker_sees_imports_inside_functions(tmp_path: Path) -> None:
    (tmp_path / "swapcore").mkdir()
    path = tmp_path / "swapcore" / "bad.py"
    path.write_text("def f():\n    import time\n    from os import path\n")
    assert list(imports_of(path, tmp_path / "swapcore")) == ["time", "os"]
