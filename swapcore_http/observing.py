"""Who hears of each step of the engine, and of which not?

Most steps are callers who come for a model that is up and are let through at
once, and their leaving: only who wants to hear everything hears of those.
"""

from collections.abc import Callable

from attrs import define, field, frozen

from swapcore import Arrived, Command, Event, Forward, Released

__all__ = ["Observation", "Observers"]


@frozen
class Observation:
    """One step of the engine, for logs, metrics and journals."""

    now: float
    event: Event
    commands: tuple[Command, ...]


@define(eq=False, repr=False)
class Observers:
    """Those who hear of the steps of one engine."""

    everything: Callable[[Observation], None] | None
    """Hears of every step, before all others."""

    also_passing: Callable[[], bool] | None = None
    """Whether it wants at present to hear of callers whom watchers do not hear of; `None` for always."""

    watchers: list[Callable[[Observation], None]] = field(factory=list, init=False)
    """Hear of no caller who is let through on arrival, nor of its leaving if nothing follows from that."""

    _passing: set[int] = field(factory=set, init=False)
    """The tickets of those callers who have not left."""

    def tell(self, now: float, event: Event, commands: tuple[Command, ...]) -> None:
        """Tell of one step."""
        # Whether it is about one of those, and says nothing else.
        if isinstance(event, Arrived):
            first = commands[0] if len(commands) == 1 else None
            passing = isinstance(first, Forward) and first.ticket == event.ticket
            if passing:
                self._passing.add(event.ticket)
        elif isinstance(event, Released) and event.ticket in self._passing:
            self._passing.remove(event.ticket)
            passing = not commands
        else:
            passing = False
        if passing:
            if self.everything is not None and (self.also_passing is None or self.also_passing()):
                self.everything(Observation(now, event, commands))
            return
        if self.everything is None and not self.watchers:
            return
        observation = Observation(now, event, commands)
        if self.everything is not None:
            self.everything(observation)
        for watch in self.watchers:
            watch(observation)
