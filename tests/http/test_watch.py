"""Tests of `swapcore_http.watch`: which changes are seen, and which are none."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from swapcore_http import watch as watch_module
from swapcore_http.watch import LARGEST, Watch, at_rest, fingerprint

pytestmark = pytest.mark.anyio


def swap_link(link: Path, target: Path) -> None:
    """Let a symbolic link lead elsewhere, at once, as Kubernetes does."""
    new = link.with_name("new-link")
    new.symlink_to(target)
    new.replace(link)


def edit(folder: Path) -> None:
    (folder / "config.yaml").write_text("two")


def rename_over(folder: Path) -> None:
    (folder / "next").write_text("two")
    (folder / "next").replace(folder / "config.yaml")


def keep_its_size_and_time(folder: Path) -> None:
    file = folder / "config.yaml"
    before = file.stat()
    file.write_text("owt")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [edit, rename_over, keep_its_size_and_time])
def test_a_file_that_says_something_else_is_seen(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("one")
    before = fingerprint([file])
    assert before == fingerprint([file])
    change(tmp_path)
    assert fingerprint([file]) not in {None, before}


def test_a_link_that_leads_elsewhere_is_seen(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(name)
    (tmp_path / "data").symlink_to(tmp_path / "one")
    (tmp_path / "config.yaml").symlink_to(tmp_path / "data" / "config.yaml")
    watched = [tmp_path / "config.yaml"]
    before = fingerprint(watched)
    swap_link(tmp_path / "data", tmp_path / "two")
    assert fingerprint(watched) not in {None, before}


def test_what_says_the_same_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("one")
    before = fingerprint([file])
    os.utime(file, (1, 1))
    (tmp_path / "next").write_text("one")
    (tmp_path / "next").replace(file)
    assert fingerprint([file]) == before


def test_the_yaml_files_of_a_directory_count(tmp_path: Path) -> None:
    def now() -> bytes | None:
        return fingerprint([tmp_path])

    assert now() is None, "there is nothing to read"
    (tmp_path / "b.yml").write_text("one")
    seen = [now()]
    (tmp_path / "a.yaml").write_text("one")
    seen.append(now())
    (tmp_path / "a.yaml").write_text("two")
    seen.append(now())
    (tmp_path / "a.yaml").rename(tmp_path / "c.yaml")
    seen.append(now())
    (tmp_path / "notes.txt").write_text("one")
    (tmp_path / "folder.yaml").mkdir()
    assert len({*seen, None}) == 5
    assert now() == seen[-1], "they are no configuration"


def test_where_one_file_ends_and_the_next_begins_is_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x")
    (tmp_path / "b.yaml").write_text("yz")
    before = fingerprint([tmp_path])
    (tmp_path / "a.yaml").write_text("xy")
    (tmp_path / "b.yaml").write_text("z")
    assert fingerprint([tmp_path]) != before


def test_what_is_missing_or_no_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    assert fingerprint([file]) is None
    os.mkfifo(tmp_path / "pipe")
    assert fingerprint([tmp_path / "pipe"]) is None, "reading it would wait for ever"
    file.write_text("one")
    assert fingerprint([file, tmp_path / "other.yaml"]) is None
    file.write_bytes(b"x" * (LARGEST + 2))
    before = fingerprint([file])
    file.write_bytes(b"x" * (LARGEST + 3))
    assert fingerprint([file]) == before


def test_what_is_being_written_is_read_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    steps = iter(["", "one", "one two", "one two three"])

    def write_on(_: float) -> None:
        if (step := next(steps, None)) is not None:
            file.write_text(step)

    file.write_text("before")
    monkeypatch.setattr("time.sleep", write_on)
    assert at_rest([file], file.read_text) == "one two three"


def test_an_empty_file_is_given_time_to_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a soak found: a writer who is not let run after it has truncated the file."""
    file = tmp_path / "config.yaml"
    file.write_text("")
    looks = itertools.count(1)

    def write_at_last(_: float) -> None:
        if next(looks) == watch_module.MOST_LOOKS - 1:
            file.write_text("models")

    monkeypatch.setattr("time.sleep", write_at_last)
    assert at_rest([file], file.read_text) == "models"


def test_a_file_that_stays_empty_is_read_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert at_rest([file], file.read_text) == ""


@pytest.mark.parametrize("torn", ["", "broken"])
def test_what_changes_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("before")
    steps = iter([torn, "after"])
    monkeypatch.setattr("time.sleep", lambda _: None)

    def read() -> str:
        """Read while somebody writes."""
        if (step := next(steps, None)) is not None:
            file.write_text(step)
        text = file.read_text()
        if text == "broken":
            raise ValueError(text)
        return text

    assert at_rest([file], read) == "after"


def test_what_is_wrong_and_stays_so_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("broken")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(ZeroDivisionError):
        at_rest([file], lambda: 1 // 0)


def test_what_is_written_for_ever_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("")
    written: list[float] = []

    def write_on(_: float) -> None:
        written.append(_)
        file.write_text(str(len(written)))

    monkeypatch.setattr("time.sleep", write_on)
    assert at_rest([file], file.read_text) == str(watch_module.MOST_LOOKS)


class Looks:
    """What a watch sees, look by look, in place of files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seen: bytes | None) -> None:
        self.left = list(seen)
        self.over = anyio.Event()
        monkeypatch.setattr(watch_module, "EVERY", 0)
        monkeypatch.setattr(watch_module, "fingerprint", self.look)

    def look(self, _: object) -> bytes | None:
        if not self.left:
            anyio.from_thread.run_sync(self.over.set)
            return b"end"
        return self.left.pop(0)


@pytest.mark.parametrize(
    ("seen", "changes"),
    [
        ([b"1", b"1", b"1"], 0),
        ([b"1", b"1", b"2", b"2", b"2"], 1),
        ([b"1", b"", b"2", b"2"], 1),  # An editor that empties the file first.
        ([b"1", b"2", b"3", b"4", b"5"], 0),  # It has not come to rest.
        ([b"1", None, None, None], 0),
        ([b"1", None, b"1", b"1"], 0),  # It was away for a moment.
        ([b"1", None, b"2", b"2"], 1),
        ([None, None, b"1", b"1"], 1),
        ([b"1", b"2", b"2", b"1", b"1"], 2),
    ],
)
async def test_a_change_is_told_once_it_has_come_to_rest(
    monkeypatch: pytest.MonkeyPatch, seen: list[bytes | None], changes: int
) -> None:
    looks = Looks(monkeypatch, *seen)
    told: list[None] = []
    watch = Watch([])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run, lambda: told.append(None))
        with anyio.fail_after(60):
            await looks.over.wait()
        tasks.cancel_scope.cancel()
    assert len(told) == changes


async def test_that_it_is_gone_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file, folder = tmp_path / "config.yaml", tmp_path / "more"
    file.write_text("one")
    folder.mkdir()
    (folder / "a.yaml").write_text("two")
    monkeypatch.setattr(watch_module, "EVERY", 0)

    async def until_said(count: int) -> None:
        with anyio.fail_after(60):
            while len(caplog.messages) < count:
                await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Watch([file, folder]).run, lambda: None)
        await anyio.lowlevel.checkpoint()
        file.unlink()
        await until_said(1)
        file.write_text("one")
        await until_said(2)
        (folder / "a.yaml").unlink()
        await until_said(3)
        tasks.cancel_scope.cancel()
    assert caplog.messages == [
        f"{file} cannot be read; the configuration stays as it is",
        "what is watched for changes can be read again",
        f"{folder} cannot be read; the configuration stays as it is",
    ]


async def test_what_changed_before_it_runs_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("one")
    watch = Watch([file])
    file.write_text("two")
    changed = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch.run, changed.set)
        with anyio.fail_after(60):
            await changed.wait()
        tasks.cancel_scope.cancel()
