"""Does what is written mean what was found, and is nothing lost on the way?"""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swapcore_http.config import loads
from swapcore_http.init.writing import Found, configuration, write_new

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")).filter(
    lambda text: "${" not in text
)
NAMES = TEXTS.filter(lambda text: text.strip() == text != "")


def test_the_sample_can_be_loaded() -> None:
    loaded = loads(configuration([], "my config.yaml"))
    assert [str(each) for each in loaded.warnings] == []
    assert list(loaded.config.models) == ["my-model"]
    assert "check --config 'my config.yaml' " in configuration([], "my config.yaml")


@settings(deadline=None)
@example([Found("a", ("serve", "${PORT}", "\\\n", "\\ \n", "a\n#b\n", "\n # '\\\r\n'"))])
@given(
    st.lists(
        st.builds(
            Found,
            NAMES,
            st.lists(TEXTS, min_size=1).map(lambda words: ("serve", "${PORT}", *words)),
            notes=st.lists(TEXTS).map(tuple),
            env=st.lists(TEXTS.map(lambda text: f"A={text}")).map(tuple),
            context=st.integers(0, 1_000_000),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda found: found.id,
    )
)
def test_what_is_written_is_what_is_read(models: list[Found]) -> None:
    config = loads(configuration(models, "c.yaml")).config
    assert list(config.models) == [model.id for model in models]
    for model in models:
        read = config.models[model.id]
        assert read.argv(99) == [word.replace("${PORT}", "99") for word in model.argv]
        assert read.env == model.env
        assert read.capabilities.context == model.context


def test_a_set_of_two_is_proposed_if_it_could_be_written() -> None:
    pair = [Found("a.1", ("x", "${PORT}")), Found("b", ("x", "${PORT}"))]
    text = configuration(pair, "c.yaml")
    assert "#     together: a.1 & b\n" in text
    before, matrix = text.split("#\n# matrix:")
    loaded = loads(before + "matrix:" + matrix.replace("\n# ", "\n"))
    assert loaded.config.planner()("a.1", ("b",), {"b": 1.0}).evict == ()
    assert "together" not in configuration([pair[0], Found("b c", ("x", "${PORT}"))], "c.yaml")
    assert "together" not in configuration(pair[:1], "c.yaml")


def test_what_was_left_out_is_said() -> None:
    text = configuration([], "c.yaml", left_out=["x: no\nmodels: {evil: {cmd: x}}"])
    assert "# Left out: x: no?models: {evil: {cmd: x}}\n" in text
    assert list(loads(text).config.models) == ["my-model"]


def test_a_file_is_not_replaced_unless_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    write_new(path, "one", force=False)
    with pytest.raises(FileExistsError, match="exists already; --force replaces it"):
        write_new(path, "two", force=False)
    assert path.read_text() == "one"
    write_new(path, "two", force=True)
    assert path.read_text() == "two"
    assert [file.name for file in tmp_path.iterdir()] == ["c.yaml"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("somebody else's")
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(FileExistsError, match="exists already"):
        write_new(path, "mine", force=False)
    assert path.read_text() == "somebody else's"
    assert [file.name for file in tmp_path.iterdir()] == ["c.yaml"]


def test_everybody_may_read_it_whom_the_mask_lets(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    before = os.umask(0o027)
    try:
        write_new(path, "x", force=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        write_new(tmp_path / "nowhere" / "c.yaml", "x", force=False)
    assert [file.name for file in tmp_path.iterdir()] == []
