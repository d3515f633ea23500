"""What becomes of a trace under each policy?

Every policy but strict first-come-first-served is the real engine with other dials, on the virtual
clock of `swapcore.testing`. What happened is read off the simulator's log, never asked of the
engine. The conventions are those of the optimum: nothing is resident at first, a stop begins on
demand and takes its time before the load begins, and the clock starts at second 0 of the trace.
"""

import heapq
import math
from collections.abc import Sequence

from attrs import frozen

from swapcore import Arrived, Catalog, Forward, Model, Planner, Released, Start
from swapcore.collation import Policy
from swapcore.planning import Matrix
from swapcore.testing import Ask, Fate, Simulator, Step
from tests.bench.optimum.suites import Loop, Loops, Trace, World

__all__ = [
    "FIFO",
    "POLICIES",
    "Outcome",
    "Served",
    "first_come_first_served",
    "make_simulator",
    "one_loop_after_the_other",
    "outcome_of",
    "planner_of",
    "simulate",
    "simulate_loops",
]

POLICIES = {
    "ours": Policy(),
    "plain collation": Policy(patience=math.inf, choice="oldest"),
}
"""The engine's dials by the names that the report shows."""

FIFO = "FIFO"


@frozen
class Served:
    """One caller who was served, in seconds of the trace."""

    model: str
    arrived_at: float
    granted_at: float
    ended_at: float

    @property
    def wait(self) -> float:
        return self.granted_at - self.arrived_at


@frozen
class Outcome:
    """What became of a trace."""

    served: tuple[Served, ...]
    swaps: int
    """How many runs were started."""

    @property
    def makespan(self) -> float:
        """When the last service ended."""
        return max(one.ended_at for one in self.served)

    @property
    def total_wait(self) -> float:
        return sum(one.wait for one in self.served)

    def longest_wait(self, model: str | None = None) -> float:
        """Return the longest wait of all, or of one model's callers."""
        return max(one.wait for one in self.served if model in {None, one.model})


def planner_of(world: World) -> Planner:
    """Return the planner for the world's sets, written out in their order."""
    sets = {f"set {place}": " & ".join(some) for place, some in enumerate(world.sets)}
    return Matrix(sets, models=tuple(world.loads))


def make_simulator(world: World, policy: Policy, *, known: bool = False) -> Simulator:
    """Build the engine of that world under that policy, with upstreams that behave.

    If `known`, it is told at the start how long loads take, as after a restart that kept what was measured.
    """
    catalog = Catalog(
        Model(name, concurrency_limit=world.concurrency, expected_load=load if known else None)
        for name, load in world.loads.items()
    )
    fates = {name: Fate(load=load, stop=world.stop) for name, load in world.loads.items()}
    return Simulator(catalog, planner_of(world), fates=fates, policy=policy, check=False)


def simulate(trace: Trace, policy: Policy, *, known: bool = False) -> list[Step]:
    """Return the log of the engine serving that trace."""
    simulator = make_simulator(trace.world, policy, known=known)
    for one in trace.requests:
        simulator.ask(one.model, at=one.at, service=one.service)
    simulator.run()
    return simulator.log


def simulate_loops(loops: Loops, policy: Policy) -> list[Step]:
    """Return the log of the engine serving those agents, who all begin at second 0."""
    simulator = make_simulator(loops.world, policy)
    for loop in loops.loops:
        # The gap after a round is the pause before the next.
        pauses = (0.0, *(one.gap for one in loop.rounds[:-1]))
        asks = zip(pauses, loop.rounds, strict=True)
        simulator.loop([Ask(model=loop.model, after=pause, service=one.service) for pause, one in asks])
    simulator.run()
    return simulator.log


def outcome_of(log: Sequence[Step]) -> Outcome:
    """Read off a log who was served when.

    Raises:
        ValueError: somebody was not served, which no trace here expects.
    """
    arrived: dict[int, Arrived] = {}
    arrived_at: dict[int, float] = {}
    granted_at: dict[int, float] = {}
    ended_at: dict[int, float] = {}
    swaps = 0
    for step in log:
        match step.event:
            case Arrived() as event:
                arrived[event.ticket] = event
                arrived_at[event.ticket] = step.now
            case Released(ticket):
                ended_at[ticket] = step.now
            case _:
                pass
        for command in step.commands:
            match command:
                case Forward(ticket):
                    granted_at[ticket] = step.now
                case Start():
                    swaps += 1
                case _:
                    pass
    unserved = arrived.keys() - (granted_at.keys() & ended_at.keys())
    if unserved:
        raise ValueError(f"not served: tickets {sorted(unserved)}")
    return Outcome(
        tuple(
            Served(arrived[ticket].model, arrived_at[ticket], granted_at[ticket], ended_at[ticket])
            for ticket in arrived
        ),
        swaps,
    )


def first_come_first_served(trace: Trace) -> Outcome:
    """Serve all in strict order of arrival with room for one model, swapping whenever the next needs it."""
    world = trace.world
    served: list[Served] = []
    resident: str | None = None
    in_flight: list[float] = []
    clock = 0.0
    swaps = 0
    for one in trace.requests:
        clock = max(clock, one.at)
        if one.model != resident:
            stop = 0.0 if resident is None else world.stop
            clock = max([clock, *in_flight]) + stop + world.loads[one.model]
            in_flight = []
            resident = one.model
            swaps += 1
        while in_flight and (in_flight[0] <= clock or len(in_flight) == world.concurrency):
            clock = max(clock, heapq.heappop(in_flight))
        heapq.heappush(in_flight, clock + one.service)
        served.append(Served(one.model, one.at, clock, clock + one.service))
    return Outcome(tuple(served), swaps)


def one_loop_after_the_other(loops: Loops) -> float:
    """Return the makespan of serving each agent to its end before the next one begins.

    A yardstick, not an optimum: gaps stay empty, but each model is loaded only once.
    """
    alone = sum(loops.world.loads[loop.model] + _alone(loop) for loop in loops.loops)
    return alone + loops.world.stop * (len(loops.loops) - 1)


def _alone(loop: Loop) -> float:
    # Nobody waits for the gap after the last round.
    return sum(one.service + one.gap for one in loop.rounds) - loop.rounds[-1].gap
