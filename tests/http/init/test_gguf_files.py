"""Is each file a model, with what is known of it?"""

import sys
from pathlib import Path

import pytest

from swapcore_http.init.gguf_files import context_of, found_in
from tests.http.init.files import write_gguf


def test_each_file_is_a_model(tmp_path: Path) -> None:
    write_gguf(tmp_path / "b.gguf", context=2048)
    write_gguf(tmp_path / "deep" / "er" / "a.GGUF", context=131072)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "dir.gguf").mkdir()
    found = {each.id: each for each in found_in(tmp_path)}
    assert list(found) == ["b", "a"]
    assert found["b"].argv == (
        "llama-server", "--host", "127.0.0.1", "--port", "${PORT}",
        "--model", str(tmp_path / "b.gguf"), "--ctx-size", "2048",
    )  # fmt: skip
    size = (tmp_path / "b.gguf").stat().st_size
    assert found["b"].notes == (f"{size} bytes on disk; trained for a context of 2048 tokens",)
    assert (found["b"].context, found["a"].context) == (2048, 8192)
    assert found["a"].argv[-2:] == ("--ctx-size", "8192")
    assert found["a"].notes[0].endswith("trained for a context of 131072 tokens")


def test_sets_of_files_are_one_model(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_gguf(tmp_path / f"q-0000{number}-of-00003.gguf")
    (only,) = found_in(tmp_path)
    assert only.id == "q"
    assert only.argv[-1] == str(tmp_path / "q-00001-of-00003.gguf")
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert only.notes == (f"{size} bytes on disk",)


def test_a_projector_belongs_to_the_model_that_it_is_alone_with(tmp_path: Path) -> None:
    write_gguf(tmp_path / "v" / "see.gguf")
    write_gguf(tmp_path / "v" / "mmproj-see-f16.gguf")
    write_gguf(tmp_path / "w" / "one.gguf")
    write_gguf(tmp_path / "w" / "two.gguf")
    write_gguf(tmp_path / "w" / "mmproj.gguf")
    found = {each.id: each.argv for each in found_in(tmp_path)}
    assert sorted(found) == ["one", "see", "two"]
    assert found["see"][-2:] == ("--mmproj", str(tmp_path / "v" / "mmproj-see-f16.gguf"))
    assert "--mmproj" not in found["one"]


def test_what_is_no_model_inside_has_no_context(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF, not really")
    assert context_of(tmp_path / "x.gguf") is None
    write_gguf(tmp_path / "y.gguf")
    assert context_of(tmp_path / "y.gguf") is None
    assert context_of(tmp_path / "nowhere.gguf") is None


def test_without_the_package_the_rest_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "q.gguf", context=2048)
    monkeypatch.setitem(sys.modules, "gguf", None)
    (only,) = found_in(tmp_path)
    assert only.context == 0
    assert "--ctx-size" not in only.argv


def test_links_are_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    write_gguf(tmp_path / "q.gguf")
    assert [each.id for each in found_in(tmp_path)] == ["q"]
