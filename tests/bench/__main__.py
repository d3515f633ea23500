"""Runs the benchmarks: `python -m tests.bench --all`, or by name; `--json` for data."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator

from tests.bench import (
    config,
    engine,
    inside,
    latency,
    memory,
    recording,
    requests,
    solver,
    startup,
    streaming,
    swapping,
    transfer,
)
from tests.bench.measure import Figure
from tests.bench.targets import Options

BENCHES: dict[str, Callable[[Options], Iterator[Figure]]] = {
    "config": config.run,
    "engine": engine.run,
    "solver": solver.run,
    "startup": startup.run,
    "requests": requests.run,
    "inside": inside.run,
    "latency": latency.run,
    "streaming": streaming.run,
    "transfer": transfer.run,
    "swapping": swapping.run,
    "memory": memory.run,
    "recording": recording.run,
}
SHORT = ("engine", "inside", "requests", "latency", "streaming")
"""Those of the short suite."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(BENCHES)}")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--short", action="store_true", help=f"within a minute: {', '.join(SHORT)}")
    parser.add_argument(
        "--against",
        default="",
        metavar="COMMAND",
        help="one server more, such as 'llama-swap -listen 127.0.0.1:{port} -config {config}', beside ours "
        "in requests, latency, streaming, transfer, swapping and startup; it has to answer GET /health",
    )
    options = parser.parse_args()
    if options.against and "{port}" not in options.against:
        parser.error("--against needs {port}: where the server is to listen")
    names = options.name or (list(SHORT) if options.short else list(BENCHES) if options.all else [])
    unknown = set(names) - BENCHES.keys()
    if unknown or not names:
        parser.error(f"name any of {', '.join(BENCHES)}, or give --all or --short")
    figures: list[Figure] = []
    for name in names:
        for figure in BENCHES[name](Options(options.against, options.short)):
            figures.append(figure)
            if not options.json:
                print(figure, flush=True)
    if options.json:
        print(json.dumps([figure.as_dict() for figure in figures], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
