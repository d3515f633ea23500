"""How many requests to a ready model pass in a second, and what do they cost?"""

from collections import defaultdict
from collections.abc import Iterator

from tests.bench.measure import Figure, figure
from tests.bench.targets import ALONE, BODY, CHAT, OURS, PLAIN, Options, load, targets

LEAST = {1: None, 16: 2.2, 64: None, 256: 2.5}
"""Connections, and how many times the plain pass-through's requests should pass."""


def run(options: Options) -> Iterator[Figure]:
    rounds, seconds = (3, 0.5) if options.short else (15, 0.6)
    counts = (16, 256) if options.short else tuple(LEAST)
    with targets(options) as servers:
        for connections in counts:
            rate, cost = defaultdict(list), defaultdict(list)
            for _ in range(rounds):
                for server in servers:
                    order = {"connections": connections, "seconds": seconds, "path": CHAT, "body": BODY}
                    got = load(server, order | {"do": "closed"})
                    rate[server.name].append(got["count"] / got["seconds"])
                    cost[server.name].append(got["cpu"] / got["count"] * 1e6)
            title = f"requests/s, {connections} connections"
            for name in rate:
                if name != OURS:
                    yield figure(f"{title}: {name}", rate[name], "/s")
            yield figure(
                f"{title}: swapcore", rate[OURS], "/s", baseline=rate[PLAIN], least=LEAST[connections]
            )
            for name in cost:
                if name not in {ALONE, OURS}:
                    yield figure(f"CPU per request, {connections} connections: {name}", cost[name], "µs")
            yield figure(
                f"CPU per request, {connections} connections: swapcore",
                cost[OURS],
                "µs",
                baseline=cost[PLAIN],
            )
