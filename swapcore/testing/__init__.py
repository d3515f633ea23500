"""How does a set of models behave under this traffic, without processes and without waiting?

Four modules, all of whose names can be had from here:

- `simulator`: `Simulator`, an engine on a virtual clock among scripted
  upstreams (`Fate`) and callers;
- `arrivals`: traffic to try, from `poisson`, `bursty` or `agent`;
- `report`: `report`, which counts waits, swaps and waste in a log;
- `recorded`: what a journal of a live server tells: `compare` runs it again,
  `traffic_of` takes the traffic out of it, to try it on another engine.

>>> import random
>>> from swapcore import Catalog, Model
>>> world = Simulator(Catalog([Model("a"), Model("b")]), fates={"a": Fate(load=5.0)}, check=False)
>>> world.traffic(poisson(random.Random(1), rate=0.5, weights={"a": 3, "b": 1}, count=100))
>>> world.run()
>>> report(world.log).waits.count
100
"""

from swapcore.journal import Step
from swapcore.testing.arrivals import Ask, Chance, Phase, agent, bursty, poisson
from swapcore.testing.recorded import Comparison, Difference, Traffic, compare, traffic_of
from swapcore.testing.report import Report, Waits, report
from swapcore.testing.simulator import Caller, Fate, Simulator, TooManyStepsError, replay

__all__ = [
    "Ask",
    "Caller",
    "Chance",
    "Comparison",
    "Difference",
    "Fate",
    "Phase",
    "Report",
    "Simulator",
    "Step",
    "TooManyStepsError",
    "Traffic",
    "Waits",
    "agent",
    "bursty",
    "compare",
    "poisson",
    "replay",
    "report",
    "traffic_of",
]
