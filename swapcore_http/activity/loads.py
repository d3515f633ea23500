"""How much of a caller's wait did the model spend loading?"""

from attrs import define, field

from swapcore import BecameReady, Exited, Start
from swapcore_http.driver import Observation

__all__ = ["Loads"]


@define
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
        began, ready = self._runs.get(run, (until, until))
        return max(0.0, min(until, ready) - max(since, began))
