"""Ports: one run each, and never one that something else has."""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from swapcore_http import ports as ports_module
from swapcore_http.ports import HIGHEST, LOWEST, Ports, is_taken
from tests.http.processes import called


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listen on a port of 127.0.0.1 as a foreign program would."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_lends_the_number_that_is_wanted() -> None:
    port = free_port()
    with Ports().lend(port, "a") as lent:
        assert lent == port


def test_lends_another_if_something_else_listens(
    listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = listener.getsockname()[1]
    with caplog.at_level(logging.INFO), Ports().lend(wanted, "a") as lent:
        assert lent != wanted
        assert not is_taken(lent)
    assert caplog.messages == [f"port {wanted} is taken by {called(os.getpid())}: a uses {lent}"]


def test_lends_no_port_twice_at_once() -> None:
    ports = Ports()
    wanted = free_port()
    with (
        ports.lend(wanted, "a") as first,
        ports.lend(wanted, "b") as second,
        ports.lend(wanted, "c") as third,
    ):
        assert len({first, second, third}) == 3


def test_lends_a_port_again_that_was_given_back() -> None:
    ports = Ports()
    wanted = free_port()
    with ports.lend(wanted, "a"):
        pass
    with ports.lend(wanted, "b") as lent:
        assert lent == wanted


def test_says_who_has_which_port() -> None:
    ports = Ports()
    wanted, fixed = free_port(), free_port()
    with ports.lend(wanted, "a") as lent, ports.hold(fixed):
        assert dict(ports.lent) == {"a": lent}
        assert ports.held == {lent, fixed}
    assert not ports.lent
    assert not ports.held


def test_lends_no_port_that_a_run_holds_by_its_command() -> None:
    ports = Ports()
    wanted = free_port()
    with ports.hold(wanted), ports.hold(wanted):
        pass
    with ports.hold(wanted):
        with ports.hold(wanted):
            pass
        with ports.lend(wanted, "a") as lent:
            assert lent != wanted


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104 - that is the case.
def test_sees_listeners_at_every_address_of_this_machine(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as sock:
        assert is_taken(sock.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104 - likewise.
def test_sees_them_where_systems_let_one_bind_beside_another(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS does: an address and all addresses do not exclude each other."""

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if address[0] == host:
                raise OSError(errno.EADDRINUSE, "Address already in use")

    port = free_port()
    monkeypatch.setattr(socket, "socket", Socket)
    assert is_taken(port)


def test_a_former_servers_connections_do_not_make_a_port_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        # Whoever closes first keeps the port in TIME_WAIT.
        accepted.close()
        client.close()
    assert not is_taken(port)


def test_a_machine_without_ipv6_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    real = socket.socket

    def without_ipv6(family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, kind)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert not is_taken(port)


def test_the_search_ends_within_the_range_of_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def taken(port: int) -> bool:
        asked.append(port)
        return True

    monkeypatch.setattr(ports_module, "is_taken", taken)
    with pytest.raises(OSError, match="no port is free"), Ports().lend(HIGHEST, "a"):
        pytest.fail("nothing is free")
    assert set(asked) == set(range(LOWEST, HIGHEST + 1))
