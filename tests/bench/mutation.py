"""Would the tests of the core see it if the core were wrong?

    pip install '.[mutation]'
    python -m tests.bench.mutation             # every mutant: an hour or more
    python -m tests.bench.mutation --every 5   # one in five
    mutmut show NAME                           # what one of them changes

mutmut makes the mutants, small changes of one function each, and runs the
tables, the stories and the search of tiny worlds against them (`[tool.mutmut]`
in `pyproject.toml` says which). A mutant is killed if a test fails, or does
not end: loops that a mutant makes endless are cut off. What survives is listed.
Of these kinds of survivor no test is missing:

- Words for people, such as `planning.explain._sentence` and `_price`,
  `PlanningError.__init__`, and details of refusals: only what they have to
  name is tested.
- Orders of what is sorted or compared only to be the same each time, such as
  the residents of a planner that does not care (`sort(key=None)`).
- Other positive losses where only their sign counts, such as
  `dict.fromkeys(resident, 2.0)`.
- `state.unsettled` set to `None` or to `False` beside an order that sets it as
  well, and `<` for `<=` where the two moments have the same effect: settling
  once more, or a moment earlier, orders nothing.
- In `Settling._takes`, whom a target ahead has ahead of itself: it changes the
  answer only with three targets and sets that no two of them share.
- In `Search`, the bound by which the search of the matrix ends: it answers the
  same, later; the benchmark of the solver sees that.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

MUTANTS = Path("mutants/swapcore")
SURVIVED = {0, 5, 33}
"""Exit codes of pytest, or of mutmut itself, for mutants that no test noticed."""

UNTRIED = None
TIMEOUTS = {24, 36, 152, 255, -24}


def results() -> dict[str, int | None]:
    """Return the exit code of each mutant that was made, by its name."""
    found: dict[str, int | None] = {}
    for meta in sorted(MUTANTS.rglob("*.meta")):
        found |= json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
    return found


def module_of(name: str) -> str:
    return name.partition(".x")[0].removeprefix("swapcore.")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mutation", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try one mutant in so many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--report", action="store_true", help="only say what the last run found")
    arguments = parser.parse_args()
    if not arguments.report:
        run = ["mutmut", "run", "--max-children", str(arguments.jobs)]
        names: list[str] = []
        if arguments.every > 1:
            # The first run makes all mutants and tries those of the smallest module.
            subprocess.run([*run, "swapcore.learning.*"], env=environment(), check=True)
            names = sorted(results())[:: arguments.every]
        subprocess.run([*run, *names], env=environment(), check=True)
    tally = defaultdict[str, Counter[str]](Counter)
    survivors = list[str]()
    for name, code in results().items():
        if code is UNTRIED:
            continue
        verdict = "survived" if code in SURVIVED else "endless" if code in TIMEOUTS else "failed"
        tally[module_of(name)][verdict] += 1
        if verdict == "survived":
            survivors.append(name)
    for module, counts in [*sorted(tally.items()), ("all", sum(tally.values(), Counter()))]:
        killed = counts["failed"] + counts["endless"]
        share = killed / max(1, counts.total())
        print(
            f"{module:24} {killed:5} of {counts.total():5} killed ({share:.1%}),"
            f" {counts['endless']} of them cut off"
        )
    print("\n".join(["", "survivors:", *survivors]))
    return 0


def environment() -> dict[str, str]:
    return {**os.environ, "SMALL_WORLDS": "tiny"}


if __name__ == "__main__":
    sys.exit(main())
