"""The driver inside someone else's server: here a TCP server that shouts or whispers what it is sent.

The "models" are objects in this process, so a launcher is only a coroutine
that makes one and waits until it has to go. Run it: `python examples/embed_anyio.py`.
"""

import functools
import time
from collections.abc import Callable

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from swapcore import Catalog, Engine, Model, Start
from swapcore_http.driver import Control, Driver, RefusedError

MODELS: dict[str, Callable[[str], str]] = {"shout": str.upper, "whisper": str.lower}


class Server:
    """Answers lines of the form `model text`."""

    def __init__(self) -> None:
        self.loaded: dict[int, Callable[[str], str]] = {}

    async def launch(self, start: Start, control: Control) -> str:
        """One run of one model: load it, say it is ready, keep it until told to stop."""
        await anyio.sleep(0.05)  # Loading weights would be awaited here.
        self.loaded[start.run] = MODELS[start.model]
        control.ready(f"memory:{start.run}")
        await control.stopping.wait()
        del self.loaded[start.run]
        return "unloaded"

    async def answer(self, driver: Driver, client: anyio.abc.ByteStream) -> None:
        """Answer one client, line by line."""
        async with client:
            lines = BufferedByteReceiveStream(client)
            try:
                while True:
                    model, _, text = (await lines.receive_until(b"\n", 1000)).decode().partition(" ")
                    try:
                        async with driver.lease(model) as lease:
                            reply = self.loaded[lease.run](text)
                    except RefusedError as refused:
                        reply = f"refused: {refused}"
                    await client.send(f"{reply}\n".encode())
            except (anyio.IncompleteRead, anyio.BrokenResourceError):
                pass  # The client has gone.


async def main() -> None:
    """Serve, and be three clients of it for a moment."""
    server = Server()
    engine = Engine(Catalog(Model(name) for name in MODELS))
    async with Driver(engine, server.launch) as driver, anyio.create_task_group() as tasks:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)

        async def serve() -> None:
            async with listener:
                await listener.serve(functools.partial(server.answer, driver))

        tasks.start_soon(serve)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio, not Django.
        begun = time.monotonic()

        async def ask(line: str) -> None:
            async with await anyio.connect_tcp("127.0.0.1", port) as client:
                await client.send(f"{line}\n".encode())
                answer = await BufferedByteReceiveStream(client).receive_until(b"\n", 1000)
                print(f"{time.monotonic() - begun:.2f} s  {line!r} -> {answer.decode()!r}")

        async with anyio.create_task_group() as clients:
            for line in ("shout Hello", "whisper Hello", "shout Bye", "mumble Hello"):
                clients.start_soon(ask, line)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
