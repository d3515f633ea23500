"""Runs the benchmarks: `python -m tests.bench --all`, or by name; `--json` for data."""

import argparse
import json
import sys

from tests.bench import engine, solver, startup, swap_lag, warm
from tests.bench.measure import Figure

BENCHES = {
    "engine": engine.run,
    "solver": solver.run,
    "startup": startup.run,
    "swap-lag": swap_lag.run,
    "warm": warm.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(BENCHES)}")
    parser.add_argument("--all", action="store_true", help="all of them")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    options = parser.parse_args()
    names = list(BENCHES) if options.all else options.name
    unknown = set(names) - BENCHES.keys()
    if unknown or not names:
        parser.error(f"name any of {', '.join(BENCHES)}, or give --all")
    figures: list[Figure] = []
    for name in names:
        for figure in BENCHES[name]():
            figures.append(figure)
            if not options.json:
                print(figure, flush=True)
    if options.json:
        print(json.dumps([figure.as_dict() for figure in figures], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
