"""Does each example do what it says?"""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_engine_without_an_event_loop_collates() -> None:
    lines = run("examples/embed_sync.py").splitlines()
    assert lines[:4] == ["load a", "  a job with a", "  a job with a", "unload a"]
    assert [line for line in lines if line.startswith("load")] == ["load a", "load b", "load c"]
    assert len([line for line in lines if "a job" in line]) == 6


def test_the_driver_in_a_server_of_ones_own() -> None:
    answers = [line.partition("  ")[2] for line in run("examples/embed_anyio.py").splitlines()]
    assert sorted(answers) == [
        "'mumble Hello' -> \"refused: no model is called 'mumble'\"",
        "'shout Bye' -> 'BYE'",
        "'shout Hello' -> 'HELLO'",
        "'whisper Hello' -> 'hello'",
    ]


def test_a_planner_of_ones_own_keeps_within_the_memory() -> None:
    lines = run("examples/custom_planner.py").splitlines()
    assert lines == [
        "   0 s: load voice, 2 GB",
        " 100 s: load chat, 6 GB",
        " 200 s: load code, 8 GB",
        " 300 s: unload voice to make room for large",
        " 300 s: unload chat to make room for large",
        " 301 s: load large, 16 GB",
        " 400 s: unload code to make room for chat",
        " 401 s: load chat, 6 GB",
        " 500 s: load voice, 2 GB",
    ]
    source = (EXAMPLES / "custom_planner.py").read_text(encoding="utf-8")
    assert len(source[source.index("@frozen") : source.index("if __name__")].split("\n")) < 30


def test_the_harness_is_a_test_suite_that_passes() -> None:
    assert "2 passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/harness.py")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_says_how_to_run_it(path: Path) -> None:
    assert f"examples/{path.name}`" in path.read_text(encoding="utf-8")
