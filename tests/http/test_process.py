"""Process groups: what is started is seen, heard and, above all, gone in the end."""

import asyncio
import errno
import itertools
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from swapcore_http import output as output_module
from swapcore_http import process as process_module
from swapcore_http.guard import table
from swapcore_http.output import Output
from swapcore_http.process import running
from tests.http import fake_upstream
from tests.http.processes import MARK, is_alive, mark, open_files, strays, until

pytestmark = pytest.mark.anyio

SHELL = "/bin/sh"


@pytest.fixture
def marked() -> Iterator[str]:
    """Give an environment item, and look in the end that nothing that carries it is left."""
    item = mark()
    files = open_files()
    yield item
    assert strays(item) == []
    assert open_files() <= files


@pytest.fixture
def env(marked: str) -> dict[str, str]:
    name, _, value = marked.partition("=")
    return {**os.environ, name: value}


@pytest.fixture
def typed() -> Iterator[None]:
    """Put a pipe with something in it where this process reads its input."""
    read, write = os.pipe()
    os.write(write, b"typed")
    os.close(write)
    input_ = os.dup(0)
    os.dup2(read, 0)
    os.close(read)
    yield
    os.dup2(input_, 0)
    os.close(input_)


async def test_both_outputs_are_heard_in_order(env: dict[str, str]) -> None:
    async with running([SHELL, "-c", "echo one; echo two >&2; echo three"], env, name="a") as process:
        await process.wait()
        assert process.output.last_lines() == "one\ntwo\nthree"
    assert process.describe().startswith("exited with status 0 after 0.")


async def test_it_gets_no_input_and_a_session_of_its_own(env: dict[str, str], typed: None) -> None:
    async with running([SHELL, "-c", "cat; echo $$; exec sleep 100"], env, name="a") as process:
        await until(process.output.last_lines)
        assert process.output.last_lines() == str(process.pid)
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert process.status == -signal.SIGKILL


async def test_the_environment_is_the_one_given(env: dict[str, str]) -> None:
    async with running([SHELL, "-c", "echo $GREETING"], {**env, "GREETING": "hi"}, name="a") as process:
        await process.wait()
        assert process.output.last_lines() == "hi"


@pytest.mark.skipif(not table.HAS_PROC, reason="looks into /proc")
async def test_a_child_holds_no_file_of_ours_nor_of_another_child(env: dict[str, str]) -> None:
    async with (
        running(["sleep", "100"], env, name="a"),
        running(["sleep", "100"], env, name="b") as second,
    ):

        def held() -> list[str]:
            return sorted(path.name for path in Path(f"/proc/{second.pid}/fd").iterdir())

        # While it is being loaded it has its libraries open.
        await until(lambda: held() == ["0", "1", "2"])


async def test_a_program_that_does_not_exist(env: dict[str, str]) -> None:
    with pytest.raises(FileNotFoundError, match="'no-such-program'"):
        async with running(["no-such-program"], env, name="a"):
            pytest.fail("nothing can have started")


async def test_a_file_that_is_no_program(env: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo hi")
    with pytest.raises(PermissionError):
        async with running([str(script)], env, name="a"):
            pytest.fail("nothing can have started")
    script.chmod(0o755)
    with pytest.raises(OSError, match="Exec format") as raised:
        async with running([str(script)], env, name="a"):
            pytest.fail("nothing can have started")
    assert raised.value.errno == errno.ENOEXEC


async def test_words_that_cannot_be_passed(env: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="null"):
        async with running(["sh", "a\0b"], env, name="a"):
            pytest.fail("nothing can have started")


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 3", "exited with status 3 after "),
        ("kill -9 $$", "killed by SIGKILL after "),
        ("kill -TERM $$", "killed by SIGTERM after "),
    ],
)
async def test_says_how_it_ended(env: dict[str, str], script: str, ending: str) -> None:
    async with running([SHELL, "-c", script], env, name="a") as process:
        assert process.describe() == "is still running"
        await process.wait()
    assert process.describe().startswith(ending)


async def test_a_signal_without_a_name(env: dict[str, str]) -> None:
    async with running([SHELL, "-c", "kill -40 $$"], env, name="a") as process:
        await process.wait()
    assert process.describe().startswith("killed by signal 40 after ")


async def test_the_exit_is_seen_though_a_grandchild_holds_the_output(
    env: dict[str, str], tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    argv = fake_upstream.argv(fork_grandchild=pid_file, exit_after=0.001, exit_code=5, print="said")
    async with running(argv, env, name="a") as process:
        await process.wait()
        assert process.status == 5
        assert "said" in process.output.last_lines()
        grandchild = int(pid_file.read_text())
        assert is_alive(grandchild)
    assert not is_alive(grandchild)


async def test_leaving_kills_a_group_that_ignores_being_asked(env: dict[str, str], tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    argv = fake_upstream.argv(fork_grandchild=pid_file, ignore_sigterm=True, no_listen=True)
    async with running(argv, env, name="a") as process:
        await until(pid_file.exists)
        grandchild = int(pid_file.read_text())
        process.terminate()
        await until(lambda: "ignoring SIGTERM" in process.output.last_lines())
        assert is_alive(grandchild)
    assert not is_alive(process.pid)
    assert not is_alive(grandchild)


async def test_an_exception_inside_kills_the_group(env: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        async with running(["sleep", "100"], env, name="a") as process:
            raise KeyError
    assert not is_alive(process.pid)


async def test_cancellation_kills_the_group(env: dict[str, str]) -> None:
    async with anyio.create_task_group() as tasks:
        started = anyio.Event()
        pids = []

        async def run() -> None:
            async with running(["sleep", "100"], env, name="a") as process:
                pids.append(process.pid)
                started.set()
                await process.wait()

        tasks.start_soon(run)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert not is_alive(pids[0])


async def test_zombies_that_nobody_reaps_do_not_count(env: dict[str, str]) -> None:
    # The leader's child leaves the group, after leaving a child there whose end it never asks for.
    script = """
import os, signal
read, write = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os.setsid()
    os.write(1, b"%d\\n" % os.getpid())
    os.write(write, b"x")
    signal.pause()
os.read(read, 1)
"""
    async with running([sys.executable, "-I", "-S", "-c", script], env, name="a") as process:
        await process.wait()
        outsider = int(process.output.last_lines())
        with anyio.fail_after(60):
            await process.gone()
        # The group still has its member that is dead.
        os.killpg(process.pid, 0)
        os.kill(outsider, signal.SIGKILL)
    await until(lambda: not is_alive(outsider))


async def test_a_group_that_does_not_die_is_waited_for(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([True, True, True, False])
    monkeypatch.setattr(process_module, "_kill_rest", lambda *_: next(looks))
    async with running([SHELL, "-c", "exit 0"], env, name="a"):
        pass
    assert next(looks, None) is None


def test_a_number_that_is_free_again_is_nobodys_group() -> None:
    # A process that leads a group and lives: whoever looks for the remains of a group finds somebody else.
    with subprocess.Popen([SHELL, "-c", "read line"], stdin=subprocess.PIPE, process_group=0) as other:
        assert not process_module._kill_rest(other.pid, "", set())
        assert is_alive(other.pid)


# What is kept of the output


async def test_a_flood_neither_blocks_the_writer_nor_is_kept(env: dict[str, str]) -> None:
    async with running(fake_upstream.argv(flood=3_000_000, exit_at_start=0), env, name="a") as process:
        with anyio.fail_after(60):
            await process.wait()
        assert len(process.output._tail) <= 2 * output_module.TAIL_BYTES
        lines = process.output.last_lines().splitlines()
    assert lines == [f"{number:063d}" for number in range(3_000_000 - 20 * 64, 3_000_000, 64)]


async def test_what_was_written_before_the_exit_is_heard_whenever_the_loop_comes_to_read(
    env: dict[str, str],
) -> None:
    async with running([SHELL, "-c", "echo last words"], env, name="a") as process:
        asyncio.get_running_loop().remove_reader(process.output._read_end)
        await process.wait()
        assert process.output.last_lines() == "last words"


async def test_a_line_without_an_end_is_not_kept_whole() -> None:
    output = Output("a")
    for _ in range(30):
        os.write(output.write_end, b"y" * 30_000)
        output.drain()
    assert len(output._tail) <= 2 * output_module.TAIL_BYTES
    output.close_write_end()
    output.close()


async def test_taking_in_what_is_left_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = itertools.count()
    output = Output("a")
    output.close_write_end()

    def read(_: int, size: int) -> bytes:
        assert next(reads) < 100
        return b"y" * size

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        output.drain()
        output.close()
    assert output.last_lines() == "y" * output_module.LINE_BYTES + "…"


async def test_long_lines_are_cut(env: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "swapcore_http.upstream")
    argv = fake_upstream.argv(long_line=9000, exit_at_start=0)
    async with running(argv, env, name="a") as process:
        await process.wait()
    cut = "y" * output_module.LINE_BYTES + "…"
    assert process.output.last_lines() == cut
    assert all(message in {cut, f"a: {cut}"} or len(message) < len(cut) + 5 for message in caplog.messages)


async def test_what_is_written_is_logged_as_it_came(
    env: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "swapcore_http.upstream")
    script = r"printf 'one\r\ntwo\033[1m\n\nhal'; sleep 0.05; printf 'f\nrest'"
    async with running([SHELL, "-c", script], env, name="m") as process:
        await process.wait()
    written = b""
    for record in caplog.records:
        assert record.name == "swapcore_http.upstream"
        assert isinstance(record.args, tuple)
        name, piece = record.args
        assert name == "m"
        assert isinstance(piece, output_module.Written)
        written += piece.data
    assert written == b"one\r\ntwo\033[1m\n\nhalf\nrest"
    assert str(output_module.Written(written)) == "one\n    two�[1m\n    half\n    rest"
    assert process.output.last_lines() == "one\ntwo�[1m\nhalf\nrest"


async def test_output_is_noticed_as_it_comes(env: dict[str, str]) -> None:
    noticed = anyio.Event()
    async with running([SHELL, "-c", "echo hi; exec sleep 100"], env, name="a", on_output=noticed.set):
        with anyio.fail_after(60):
            await noticed.wait()


async def test_reading_ends_though_someone_writes_on(env: dict[str, str]) -> None:
    # A process that left the group writes for ever; what we own is gone all the same.
    script = "import os\nif os.fork() == 0:\n os.setsid()\n while True: os.write(1, b'y' * 65536)\n"
    async with running([sys.executable, "-I", "-S", "-c", script], env, name="a") as process:
        with anyio.fail_after(60):
            await process.wait()
    # It dies by itself of the closed pipe.
    await until(lambda: not strays(f"{MARK}={env[MARK]}"))


SETSID = (
    "import os, signal, sys\nif os.fork():\n os._exit(0)\nos.setsid()\nos.write(1, b'out')\nsignal.pause()\n"
)
"""A program that is gone at once, and leaves behind what nobody's group holds any more."""


async def test_what_has_left_the_group_is_found_by_its_mark(env: dict[str, str], marked: str) -> None:
    argv = [sys.executable, "-I", "-S", "-c", SETSID]
    async with running(argv, env, name="a", mark="life.1") as process:
        await until(lambda: "out" in process.output.last_lines())
        await process.wait()
        assert len(strays(marked)) == 1
        async with running(["sleep", "100"], env, name="b", mark="life.11") as other:
            await process.gone()
            assert strays(marked) == [other.pid]


def test_one_that_ends_without_its_environment_is_still_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark goes with the memory, and what else it holds goes after that."""
    marked = table.Entry(2_000_000_001, 2_000_000_001, "S", "77", "life.1")
    ending = marked._replace(state="R", mark="")
    another = ending._replace(started="99")
    looks = iter([[marked], [ending], [another]])
    monkeypatch.setattr(process_module, "processes", lambda: next(looks))
    known: set[tuple[int, str]] = set()
    assert [process_module._kill_rest(2_000_000_000, "life.1", known) for _ in range(3)] == [
        True,
        True,
        False,
    ]
