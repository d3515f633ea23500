"""What does a name mean: a model of this machine, one of a peer's, a selector?

Profiles go first (`pinned`), then selectors, then the ids and aliases of this
machine's models, then peers. Nothing here knows what is running.
"""

from collections.abc import Iterable, Iterator, Mapping

from attrs import field, frozen

from swapcore_http.config.problems import describe, nearest
from swapcore_http.config.public_names import PeerConfig, ProfileConfig, SelectorConfig
from swapcore_http.config.schema import ModelConfig

__all__ = ["Names", "PeerModel", "pinned"]

MOST_SUGGESTIONS = 10
"""Unknown names for which the right one is sought; that takes time."""


@frozen(repr=False)
class PeerModel:
    """A model that a peer offers."""

    peer: str
    """The peer's id."""

    model: str
    """What the peer itself calls it."""

    qualified: str = field(init=False)
    """Its whole name here: both, with a slash between them."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "qualified", f"{self.peer}/{self.model}")


def pinned(profile: ProfileConfig | None, name: str) -> str | None:
    """Say which name is meant while that profile is active; None if this name is not to be had."""
    return name if profile is None else profile.pins.get(name, name) or None


class Names:
    """The names that callers may use.

    Args:
        models: The models of this machine. An id goes before an alias that equals it.
        peers: The peers, whose models have qualified names, and bare ones if no two peers offer them.
        selectors: The selectors.
        discovered: What peers list themselves whose `models` are `auto`.
    """

    def __init__(
        self,
        models: Mapping[str, ModelConfig],
        peers: Mapping[str, PeerConfig] | None = None,
        selectors: Mapping[str, SelectorConfig] | None = None,
        discovered: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self._ids = {
            alias: model.id
            for model in models.values()
            for alias in (*model.generated_aliases, *model.aliases)
        }
        self._ids |= {id_: id_ for id_ in models}
        self._selectors = selectors or {}
        self._qualified: dict[str, PeerModel] = {}
        self._bare: dict[str, PeerModel | None] = {}
        self._open: list[str] = []
        for peer in (peers or {}).values():
            if peer.models == "auto":
                self._open.append(peer.id)
                offered = (discovered or {}).get(peer.id, ())
            else:
                offered = peer.models
            for model in dict.fromkeys(offered):
                found = PeerModel(peer.id, model)
                self._qualified.setdefault(found.qualified, found)
                # A name that two peers offer means neither of them.
                self._bare[model] = None if model in self._bare else found
        self._suggested = 0

    def __iter__(self) -> Iterator[str]:
        """Go through the names of this machine's models."""
        return iter(self._ids)

    @property
    def peer_models(self) -> Mapping[str, PeerModel]:
        """What peers offer, by the whole names."""
        return self._qualified

    def resolve(self, name: str) -> str | None:
        """Find the id of this machine's model that is called so."""
        return self._ids.get(name)

    def peer(self, name: str) -> PeerModel | None:
        """Find the model of a peer that is called so, by its whole name or by its own if that is clear.

        A whole name that begins with a peer whose models are `auto` is taken on trust.
        """
        found = self._qualified.get(name) or self._bare.get(name)
        if found is None and name not in self._bare:
            for peer in self._open:
                if name.startswith(f"{peer}/") and name != f"{peer}/":
                    return PeerModel(peer, name[len(peer) + 1 :])
        return found

    def target(self, name: str) -> str | PeerModel | None:
        """Find what is called so: the id of a model of this machine, else a model of a peer."""
        return self.resolve(name) or self.peer(name)

    def selector(self, name: str) -> SelectorConfig | None:
        """Find the selector that is called so."""
        return self._selectors.get(name)

    def unknown(self, name: str) -> str:
        """Say that no model is called so, and which one may be meant."""
        self._suggested += 1
        known = (*self, *self._selectors, *self._qualified)
        meant = nearest(name, known) if self._suggested <= MOST_SUGGESTIONS else None
        return f"no model is called {describe(name)}" + (f" (did you mean {meant}?)" if meant else "")
