"""Compares the policies with the exact optimum: `python -m tests.bench.optimum`.

Everything is computed anew in a few minutes on two cores; nothing is read from a cache.
"""

import argparse
import json
import sys

from tests.bench.optimum.report import SUITES, Row, measure


def show(row: Row) -> str:
    """Return one line: mean ± standard error of each figure, and the worst seed."""
    cells = [
        f"{name} {stat.mean:.3f} ± {stat.error:.3f} (worst {stat.worst:.3f})"
        if row.seeds > 1
        else f"{name} {stat.mean:.3f}"
        for name, stat in row.figures.items()
    ]
    line = f"  {row.policy:<30} {'  '.join(cells)}"
    for name, limit in row.to_reach.items():
        line += f"\n  {'':<30} {'missed' if name in row.missed() else 'reached'}: {name} ≤ {limit:g}"
    return line


def main() -> int:
    """Run the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.optimum", description=__doc__)
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this one; may be repeated")
    parser.add_argument("--seeds", type=int, help="seeds 0 to N-1 instead of what each suite is defined for")
    parser.add_argument("--jobs", type=int, default=2, help="processes to measure with (default: 2)")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.suite or SUITES:
        shown = ""
        for row in measure(name, options.seeds, options.jobs):
            rows.append(row)
            if not options.json:
                if shown != row.case:
                    print(f"{name}: {row.case}, {row.seeds} seed{'s' * (row.seeds > 1)}")
                    shown = row.case
                print(show(row), flush=True)
    if options.json:
        print(json.dumps([row.as_dict() for row in rows], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
