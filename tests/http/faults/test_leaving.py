"""T-15, T-17, T-38: clients leave at any point; nothing of them stays, and nobody else is held up."""

import json
import socket
import struct

import anyio
import pytest

from swapcore import Phase
from tests.http.serving import Answer, Served, Wire, fake, serving

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


async def leave(wire: Wire, how: str) -> None:
    """Hang up, in order or with a reset."""
    if how == "reset":
        sock = wire.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.writer.close()


def stream(model: str, **knobs: object) -> dict[str, object]:
    return {"model": model, "stream": True, "fake": knobs}


async def leave_in_the_body(served: Served, wire: Wire, how: str) -> None:
    body = json.dumps({"model": "a"}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 900\r\n"
    await wire.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
    await wire.head()
    await wire.send(body)
    await leave(wire, how)


async def leave_while_loading(served: Served, wire: Wire, how: str) -> None:
    await wire.post(CHAT, stream("loading"))
    await served.until_phase("loading", Phase.STARTING)
    await served.until_waiting("loading")
    await leave(wire, how)


async def leave_while_queued(served: Served, wire: Wire, how: str) -> None:
    async with Wire.to(served) as first:
        await first.post(CHAT, stream("a", gate="never"))
        await served.events_once_leased("a", "request")
        await wire.post(CHAT, stream("a"))
        await served.until_waiting("a")
        await leave(wire, how)
        await served.until_waiting("a", 0)
        # Who has the place keeps it.
        assert served.view("a").leases == 1


async def leave_while_the_upstream_reads(served: Served, wire: Wire, how: str) -> None:
    await wire.post("/upstream/a/echo", b"x" * 3_000_000, "X-Fake-Read-Gate: never")
    await served.events_once_leased("a", "request")
    await leave(wire, how)


async def leave_before_the_head(served: Served, wire: Wire, how: str) -> None:
    await wire.post(CHAT, {"model": "a", "fake": {"gate": "never"}})
    await served.events_once_leased("a", "request")
    await leave(wire, how)
    await served.events("a", "disconnect")


async def leave_after_the_head(served: Served, wire: Wire, how: str) -> None:
    await wire.post(CHAT, stream("a", gate="never"))
    await served.events_once_leased("a", "request")
    await wire.head()
    await leave(wire, how)
    await served.events("a", "disconnect")


async def leave_mid_stream(served: Served, wire: Wire, how: str) -> None:
    await wire.post(CHAT, stream("a", gate="go", chunks=5))
    await served.events_once_leased("a", "request")
    await served.open_gate("a", "go", 2)
    await wire.head()
    assert b"w0" in await wire.chunk()
    await leave(wire, how)
    await served.events("a", "disconnect")


async def leave_without_reading(served: Served, wire: Wire, how: str) -> None:
    await wire.post("/upstream/a/stream?bytes=50000000", b"")
    await served.events_once_leased("a", "request")
    await wire.head()
    await leave(wire, how)
    await served.events("a", "disconnect")


async def leave_after_the_answer(served: Served, wire: Wire, how: str) -> None:
    await wire.post(CHAT, stream("a"))
    await wire.head()
    assert (await wire.chunks())[-1].endswith(b"data: [DONE]\n\n")
    await leave(wire, how)


@pytest.mark.parametrize("how", ["in order", "reset"])
@pytest.mark.parametrize(
    "point",
    [
        leave_in_the_body,
        leave_while_loading,
        leave_while_queued,
        leave_while_the_upstream_reads,
        leave_before_the_head,
        leave_after_the_head,
        leave_mid_stream,
        leave_without_reading,
        leave_after_the_answer,
    ],
)
async def test_t15_t38_no_lease_is_left_over_wherever_a_client_leaves(point: object, how: str) -> None:
    loading = fake("loading", flags={"health_503": True, "never_ready": True})
    async with serving(fake("a", concurrency_limit=1), loading) as served, Wire.to(served) as wire:
        assert callable(point)
        await point(served, wire, how)
        await served.until_idle()
        # The one place is free again.
        status, _, _ = await served.chat("a")
        assert status == 200


async def test_t17_a_waiter_who_leaves_takes_nobody_along() -> None:
    async with serving(fake("a", concurrency_limit=1)) as served:
        answers: list[Answer] = []

        async def ask(**knobs: object) -> None:
            answers.append(await served.chat("a", **knobs))

        async with anyio.create_task_group() as tasks, Wire.to(served) as wire:
            tasks.start_soon(lambda: ask(gate="go"))
            await served.events_once_leased("a", "request")
            await wire.post(CHAT, {"model": "a"})
            await served.until_waiting("a", 1)
            tasks.start_soon(ask)
            await served.until_waiting("a", 2)
            await leave(wire, "reset")
            await served.until_waiting("a", 1)
            await served.open_gate("a", "go")
        assert [status for status, _, _ in answers] == [200, 200]


async def test_a_load_that_everyone_has_left_makes_room() -> None:
    """What took llama-swap 8.6 s."""
    loading = fake("loading", flags={"health_503": True, "never_ready": True})
    async with serving(fake("a"), loading) as served:
        async with Wire.to(served) as wire:
            await wire.post(CHAT, {"model": "loading"})
            await served.until_phase("loading", Phase.STARTING)
            await leave(wire, "in order")
            await served.until_waiting("loading", 0)
        status, _, _ = await served.chat("a")
        assert status == 200
        assert served.view("loading").phase is Phase.STOPPED


async def test_a_burst_at_a_model_that_loads_is_served_to_the_last(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Of which llama-swap answers five with a 429."""
    go = tmp_path_factory.mktemp("load") / "go"
    async with serving(fake("a", flags={"load_until": go})) as served:
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await served.chat("a"))

        async with anyio.create_task_group() as tasks:
            for _ in range(15):
                tasks.start_soon(ask)
            await served.until_waiting("a", 15)
            go.touch()
        assert [status for status, _, _ in answers] == [200] * 15
