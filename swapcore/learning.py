"""How long do loads, stops and services take here?

What is learned comes from the times of events alone. A mean starts as a plain
average and, once it has seen enough, follows changes as an exponentially
weighted one.
"""

from collections.abc import Mapping

from attrs import define, field

__all__ = ["Experience", "Mean", "Times"]

WEIGHT, SETTLED = 0.1, 10
"""What the latest measurement weighs, once there are so many that it weighs no more in a plain average."""

GAP_WEIGHT = 0.3
"""What the latest gap between two callers of a model weighs: habits change faster than hardware."""

FIRST_LOAD, FIRST_STOP, FIRST_SERVICE = 10.0, 1.0, 2.0
"""Seconds assumed before anything at all has been measured."""


@define(eq=False, repr=False)
class Mean:
    """The mean of what was measured lately."""

    value: float = 0.0
    count: int = 0

    def learn(self, seconds: float) -> None:
        """Take a measurement in."""
        self.count += 1
        count = self.count
        self.value += (1 / count if count < SETTLED else WEIGHT) * (seconds - self.value)


@define(eq=False, repr=False)
class Times:
    """What is known of one model, or of all together."""

    load: Mean = field(factory=Mean)
    service: Mean = field(factory=Mean)
    gap: float | None = None
    """The usual seconds between two arrivals, once there were two."""

    arrived_at: float | None = None
    """When the last caller arrived."""


@define(eq=False, repr=False)
class Experience:
    """What has been measured; what was not is taken to be as expected, or else as the average."""

    _models: dict[str, Times] = field(factory=dict)
    _all: Times = field(factory=Times)
    _stop: Mean = field(factory=Mean)
    """Of all models together: what makes room for a model is another one."""

    _expected: Mapping[str, float] = field(factory=dict, init=False)
    """The seconds of those loads of which the catalog says what to expect."""

    known: dict[str, tuple[Mean, Mean]] = field(factory=dict, init=False)
    """The answers of `standing` that hold, for who asks so often that a call counts."""

    def expect(self, loads: Mapping[str, float]) -> None:
        """Take over what the catalog says of loads, in seconds, as long as none was measured."""
        self._expected = loads
        self.known.clear()

    def learn_load(self, model: str, seconds: float) -> None:
        """Take in how long a run took from its start until it was ready."""
        own = self._of(model).load
        own.learn(seconds)
        self._all.load.learn(seconds)
        if own.count == 1:
            self.known.clear()

    def learn_stop(self, seconds: float) -> None:
        """Take in how long a run took from its stop until its room was back."""
        self._stop.learn(seconds)

    def learn_service(self, model: str, seconds: float) -> None:
        """Take in how long a caller kept its lease."""
        own = self._of(model).service
        own.learn(seconds)
        self._all.service.learn(seconds)
        if own.count == 1:
            self.known.clear()

    def learn_arrival(self, model: str, now: float) -> None:
        """Take in that a caller arrived."""
        times = self._of(model)
        if times.arrived_at is not None:
            gap = now - times.arrived_at
            times.gap = gap if times.gap is None else times.gap + GAP_WEIGHT * (gap - times.gap)
        times.arrived_at = now

    def loss(self, model: str, idle: float) -> float:
        """Return what it costs if this model leaves after so many idle seconds.

        That is its load time, for each second until it is likely to be asked
        for again: as long as it has been idle, and its usual gap besides. The
        load time by the idle time alone is what Lemonade's server weighs by;
        the gap halves what its worst case costs over the optimum.
        """
        gap = self._of(model).gap
        return self.load(model) / (1.0 + idle + (idle if gap is None else gap))

    def measured_load(self, model: str) -> float | None:
        """Return the seconds that loads of this model took, if there were any."""
        known = self._models.get(model)
        return known.load.value if known is not None and known.load.count else None

    def load(self, model: str) -> float:
        """Return the seconds that a load of this model takes."""
        return self.standing(model)[0].value

    def overhead(self, model: str) -> float:
        """Return the seconds it takes to bring this model in, the leaving of another included."""
        return self.visit(model, 0)

    def service(self, model: str) -> float:
        """Return the seconds that one caller of this model keeps its lease."""
        return self.standing(model)[1].value

    def visit(self, model: str, rounds: int) -> float:
        """Return the seconds it takes to bring this model in and to serve its callers in so many rounds."""
        load, service = self.standing(model)
        return load.value + self.stop + rounds * service.value

    @property
    def stop(self) -> float:
        """The seconds that the leaving of any model takes."""
        return self._stop.value if self._stop.count else FIRST_STOP

    def standing(self, model: str) -> tuple[Mean, Mean]:
        """Return the means that stand for this model's loads and services at present, to be read only."""
        known = self.known.get(model)
        if known is None:
            own, every = self._of(model), self._all
            load = own.load
            if load.count == 0 and model in self._expected:
                load = Mean(self._expected[model])
            known = self.known[model] = (
                load if load is not own.load else _known(load, every.load, FIRST_LOAD),
                _known(own.service, every.service, FIRST_SERVICE),
            )
        return known

    def _of(self, model: str) -> Times:
        times = self._models.get(model)
        if times is None:
            times = self._models[model] = Times()
        return times


def _known(own: Mean, average: Mean, first: float) -> Mean:
    """Return what was measured of one, else of all, else what is assumed."""
    if own.count:
        return own
    return average if average.count else Mean(first)
