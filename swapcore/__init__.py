"""A pure, I/O-free engine that swaps AI models in and out of hardware too small for all of them.

Facts go in, orders come out. The engine has no clock, no callbacks, no
threads and no sockets; whoever embeds it brings those. The integrator's
duties:

1. Own the engine: call `Engine.handle` from one place, one event at a time,
   with a `now` in seconds that never goes back.
2. Perform the commands that `handle` returns, in their order, before the next
   event is handled. Facts that arrive meanwhile wait their turn.
3. For each caller report `Arrived` with a ticket of its own. Exactly one
   `Forward` or `Reject` answers it, then or later. Whatever happens, report
   `Released` exactly once: write it in a `finally`.
4. For each `Start` bring that run up and report `BecameReady` when it answers.
   Report `Exited` exactly once when it is over and what it held is free, also
   if it could not even be tried. Report `Lost` before that if it died by
   itself and its room is not back yet.
5. For each `Stop` ask that run to end; with `force`, kill it. Callers still
   forwarded to it are to be cut off. Its `Exited` follows.
6. Keep one timer at `Engine.deadline` and report `Tick` when it is reached.
   It changes with every event; a tick too many does nothing.

What it promises in return, whatever happens in whatever order:

1. A run is started only when nothing that is resident has to leave for it.
2. An upstream that serves is never evicted. A lease ends early only by an
   unload, a shutdown, a limit of draining that has passed, or a crash.
3. The tickets of one model, priority and caller (`Arrived.caller`) are let
   through in the order in which they arrived. Different callers of one
   priority take turns; once any who waits for the model is due, all go by
   arrival alone.
4. A model that was brought up serves at least one ticket before it may be
   evicted, unless all who waited for it have left.
5. Each ticket is answered once, and never after its `Released`.
6. Nobody waits longer than `Policy` says.
7. The same events at the same times bring the same commands.

Two models, room for one, and a caller for each:

>>> from swapcore import *
>>> engine = Engine(Catalog([Model("a"), Model("b")]))
>>> engine.handle(Arrived(1, "a"), now=0.0)
(Start(model='a', run=1),)
>>> engine.handle(Arrived(2, "b"), now=1.0)
()
>>> engine.handle(BecameReady("a", 1), now=5.0)
(Forward(ticket=1, model='a', run=1),)
>>> engine.handle(Released(1), now=9.0)  # doctest: +NORMALIZE_WHITESPACE
(Stop(model='a', run=1, reason=<StopReason.EVICT: 'evict'>, force=False, making_room_for='b'),)
>>> engine.handle(Exited("a", 1), now=10.0)
(Start(model='b', run=2),)
>>> engine.handle(BecameReady("b", 2), now=15.0)
(Forward(ticket=2, model='b', run=2),)

`swapcore.testing` has a simulator with a virtual clock to try policies and
test integrations against. `swapcore_http` is a whole server around it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swapcore.catalog import Catalog, Model
    from swapcore.collation import Policy
    from swapcore.commands import Command, Forward, Refusal, Reject, Start, Stop, StopReason
    from swapcore.engine import Engine
    from swapcore.errors import CatalogError, MisuseError, SwapcoreError
    from swapcore.events import (
        Arrived,
        BecameReady,
        CatalogReplaced,
        Event,
        Exited,
        LoadRequested,
        Lost,
        Progressed,
        Released,
        ShutdownRequested,
        Tick,
        UnloadRequested,
        Urgency,
    )
    from swapcore.planning import Plan, Planner, one_at_a_time
    from swapcore.settings import Settings
    from swapcore.snapshot import Phase, Snapshot, TicketView, UpstreamView

__all__ = [
    "Arrived",
    "BecameReady",
    "Catalog",
    "CatalogError",
    "CatalogReplaced",
    "Command",
    "Engine",
    "Event",
    "Exited",
    "Forward",
    "LoadRequested",
    "Lost",
    "MisuseError",
    "Model",
    "Phase",
    "Plan",
    "Planner",
    "Policy",
    "Progressed",
    "Refusal",
    "Reject",
    "Released",
    "Settings",
    "ShutdownRequested",
    "Snapshot",
    "Start",
    "Stop",
    "StopReason",
    "SwapcoreError",
    "Tick",
    "TicketView",
    "UnloadRequested",
    "UpstreamView",
    "Urgency",
    "one_at_a_time",
]

_HOMES = {
    "swapcore.catalog": ("Catalog", "Model"),
    "swapcore.collation": ("Policy",),
    "swapcore.commands": ("Command", "Forward", "Refusal", "Reject", "Start", "Stop", "StopReason"),
    "swapcore.engine": ("Engine",),
    "swapcore.errors": ("CatalogError", "MisuseError", "SwapcoreError"),
    "swapcore.events": (
        "Arrived",
        "BecameReady",
        "CatalogReplaced",
        "Event",
        "Exited",
        "LoadRequested",
        "Lost",
        "Progressed",
        "Released",
        "ShutdownRequested",
        "Tick",
        "UnloadRequested",
        "Urgency",
    ),
    "swapcore.planning": ("Plan", "Planner", "one_at_a_time"),
    "swapcore.settings": ("Settings",),
    "swapcore.snapshot": ("Phase", "Snapshot", "TicketView", "UpstreamView"),
}
"""Where the public names are defined. Each is imported when it is first asked for: whoever needs the
planners alone, to check a configuration, need not wait for the engine."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                from importlib import import_module  # noqa: PLC0415 - only who asks needs it.

                value = globals()[name] = getattr(import_module(home), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
