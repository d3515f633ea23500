"""The engine in twenty lines: a batch job that holds one model at a time, with no event loop.

Run it: `python examples/embed_sync.py`. Jobs for a b c a b c load each model once.
"""

import time
from collections.abc import Callable, Sequence

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    Engine,
    Event,
    Exited,
    Forward,
    Model,
    Reject,
    Released,
    Start,
    Stop,
)

Job = tuple[str, Callable[[str], None]]


def run_all(jobs: Sequence[Job], load: Callable[[str], None], unload: Callable[[str], None]) -> None:
    """Run all jobs, each with its model loaded, and no two models loaded at a time."""
    engine = Engine(Catalog(Model(name) for name in dict.fromkeys(model for model, _ in jobs)))
    inbox: list[Event] = [Arrived(ticket, model) for ticket, (model, _) in enumerate(jobs)]
    while inbox:
        for command in engine.handle(inbox.pop(0), time.monotonic()):
            match command:
                case Start(model, run):
                    load(model)
                    inbox.append(BecameReady(model, run))
                case Stop(model, run):
                    unload(model)
                    inbox.append(Exited(model, run))
                case Forward(ticket, model):
                    jobs[ticket][1](model)
                    inbox.append(Released(ticket))
                case Reject(ticket, refusal):
                    print(f"job {ticket} was refused: {refusal.value}")
                    inbox.append(Released(ticket))


if __name__ == "__main__":
    run_all(
        [(model, lambda model: print(f"  a job with {model}")) for model in "abcabc"],
        load=lambda model: print(f"load {model}"),
        unload=lambda model: print(f"unload {model}"),
    )
