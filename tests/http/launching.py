"""How do tests make runs with the launcher, without a driver, and look at what it reports?"""

import json
import logging
import socket
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest
from anyio import to_thread
from attrs import evolve

from swapcore import BecameReady, Event, Progressed, Start, Stop, StopReason
from swapcore_http.config import Config, ModelConfig
from swapcore_http.driver import Control, Driver
from swapcore_http.launcher import process_launch
from swapcore_http.ports import Ports
from tests.http.fake_upstream import command
from tests.http.processes import mark, open_files, strays, until


class Recorder:
    """Stands in for the driver: notes what is reported, and when asked looks around at that moment."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.at_report: Callable[[Event], None] = lambda _: None
        self._on_leaving: list[Callable[[str], None]] = []
        self._news = anyio.Event()

    def report(self, event: Event) -> None:
        self.events.append(event)
        self.at_report(event)
        self._news.set()
        self._news = anyio.Event()

    async def wait_for(self, kind: type[Event]) -> Any:
        with anyio.fail_after(60):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                await self._news.wait()

    def but_progress(self) -> list[Event]:
        return [event for event in self.events if not isinstance(event, Progressed)]


class Run:
    """One call of `launch`, as the driver would make it."""

    def __init__(self, model: ModelConfig) -> None:
        self.recorder = Recorder()
        self.control = Control(model=model.id, run=1, driver=cast(Driver, self.recorder))
        self.detail: str | None = None
        self.over = anyio.Event()

    @property
    def url(self) -> str:
        assert self.control._url is not None
        return self.control._url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def ready(self) -> None:
        await self.recorder.wait_for(BecameReady)

    def stop(self, reason: StopReason = StopReason.EVICT, *, force: bool = False) -> None:
        self.control._told(Stop("m", 1, reason, force))

    async def end(self) -> str:
        with anyio.fail_after(60):
            await self.over.wait()
        assert self.detail is not None
        return self.detail

    async def get(self, path: str) -> Any:
        def ask() -> Any:
            with urllib.request.urlopen(self.url + path, timeout=60) as answer:  # noqa: S310 - our own URL.
                return json.load(answer)

        return await to_thread.run_sync(ask)


class Launcher:
    """Makes runs of models whose processes all carry a mark."""

    def __init__(self, marked: str) -> None:
        self.marked = marked
        self.ports = Ports()
        self.models: dict[str, ModelConfig] = {}
        self.launch = process_launch(lambda name: self.models[name], ports=self.ports)

    def model(self, name: str = "m", **settings: Any) -> ModelConfig:
        """Take a model up as the configuration does, so that its port is numbered."""
        settings["env"] = (self.marked, *settings.get("env", ()))
        model = Config(models=[ModelConfig(name, **settings)]).models[name]
        if model.port is not None:
            # Not from where a server may be running on the same machine.
            model = evolve(model, port=free_port())
        self.models[name] = model
        return model

    @asynccontextmanager
    async def run(self, model: ModelConfig | None = None, **settings: Any) -> AsyncIterator[Run]:
        model = model or self.model(**settings)
        run = Run(model)

        async def live() -> None:
            run.detail = await self.launch(Start(model.id, 1), run.control)
            run.over.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(live)
            yield run
            tasks.cancel_scope.cancel()

    def upstream(self, **flags: object) -> str:
        return command(port="${PORT}", name="m", **flags)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[Launcher]:
    """Give a launcher, and look in the end that it has left no process and no open file."""
    files = open_files()
    launcher = Launcher(mark())
    yield launcher
    assert strays(launcher.marked) == []
    await until(lambda: open_files() <= files)


def listener(caplog: pytest.LogCaptureFixture) -> Callable[[str], bool]:
    """Make a function that tells whether an upstream or the launcher has said something."""
    caplog.set_level(logging.DEBUG, "swapcore_http.upstream")
    caplog.set_level(logging.DEBUG, "swapcore_http.launcher")
    return lambda text: text in caplog.text
