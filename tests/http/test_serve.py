"""Tests of `swapcore_http.serve`: the whole program as a process, its signals and its address."""

import http.client
import socket
from pathlib import Path

import aiohttp
import anyio
import pytest

from swapcore_http.serve import Address, CannotListenError, listen
from tests.http.processes import until
from tests.http.programs import program, serving, write

pytestmark = pytest.mark.anyio


async def test_it_serves_and_ends_cleanly(tmp_path: Path) -> None:
    async with serving(tmp_path, a={}) as server:
        async with server.client.post(
            f"{server.base_url}/v1/embeddings", json={"model": "a", "input": "x"}
        ) as answer:
            assert answer.status == 200
        server.signal()
        assert await server.ends() == 0
    assert "Traceback" not in server.log
    assert "stopping a (run 1): the server is shutting down" in server.log


async def test_a_preloaded_model_comes_up_without_a_request(tmp_path: Path) -> None:
    top: dict[str, object] = {"_hooks": {"on_startup": {"preload": ["b"]}}}
    async with serving(tmp_path, top=top, a={}, b={}) as server:
        await server.until_said("b (run 1) is ready")
        server.signal()
        assert await server.ends() == 0


async def test_sigterm_while_loading_refuses_who_waits(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, a={"load_until": tmp_path / "never"}) as server,
        anyio.create_task_group() as tasks,
    ):
        statuses = []

        async def ask() -> None:
            async with server.chat("a") as answer:
                statuses.append((answer.status, await answer.json()))

        tasks.start_soon(ask)
        await server.until_said("run 1 is process")
        server.signal()
        assert await server.ends() == 0
    (status, body), *_ = statuses
    assert status == 503
    assert body["error"]["message"] == "the server is shutting down"


async def test_sigterm_while_streaming_lets_the_stream_end_and_accepts_nobody(tmp_path: Path) -> None:
    async with serving(tmp_path, a={}) as server, server.chat("a", chunks=3, gate="go") as answer:
        url = await server.upstream("a")
        server.signal()
        await server.until_said("SIGTERM")
        await until(lambda: refuses(server.base_url))
        async with server.client.post(f"{url}/gate/go?n=3") as gate:
            assert gate.status == 200
        body = await answer.text()
        assert body.endswith("data: [DONE]\n\n")
        assert await server.ends() == 0


async def test_a_second_sigterm_cuts_the_stream_off(tmp_path: Path) -> None:
    async with serving(tmp_path, a={}) as server, server.chat("a", chunks=3, gate="never") as answer:
        server.signal()
        await server.until_said("SIGTERM")
        server.signal()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        assert await server.ends() == 0


async def test_a_third_sigterm_kills_an_upstream_that_is_deaf(tmp_path: Path) -> None:
    async with serving(tmp_path, a={"ignore_sigterm": True, "_unloadTimeout": 600}) as server:
        async with server.chat("a", chunks=1) as answer:
            await answer.read()
        for number in range(3):
            server.signal()
            await server.until_said("SIGTERM")
            if number == 0:
                await server.until_said("stopping a (run 1)")
        assert await server.ends() == 0
    assert "killing a (run 1)" in server.log


async def test_it_listens_on_all_interfaces_when_asked(tmp_path: Path) -> None:
    config = write(tmp_path, a={})
    async with program("serve", "--config", str(config), "--listen", ":0") as server:
        port = int((await server.until_said("listening on")).rpartition(":")[2].split(",")[0])
        await server.until_said("other machines can reach this server, and need no key for it (apiKeys)")
        for host in ("127.0.0.1", "[::1]"):
            async with server.client.get(f"http://{host}:{port}/health") as answer:
                assert answer.status == 200
        server.signal()
        assert await server.ends() == 0


async def test_a_port_in_use_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    config = write(tmp_path, top={"_hooks": {"on_startup": {"preload": ["a"]}}}, a={"print": "I was started"})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with program("serve", "--config", str(config), "--listen", address) as server:
            assert await server.ends() == 1
    assert server.log == f"swapcore-http: cannot listen on {address}: something else listens there already\n"


async def test_a_broken_configuration_is_said_and_nothing_is_started(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("models: [a]\n")
    async with program("serve", "--config", str(config)) as server:
        assert await server.ends() == 1
    assert server.log.startswith(f"{config}:1:9: models: ")


async def test_the_demo_greets_and_answers() -> None:
    async with program("serve", "--demo", "--listen", "127.0.0.1:0") as server:
        line = await server.until_said("listening on")
        server.base_url = line.split("listening on ")[1].split(",")[0]
        for model in ("alpha", "bravo"):
            async with server.chat(model) as answer:
                assert answer.status == 200
                assert model in await answer.text()
        server.signal()
        assert await server.ends() == 0


def refuses(base_url: str) -> bool:
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=60)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return True
    finally:
        connection.close()
    return False


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (Address("no.such.host.invalid", 80), "cannot listen on no.such.host.invalid:80: "),
        (Address("a..b", 1), "cannot listen on a..b:1: 'a..b' is no host name"),
        (Address("192.0.2.1", 8080), "cannot listen on 192.0.2.1:8080: Cannot assign requested address"),
    ],
)
async def test_an_address_that_cannot_be_had(address: Address, message: str) -> None:
    with pytest.raises(CannotListenError) as raised:
        listen(address)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("address", "host"),
    [(Address("127.0.0.1", 0), "127.0.0.1"), (Address("", 0), None), (Address("::1", 0), "::1")],
)
async def test_an_address_that_can(address: Address, host: str | None) -> None:
    with listen(address) as listener:
        bound = listener.getsockname()[0]
        assert bound == host or (host is None and bound in {"0.0.0.0", "::"})  # noqa: S104
    assert str(Address("::1", 80)) == "[::1]:80"
