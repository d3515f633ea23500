"""How much of a caller's wait did the model spend loading?"""

from attrs import define, field

from swapcore import BecameReady, Exited, Start
from swapcore_http.driver import Observation

__all__ = ["Loads"]


@define(eq=False, repr=False)
class Loads:
    """When each run that is not over began to load, and when it was ready."""

    _runs: dict[int, tuple[float, float]] = field(factory=dict, init=False)

    def observe(self, observation: Observation) -> None:
        """Take in one step of the engine."""
        event = observation.event
        if isinstance(event, BecameReady) and event.run in self._runs:
            self._runs[event.run] = (self._runs[event.run][0], observation.now)
        elif isinstance(event, Exited):
            self._runs.pop(event.run, None)
        for command in observation.commands:
            if isinstance(command, Start):
                self._runs[command.run] = (observation.now, float("inf"))

    def within(self, run: int, since: float, until: float) -> float:
        """Say for how many seconds of that time the run was loading."""
        loading = self.overlap(run, since, until)
        return 0.0 if loading is None else loading[1] - loading[0]

    def overlap(self, run: int, since: float, until: float) -> tuple[float, float] | None:
        """Say from when to when in that time the run was loading, if it was."""
        times = self._runs.get(run)
        if times is None:
            return None
        began, ended = max(since, times[0]), min(until, times[1])
        return (began, ended) if began < ended else None
