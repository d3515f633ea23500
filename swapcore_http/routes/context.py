"""What do all routes share, and what is known of each request?"""

from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field, frozen

from swapcore_http.activity.recorder import Recorder
from swapcore_http.auth import Caller, Identity, Keyring
from swapcore_http.bodies import Bodies
from swapcore_http.config import Config, Names, PeerModel, ProfileConfig
from swapcore_http.driver import Driver
from swapcore_http.filters import Changes
from swapcore_http.inflight import InFlight
from swapcore_http.logstreams import LogStreams
from swapcore_http.peers import Peers
from swapcore_http.present import Present
from swapcore_http.reload import Reloader
from swapcore_http.routes.ways import Way
from swapcore_http.selectors import Selectors, Standing, State
from swapcore_http.upstreams import Upstreams
from swapcore_http.waiting.places import Places
from swapcore_http.websockets import Tunnels
from swapcore_http.wishes import Wishes

if TYPE_CHECKING:
    from swapcore_http.otel import Tracing

__all__ = ["CONTEXT", "IDENTITY", "Context", "Settled", "caller_of", "is_ready"]


@frozen(eq=False, repr=False)
class Settled:
    """What a name means that always means the same."""

    way: Way
    changes: Changes | None
    """What is changed in the bodies that name it, if anything is."""


@define(eq=False, repr=False)
class Context:
    """The server behind the routes."""

    driver: Driver
    """Gives out leases."""

    present: Present
    """Owns the configuration, which another may replace at any time."""

    bodies: Bodies
    """The room that the bodies of all requests share."""

    upstreams: Upstreams
    """The connections to the models' runs."""

    logs: LogStreams
    """What is logged, and who reads along."""

    recorder: Recorder
    """Remembers what was asked and answered."""

    tunnels: Tunnels
    """The websockets that are open."""

    reloader: Reloader | None = None
    """Puts another configuration in its place, if that can be done."""

    tracing: "Tracing | None" = None
    """Traces requests, if that is wanted."""

    peers: Peers = field(factory=Peers)
    """What is known of the peers."""

    keyring: Keyring = field(factory=Keyring)
    """The keys of the present configuration."""

    on_loopback: bool = False
    """Whether the server listens on loopback only, and so is asked by names of this machine."""

    inflight: InFlight = field(factory=InFlight)
    """The requests that are on their way."""

    wishes: Wishes = field(init=False)
    """What operators want loaded."""

    places: Places = field(init=False)
    """Where those who wait stand."""

    selectors: Selectors = field(factory=Selectors)
    """What selectors have sent where."""

    active: str | None = None
    """The name of the profile that was activated last, if it has not been taken back."""

    _ways: dict[str, Way] = field(factory=dict, init=False)
    """Those to the models of the present configuration that were asked."""

    _settled: dict[str, Settled] = field(factory=dict, init=False)
    """What `settled` has found, by the names that callers use."""

    _names_settled: Names | None = field(default=None, init=False)
    """The meaning of names by which it was found."""

    def __attrs_post_init__(self) -> None:
        self.places = Places(self.driver)
        self.wishes = Wishes(self.driver)
        self.present.on_replaced(lambda _: self._ways.clear())

    def way(self, model: str) -> Way | None:
        """Find the way to the model with that id, if the present configuration has it."""
        way = self._ways.get(model)
        if way is None and (found := self.config.models.get(model)) is not None:
            way = self._ways[model] = Way.to(found, self.config, self.driver)
        return way

    def settled(self, name: str) -> Settled | None:
        """Find what a name means to all who ask by it: one model of this machine, always the same.

        It does not if a profile or a selector has a say in that.
        """
        if self.active is not None:
            return None
        names = self.peers.names(self.present.config)
        if names is not self._names_settled:
            self._names_settled, self._settled = names, {}
        found = self._settled.get(name)
        if found is None and names.selector(name) is None and isinstance(target := names.target(name), str):
            way = self.way(target)
            if way is None:
                return None
            changes = Changes(way.model.use_model_name or None, way.model.filters, name)
            needed = changes.rename is not None or changes.look_inside
            found = self._settled[name] = Settled(way, changes if needed else None)
        return found

    @property
    def config(self) -> Config:
        """The configuration that holds now: ask once for each request, and keep the answer."""
        return self.present.config

    @property
    def profile(self) -> ProfileConfig | None:
        """The profile that is active: the one that was activated, if there still is such a one."""
        return self.config.profiles.get(self.active or "")

    @property
    def names(self) -> Names:
        """What all names mean."""
        return self.peers.names(self.config)

    def peer_standing(self, model: PeerModel) -> Standing:
        """Say how a peer's model stands, as far as that is known."""
        return Standing(State.COLD if self.peers.down(model.peer) is None else State.AWAY)


CONTEXT = web.AppKey("CONTEXT", Context)
"""Where an application keeps its `Context`."""

IDENTITY = web.RequestKey("IDENTITY", Identity)
"""Where a request keeps who sends it, once it has passed the gate."""


def caller_of(request: web.Request) -> Caller:
    """Return who sends a request that has passed the gate."""
    return request[IDENTITY].caller


def is_ready(context: Context, model: str) -> bool:
    """Tell whether a caller of that model would be served without anything being started."""
    return context.driver.is_up(model)
