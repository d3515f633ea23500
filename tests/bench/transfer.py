"""How fast do 100 MB pass, each way?"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.bench.measure import Figure, figure
from tests.bench.targets import OURS, PLAIN, Options, load, targets

SIZE = 100_000_000


def run(options: Options) -> Iterator[Figure]:
    rounds = 5
    ways: dict[str, dict[str, Any]] = {
        "download": {"do": "get", "path": f"/upstream/a/bytes?count={SIZE}"},
        "upload": {"do": "put", "path": "/upstream/a/sink", "bytes": SIZE},
    }
    with targets(options) as servers:
        for way, order in ways.items():
            speed, cost = defaultdict(list), defaultdict(list)
            for _ in range(rounds):
                for server in servers:
                    got = load(server, order)
                    speed[server.name].append(SIZE / got["seconds"] / 1e6)
                    cost[server.name].append(got["cpu"] * 1000)
            for name in speed:
                if name != OURS:
                    yield figure(f"{way} of 100 MB: {name}", speed[name], "MB/s")
            yield figure(f"{way} of 100 MB: swapcore", speed[OURS], "MB/s", baseline=speed[PLAIN])
            yield figure(f"CPU of that {way}: swapcore", cost[OURS], "ms", baseline=cost[PLAIN])
