"""Is anything lost, wedged or leaked while everything goes wrong at once?

    python -m tests.bench.soak --minutes 10

`swapcore-http serve --watch-config` serves five models of which two fit, and a
sixth that comes and goes. Hundreds of clients ask for them and hang up at
random moments; upstreams are killed, crash, ignore SIGTERM and fork; the
configuration is edited every few seconds, well and badly; models are unloaded.

Every answer is checked: it is that of the model and of the request, and whole,
or it says or shows that it is not. From time to time everything pauses. Then
nobody may wait or be served, nothing may run but the server and its watchdog,
and the server's memory and descriptors are compared with those of the pauses
before.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
from attrs import define, field

from tests.bench.measure import ROOT, serve_command
from tests.bench.soaking.asking import COOLING, Ask, Leave, Verdict, Wire, perform, some_ask
from tests.bench.soaking.faults import Faults
from tests.bench.soaking.scene import Scene, Written, flags, until
from tests.http.processes import mark, strays

PATIENCE = 90.0
"""Seconds after which a request without an answer, or a server that does not come to rest, is wedged."""

PAUSES = 10
"""How often everything pauses, if that leaves `APART` seconds between the pauses."""

APART = 6.0

THINKING = 1.0
"""Seconds between two requests of a client, on the average."""

KEEPS = 0.7
"""How many clients keep their connection after an answer."""

WARM_UP = 150.0
"""Seconds in which memory grows because buffers and records fill up; only then it is compared."""

MORE_MEMORY = 8.0, 0.05
"""What memory may grow by from the middle of the rest to its end: MB, and the share of what it was."""

MOST_MEMORY = 200.0
"""MB that the server may have, however long it runs."""

MORE_DESCRIPTORS = 2

SHOWN = 10
"""How many of each thing that went wrong are printed."""


@define
class Soak:
    """The run so far."""

    scene: Scene
    faults: Faults
    seed: int
    verdicts: Counter[Verdict] = field(factory=Counter)
    statuses: Counter[str] = field(factory=Counter)
    left: Counter[str] = field(factory=Counter)
    """When clients hung up."""

    lost: list[str] = field(factory=list)
    wedged: list[str] = field(factory=list)
    memory: list[float] = field(factory=list)
    """In each pause, MB."""

    descriptors: list[int] = field(factory=list)
    paused_at: list[float] = field(factory=list)
    """Seconds after the start."""

    begun: float = field(factory=time.monotonic)
    resting: asyncio.Event = field(factory=asyncio.Event)
    """Whether everything is to come to rest."""

    asking: int = 0
    """Clients that are asking just now."""

    async def client(self, number: int) -> None:
        """Ask again and again."""
        chance = random.Random(f"{self.seed} {number}")
        wire: Wire | None = None
        models = tuple(flags(self.faults.written.folder))
        asked = 0
        while True:
            if await self.rests_within(chance.expovariate(1 / THINKING)):
                if wire is not None:
                    await wire.close()
                    wire = None
                await self.faults.going.wait()
            self.asking += 1
            ask = some_ask(chance, models)
            try:
                asked += 1
                wire = await self.ask(wire, ask, f"{number}-{asked}")
            finally:
                self.asking -= 1
            if wire is not None and chance.random() > KEEPS:
                await wire.close()
                wire = None

    async def rests_within(self, seconds: float) -> bool:
        """Wait so long, or until everything is to rest, and tell whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.resting.wait()
        return self.resting.is_set()

    async def ask(self, wire: Wire | None, ask: Ask, tag: str) -> Wire | None:
        """Ask once, and note what came of it; returns the connection if it is still good."""
        verdict, about = Verdict.STALE, ""
        while verdict is Verdict.STALE:
            try:
                if wire is None:
                    wire = await Wire.open(self.scene.port)
                async with asyncio.timeout(PATIENCE):
                    verdict, about = await perform(wire, ask, tag)
            except TimeoutError:
                self.wedged.append(f"no answer after {PATIENCE:g} s: {ask}")
                verdict = Verdict.LOST
            except OSError as error:
                verdict, about = Verdict.LOST, f"no connection: {error!r}"
            if wire is not None and wire.reusable:
                wire.state.start_next_cycle()
            elif wire is not None:
                await wire.close(rudely=ask.rudely and verdict is Verdict.GONE)
                wire = None
        self.note(ask, verdict, about)
        return wire

    def note(self, ask: Ask, verdict: Verdict, about: str) -> None:
        self.verdicts[verdict] += 1
        if verdict is Verdict.LOST:
            self.lost.append(about)
            print(f"lost: {about}", file=sys.stderr, flush=True)
        elif verdict is Verdict.GONE:
            if about == Leave.WAITING:
                about = "while loading" if self.scene.states.get(ask.model) == "starting" else "while queued"
            self.left[about] += 1
        else:
            self.statuses[about if verdict is not Verdict.BROKEN else f"{about}, broken off"] += 1
            if about == COOLING:
                self.scene.refused.add(ask.model)
            if ask.die_after is not None:
                self.faults.injected["upstream crashes in a request"] += 1

    async def look(self) -> None:
        """Keep an eye on the server."""
        while True:
            await self.scene.look()
            status, said = await self.scene.get("/api/health")
            if status != 200:
                self.wedged.append(f"not healthy: {said}")
            await asyncio.sleep(0.2)

    async def listen(self) -> None:
        """Read the log, which no reload ends."""
        url = f"http://127.0.0.1:{self.scene.port}/logs/stream"
        async with self.scene.client.get(url, timeout=aiohttp.ClientTimeout(None)) as answer:
            async for _ in answer.content.iter_chunked(65536):
                pass
        self.lost.append("the stream of the log ended")

    async def pause(self) -> None:
        """Have everything come to rest, and see what is left."""
        faults, scene = self.faults, self.scene
        faults.going.clear()
        self.resting.set()
        if not await until(lambda: not self.asking and not faults.at_it, PATIENCE):
            self.wedged.append(f"{self.asking} requests do not end")
        faults.written.failing.clear()
        faults.written.write(faults.written.text())
        await scene.post("/api/config/reload")
        await scene.post("/api/models/unload")
        rested = time.monotonic() + PATIENCE
        callers, others = await scene.callers(), scene.others()
        while callers or scene.states or others:
            if time.monotonic() > rested:
                self.wedged.append(
                    f"at rest there are callers {callers}, runs {scene.states}, processes {others}"
                )
                break
            await asyncio.sleep(0.1)
            await scene.look()
            callers, others = await scene.callers(), scene.others()
        await asyncio.sleep(0.5)
        self.descriptors.append(min([await self.count_descriptors() for _ in range(10)]))
        self.paused_at.append(time.monotonic() - self.begun)
        self.memory.append(scene.server.memory_info().rss / 1e6)
        self.resting.clear()
        faults.going.set()

    async def count_descriptors(self) -> int:
        await asyncio.sleep(0.05)
        return self.scene.server.num_fds()

    def grown(self) -> list[str]:
        """Say what has grown, or is too much."""
        found = []
        if max(self.memory) > MOST_MEMORY:
            found.append(f"memory, to {max(self.memory):.1f} MB")
        warm = [memory for memory, at in zip(self.memory, self.paused_at, strict=True) if at > WARM_UP]
        if len(warm) >= PAUSES // 2:
            third = len(warm) // 3
            before, after = statistics.median(warm[third : 2 * third]), statistics.median(warm[-third:])
            base, share = MORE_MEMORY
            if after > before * (1 + share) + base:
                found.append(f"memory, from {before:.1f} to {after:.1f} MB")
        if self.descriptors[-1] > self.descriptors[0] + MORE_DESCRIPTORS:
            found.append(f"descriptors, from {self.descriptors[0]} to {self.descriptors[-1]}")
        return found


async def run(soak: Soak, clients: int, seconds: float) -> None:
    pauses = max(3, min(PAUSES, int(seconds / APART)))
    async with asyncio.TaskGroup() as tasks:
        work = [soak.client(number) for number in range(clients)]
        work += [*soak.faults.going_on(), soak.look(), soak.listen()]
        meanwhile = [tasks.create_task(each) for each in work]
        soak.faults.going.set()
        for number in range(pauses):
            await asyncio.sleep(seconds / pauses)
            await soak.pause()
            print(
                f"pause {number + 1}: {sum(soak.verdicts.values())} requests, "
                f"{soak.memory[-1]:.1f} MB, {soak.descriptors[-1]} descriptors",
                file=sys.stderr,
                flush=True,
            )
        for task in meanwhile:
            task.cancel()


@define
class Program:
    """The server, and where it leaves things."""

    folder: Path
    log: Path
    marked: str
    written: Written
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder: Path, log: Path) -> "Program":
        written = Written(folder)
        written.write(written.text())
        marked = mark()
        name, _, value = marked.partition("=")
        (folder / "temporary").mkdir()
        with log.open("wb") as output:
            process = subprocess.Popen(
                (*serve_command(written.path, port=0), "--watch-config"),
                cwd=ROOT,
                env=os.environ
                | {name: value}
                | dict.fromkeys(("XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(folder))
                | {"TMPDIR": str(folder / "temporary")},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return cls(folder, log, marked, written, process)

    async def port(self) -> int:
        """Wait until it says where it listens: a port that is asked for could be another's by then."""
        said = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
        while (found := said.search(self.said())) is None:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended at once: {self.said()}")
            await asyncio.sleep(0.02)
        return int(found[1])

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def left(self) -> list[str]:
        """List the temporary files that there are."""
        return [str(path) for path in (self.folder / "temporary").rglob("*") if path.is_file()]

    def kill(self) -> None:
        """End it and all that it has started, whatever state they are in."""
        if self.process.poll() is None:
            self.process.kill()
        for pid in strays(self.marked):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def soaked(program: Program, options: argparse.Namespace, seed: int) -> bool:
    """Run it, print what there is to say, and tell whether all is well."""
    # No connection of ours is to be taken for a leak of the server.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(PATIENCE)) as client:
        server = psutil.Process(program.process.pid)
        scene = Scene(await program.port(), server, program.marked, client)
        soak = Soak(scene, Faults(scene, program.written, random.Random(seed)), seed)
        await run(soak, options.clients, options.minutes * 60)
    program.process.send_signal(signal.SIGTERM)
    status = await asyncio.to_thread(program.process.wait, PATIENCE)
    await until(lambda: not strays(program.marked), 5)
    return report(soak, program, status)


def report(soak: Soak, program: Program, status: int) -> bool:
    injected = soak.faults.injected + Counter({f"client left {what}": n for what, n in soak.left.items()})
    print(f"seed {soak.seed}; requests: {soak.verdicts.total()}")
    for verdict, count in sorted(soak.verdicts.items()):
        print(f"  {verdict}: {count}")
    print("  by status: " + ", ".join(f"{what}: {count}" for what, count in sorted(soak.statuses.items())))
    print(f"faults injected: {injected.total()}")
    for fault, count in sorted(injected.items()):
        print(f"  {fault}: {count}")
    for what, numbers in (("memory, MB", soak.memory), ("descriptors", soak.descriptors)):
        print(
            f"{what}: {numbers[0]:.4g} → {numbers[-1]:.4g} ({', '.join(f'{each:.4g}' for each in numbers)})"
        )
    wrong: dict[str, Sequence[object]] = {
        "lost": soak.lost,
        "wedged": soak.wedged,
        "wrong answers to operators": soak.faults.wrong,
        "grown": soak.grown(),
        "orphans": strays(program.marked),
        "files left": program.left(),
        "tracebacks in the log": re.findall("Traceback.*", program.said()),
    }
    for what, each in wrong.items():
        print(f"{what}: {len(each)}")
        for one in each[:SHOWN]:
            print(f"  {one}")
    print(f"exit status of the server: {status}")
    return not any(wrong.values()) and status == 0 and soak.verdicts[Verdict.WHOLE] > 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="for the same choices again")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep the server's log there")
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as folder:
        program = Program.start(Path(folder), options.log or Path(folder, "log"))
        try:
            return 0 if asyncio.run(soaked(program, options, seed)) else 1
        finally:
            program.kill()


if __name__ == "__main__":
    sys.exit(main())
