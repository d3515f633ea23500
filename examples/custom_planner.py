"""A planner of one's own, in under 30 lines: models of different sizes share a memory.

Run it: `python examples/custom_planner.py`. Anything that can be called like `Planner` will do. It goes to
`Engine(catalog, planner)`, or here to a `Simulator`, which has such an engine.
"""

from collections.abc import Mapping, Sequence

from attrs import frozen

from swapcore import Catalog, Model, Plan, Start, Stop
from swapcore.testing import Fate, Simulator


@frozen
class Budget:
    """Keeps what is dearest to lose, as far as it fits beside the target."""

    sizes: Mapping[str, float]
    memory: float

    def __call__(self, target: str, resident: Sequence[str], loss: Mapping[str, float], /) -> Plan:
        """Plan for the target; the same arguments always give the same plan."""
        stays = [target]
        # What may not leave is infinitely dear and comes first; what is leaving already comes last.
        for model in sorted(resident, key=lambda model: loss[model], reverse=True):
            if model != target and sum(self.sizes[one] for one in (*stays, model)) <= self.memory:
                stays.append(model)
        evict = tuple(model for model in resident if model not in stays)
        return Plan(target, evict, tuple(stays), cost=sum(loss[model] for model in evict))


if __name__ == "__main__":
    sizes = {"voice": 2, "chat": 6, "code": 8, "large": 16}
    loads = {"voice": 3, "chat": 10, "code": 12, "large": 40}
    world = Simulator(
        Catalog(Model(name) for name in sizes),
        Budget(sizes, memory=24),
        fates={name: Fate(load=seconds, stop=1) for name, seconds in loads.items()},
    )
    for at, name in enumerate(["voice", "chat", "code", "large", "chat", "voice"]):
        world.ask(name, at=at * 100, service=20)
    world.run()
    for step in world.log:
        for command in step.commands:
            match command:
                case Start(model):
                    print(f"{step.now:4.0f} s: load {model}, {sizes[model]} GB")
                case Stop(model, making_room_for=target):
                    print(f"{step.now:4.0f} s: unload {model} to make room for {target}")
