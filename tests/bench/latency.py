"""How much later comes an answer through the server than from its upstream, at a rate that both can take?"""

from collections import defaultdict
from collections.abc import Iterator

from tests.bench.measure import Figure, figure, percentile
from tests.bench.targets import ALONE, BODY, CHAT, OURS, STREAMED, Options, load, targets

RATE = 500
LIMITS = {"p50": (0.5, 0.35), "p99": (0.99, 2.0), "p99.9": (0.999, None)}
STREAM = f"{CHAT}?count=1&every=0"


def run(options: Options) -> Iterator[Figure]:
    rounds, seconds = (3, 1.0) if options.short else (9, 2.0)
    with targets(options) as servers:
        took: dict[str, list[list[float]]] = defaultdict(list)
        first: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for server in servers:
                order = {"do": "open", "rate": RATE, "seconds": seconds}
                got = load(server, order | {"path": CHAT, "body": BODY})
                took[server.name].append([each * 1000 for each in got["took"]])
                if not options.short:
                    got = load(server, order | {"path": STREAM, "body": STREAMED, "seconds": seconds / 2})
                    first[server.name].append(percentile(got["first"], 0.5) * 1000)
        for name, times in took.items():
            if name == ALONE:
                continue
            for label, (share, limit) in LIMITS.items():
                added = [
                    percentile(ours, share) - percentile(alone, share)
                    for ours, alone in zip(times, took[ALONE], strict=True)
                ]
                title = f"added at {RATE} requests/s, {label}: {name}"
                yield figure(title, added, "ms", limit=limit if name == OURS else None)
        for name, times_to_first in first.items():
            if name != ALONE:
                added = [ours - alone for ours, alone in zip(times_to_first, first[ALONE], strict=True)]
                yield figure(f"added to the first byte of a stream, p50: {name}", added, "ms")
