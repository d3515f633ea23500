"""What does an event of a stream cost, and how long is it held back?

The cost is that of events alone, while all streams flow: what a request costs, `requests` shows. Each
stream is recorded, as chats are.
"""

from collections import defaultdict
from collections.abc import Iterator

from tests.bench.measure import Figure, figure, percentile
from tests.bench.targets import ALONE, CHAT, OURS, PLAIN, STREAMED, Options, load, targets

STREAMS = {1: 0.002, 16: 0.01, 64: 0.03, 256: 0.1}
"""Streams at once, and seconds between the events of each: such that the upstream can send each by itself."""


def run(options: Options) -> Iterator[Figure]:
    rounds, seconds = (3, 0.8) if options.short else (7, 2.0)
    counts = (64,) if options.short else tuple(STREAMS)
    with targets(options) as servers:
        for connections in counts:
            every = STREAMS[connections]
            cost, rate = defaultdict(list), defaultdict(list)
            late: dict[str, list[float]] = defaultdict(list)
            for _ in range(rounds):
                for server in servers:
                    path = f"{CHAT}?count={int(seconds / every)}&every={every}"
                    order = {"do": "streams", "connections": connections, "path": path, "body": STREAMED}
                    got = load(server, order)
                    cost[server.name].append(got["cpu"] / got["count"] * 1e6)
                    rate[server.name].append(got["count"] / got["seconds"])
                    late[server.name].append(percentile(got["held"], 0.99) * 1000)
            title = f"{connections} streams"
            yield figure(f"events/s, {title}: swapcore", rate[OURS], "/s", baseline=rate[ALONE])
            for name in cost:
                if name not in {ALONE, OURS}:
                    yield figure(f"CPU for a million events, {title}: {name}", cost[name], "s")
            yield figure(
                f"CPU for a million events, {title}: swapcore",
                cost[OURS],
                "s",
                baseline=cost[PLAIN],
                limit=0.6,
            )
            for name, times in late.items():
                if name != ALONE:
                    held = [ours - alone for ours, alone in zip(times, late[ALONE], strict=True)]
                    limit = 1.0 if name == OURS and connections == 64 else None
                    yield figure(f"an event is held back, p99, {title}: {name}", held, "ms", limit=limit)
