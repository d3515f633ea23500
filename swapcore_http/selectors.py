"""Which target of a selector is a request to go to?

The choice is advice, taken from what is up at this moment and from what this
module itself has sent where; who waits how long is the engine's business.
"""

import enum
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from attrs import define, field, frozen

from swapcore import Phase, Snapshot
from swapcore_http.config import PeerModel, SelectorConfig

__all__ = ["NoTargetError", "Selectors", "Standing", "Target", "standing_of"]

Target = str | PeerModel
"""The id of a model of this machine, or a model of a peer."""


class NoTargetError(LookupError):
    """No target of the selector takes requests now."""


class State(enum.Enum):
    """How soon a target could serve a request."""

    READY = enum.auto()
    """It serves at once."""

    COMING = enum.auto()
    """It starts, or somebody waits for it or wants it loaded."""

    COLD = enum.auto()
    """It would have to be brought up."""

    AWAY = enum.auto()
    """It is about to leave, or would refuse at once."""


@frozen(repr=False)
class Standing:
    """How a target stands now."""

    state: State
    busy: int = 0
    """Requests that it serves or that wait for it, wherever they come from."""


def standing_of(snapshot: Snapshot) -> Mapping[str, Standing]:
    """Say how the models of this machine stand."""
    result = {}
    for view in snapshot.upstreams:
        wanted = view.waiting > 0 or view.model in snapshot.wishes
        if view.phase is Phase.STOPPING or view.stuck or (view.phase is Phase.READY and view.closed):
            state = State.AWAY
        elif view.phase is Phase.READY:
            state = State.READY
        elif view.phase is Phase.STARTING or wanted:
            state = State.COMING
        else:
            state = State.AWAY if view.cooling_until is not None else State.COLD
        result[view.model] = Standing(state, view.leases + view.waiting)
    return result


@define(eq=False, repr=False)
class Spilling:
    """What one selector has sent where, until it is answered."""

    reserved: Counter[Target] = field(factory=Counter)
    turn: int = 0


class Selectors:
    """Chooses, and remembers what it has chosen for requests that are not answered yet."""

    def __init__(self) -> None:
        self._spilling: dict[str, Spilling] = {}

    def choose(
        self, selector: SelectorConfig, targets: Sequence[Target], standing: Callable[[Target], Standing]
    ) -> int:
        """Choose a target by its place in the list; see `reserving` for spillover.

        Raises:
            NoTargetError: none takes requests now.
        """
        match selector.strategy:
            case "warm":
                states = [standing(target).state for target in targets]
                return next(
                    (states.index(state) for state in (State.READY, State.COMING) if state in states), 0
                )
            case "spillover":
                return self._spill(selector, targets, standing)
            case _:
                return 0

    @contextmanager
    def reserving(self, selector: SelectorConfig, target: Target) -> Iterator[None]:
        """Count a request against its target until the block ends."""
        reserved = self._spilling.setdefault(selector.id, Spilling()).reserved
        reserved[target] += 1
        try:
            yield
        finally:
            reserved[target] -= 1
            if not reserved[target]:
                del reserved[target]

    def _spill(
        self, selector: SelectorConfig, targets: Sequence[Target], standing: Callable[[Target], Standing]
    ) -> int:
        spilling = self._spilling.setdefault(selector.id, Spilling())
        active: dict[int, int] = {}
        cold: list[int] = []
        for place, target in enumerate(targets):
            now, reserved = standing(target), spilling.reserved[target]
            if now.state is State.AWAY:
                continue
            if reserved or now.state is not State.COLD:
                # What was reserved a moment ago is not there yet, and what is there may come from elsewhere.
                active[place] = max(reserved, now.busy)
            else:
                cold.append(place)
        least = min(active.values(), default=None)
        if least is None or least >= selector.spillover:
            if cold:
                return cold[0]
            if least is None:
                raise NoTargetError(
                    f"no target of {selector.id!r} takes requests now: they all leave or have failed"
                )
        equal = [place for place, count in active.items() if count == least]
        chosen = equal[spilling.turn % len(equal)]
        spilling.turn += 1
        return chosen
