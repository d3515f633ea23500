"""The file of a life: whole or not at all, ours alone, and read whatever is in it."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from swapcore_http.guard import registry
from swapcore_http.guard.folder import folder
from swapcore_http.guard.registry import Life, Run, create, decode, encode, lives, lock, read, write
from swapcore_http.guard.sweep import sweep

ID = "ab" * 16
RUN = Run(f"{ID}.1", 7, "10", ("docker", "stop", "\t${PID}"), 3.0, (("K", "secret"),))
LIFE = Life(ID, "here", 5, "9", (RUN,))


def test_what_is_written_is_read_without_its_secrets(tmp_path: Path) -> None:
    assert decode(encode(LIFE, secrets=True), ID) == LIFE
    file = create(str(tmp_path), ID)
    write(file, encode(LIFE, secrets=False) + b"\n")
    assert read(file, ID) == LIFE._replace(runs=(RUN._replace(env=()),))
    assert b"\t" not in encode(LIFE, secrets=True)
    write(file, encode(Life(ID), secrets=False) + b"\n")
    assert read(file, ID) == Life(ID)
    os.close(file)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"{}", b'{"runs": 1}', b"\xff\xfe", b"null", b'{"runs": [{}], "place": ""}']
)
def test_what_makes_no_sense_says_nothing(line: bytes) -> None:
    assert decode(line, ID) == Life(ID)


def test_whoever_has_it_open_has_the_lock(tmp_path: Path) -> None:
    file = create(str(tmp_path), ID)
    assert list(lives(str(tmp_path))) == [ID]
    found = lock(str(tmp_path), ID)
    assert found is not None
    assert not found[1]
    os.close(found[0])
    os.close(file)
    found = lock(str(tmp_path), ID)
    assert found is not None
    assert found[1]
    os.close(found[0])
    assert lock(str(tmp_path), "cd" * 16) is None


def test_other_files_are_nobodys_life(tmp_path: Path) -> None:
    for name in ("x.json", f"{ID}.txt", f"{ID[:-1]}g.json", f"{ID}a.json"):
        (tmp_path / name).touch()
    assert list(lives(str(tmp_path))) == []
    (tmp_path / f"{ID}.json").symlink_to("/etc/passwd")
    assert lock(str(tmp_path), ID) is None
    sweep(str(tmp_path), os.environ)
    assert (tmp_path / f"{ID}.json").is_symlink()


def test_the_file_of_a_life_that_left_nothing_goes(tmp_path: Path) -> None:
    (tmp_path / f"{ID}.json").write_text("rubbish")
    sweep(str(tmp_path), os.environ)
    assert not list(tmp_path.iterdir())


def test_the_file_of_a_life_that_goes_on_stays(tmp_path: Path) -> None:
    file = create(str(tmp_path), ID)
    sweep(str(tmp_path), os.environ)
    assert list(lives(str(tmp_path))) == [ID]
    os.close(file)


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 3)
    with pytest.raises(OSError, match="takes only a part"):
        write(0, b"line\n")


def test_the_folder_is_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, state = tmp_path / "runtime", tmp_path / "state"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    (runtime / "swapcore").mkdir(parents=True, mode=0o755)
    assert folder() == str(runtime / "swapcore")
    assert (runtime / "swapcore").stat().st_mode & 0o777 == 0o700
    # What is somebody else's, as a link may be, is not used.
    (runtime / "swapcore").rmdir()
    (runtime / "swapcore").symlink_to(tmp_path)
    assert folder() == str(state / "swapcore")
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    monkeypatch.setenv("HOME", "/proc/nowhere")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert folder() == str(tmp_path / f"swapcore-{os.geteuid()}")


def test_a_life_has_one_file(tmp_path: Path) -> None:
    file = create(str(tmp_path), ID)
    with pytest.raises(FileExistsError) as raised:
        registry.create(str(tmp_path), ID)
    assert raised.value.errno == errno.EEXIST
    os.close(file)
