"""Who listens on a port: whichever way the system is asked, the answer is the same."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swapcore_http import listeners
from swapcore_http.guard.table import HAS_PROC
from swapcore_http.listeners import Listener, listener

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="lsof is asked here")

Ask = Callable[[int], set[str]]


def kernel(port: int) -> set[str]:
    return {
        number for family in (socket.AF_INET, socket.AF_INET6) for number in listeners._asked(family, port)
    }


def tables(port: int) -> set[str]:
    return set(listeners._looked_up(port))


@pytest.fixture(params=[kernel, tables])
def ask(request: pytest.FixtureRequest) -> Ask:
    ask: Ask = request.param
    return ask


@pytest.fixture(params=["127.0.0.1", "::1"])
def server(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as sock:
        yield sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def number_of(sock: socket.socket) -> str:
    return str(os.fstat(sock.fileno()).st_ino)


def test_a_socket_that_listens_is_found(ask: Ask, server: socket.socket) -> None:
    assert ask(port_of(server)) == {number_of(server)}


def test_all_that_listen_on_one_port_are_found(ask: Ask) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", port_of(one)), family=socket.AF_INET6) as two,
    ):
        assert ask(port_of(one)) == {number_of(one), number_of(two)}


def test_connections_do_not_listen(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = port_of(server)
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
    with client, accepted:
        assert ask(port) == set()
        assert ask(port_of(client)) == set()


def test_this_process_is_found_and_nobody_where_nobody_listens(server: socket.socket) -> None:
    port = port_of(server)
    name = Path("/proc/self/comm").read_text().strip()
    assert listener(port) == listener(port, os.getpid()) == Listener(os.getpid(), name, "")
    server.close()
    assert listener(port) is None


def test_where_the_kernel_may_not_be_asked_the_tables_are_read(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Iterator[str]:
        raise PermissionError

    monkeypatch.setattr(listeners, "_asked", refuse)
    found = listener(port_of(server))
    assert found is not None
    assert found.pid == os.getpid()


def test_what_the_kernel_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="sock_diag"):
        list(listeners._asked(255, 1))
