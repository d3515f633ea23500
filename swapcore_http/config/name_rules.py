"""Does every name mean one thing: aliases, peers' models, selectors, profiles' pins?"""

from collections.abc import Iterator, Mapping

from swapcore_http.config.names import Names, PeerModel
from swapcore_http.config.planners import planner_of
from swapcore_http.config.problems import Finding, Path, Severity, describe
from swapcore_http.config.public_names import SelectorConfig
from swapcore_http.config.schema import ModelConfig, Settings

__all__ = ["live_together_findings", "name_findings"]

LOCAL_PAIR = 2


def name_findings(settings: Settings, names: Names) -> Iterator[Finding]:
    """Find names that mean nothing, or more than one thing."""
    yield from _aliases(settings.models)
    yield from _generated_aliases(settings.models)
    yield from _peers(settings, names)
    yield from _selectors(settings, names)
    yield from _profiles(settings, names)


def _aliases(models: Mapping[str, ModelConfig]) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for model in models.values():
        for index, alias in enumerate(model.aliases):
            where = ("models", model.id, "aliases", index)
            if not alias:
                yield Finding(where, "the alias is empty; expected a name that callers ask for")
            elif alias in owners:
                yield Finding(
                    where, f"duplicate alias {describe(alias)}; it belongs to {owners[alias]} already"
                )
            elif alias in models:
                what = f"{describe(alias)} is a model's own name, which goes before: this alias has no effect"
                yield Finding(where, what, Severity.WARNING)
            owners.setdefault(alias, model.id)


def _generated_aliases(models: Mapping[str, ModelConfig]) -> Iterator[Finding]:
    owners = {alias: model.id for model in reversed(list(models.values())) for alias in model.aliases}
    for model in models.values():
        for name in model.generated_aliases:
            where = ("models", model.id, "filters", "setParamsByID", name)
            about = (("models", model.id, "aliases"),)
            if name in models:
                what = f"{describe(name)} is the name of another model; expected a name for {model.id} itself"
                yield Finding(where, what, at_key=True, about=about)
            elif owners.setdefault(name, model.id) != model.id:
                what = (
                    f"{describe(name)} is an alias of {owners[name]}; expected a name for {model.id} itself"
                )
                yield Finding(where, what, at_key=True, about=about)


def _peers(settings: Settings, names: Names) -> Iterator[Finding]:
    seen: dict[str, PeerModel] = {}
    pins = {pin: profile.name for profile in settings.profiles.values() for pin in profile.pins}
    for peer in settings.peers.values():
        path = ("peers", peer.id)
        if not peer.id.strip():
            yield Finding(
                path, "the peer's name is empty; expected one that stands before a slash", at_key=True
            )
        if not peer.models:
            what = "there are none; expected at least one, or auto for those that the peer lists itself"
            yield Finding((*path, "models"), what, of_parts=True)
        for index, model in enumerate(() if peer.models == "auto" else peer.models):
            where = (*path, "models", index)
            found = PeerModel(peer.id, model)
            name = found.qualified
            shown = describe(name)
            other = seen.setdefault(name, found)
            if not model:
                yield Finding(where, "the model's name is empty; expected a name that the peer knows")
            elif other != found:
                yield Finding(where, f"{shown} is what a model of {other.peer} is called already")
            elif (local := names.resolve(name)) is not None:
                yield Finding(where, f"{shown} is what the model {local} of this machine is called already")
            elif name in settings.selectors:
                yield Finding(where, f"{shown} is what a selector is called already")
            elif name in pins:
                yield Finding(where, f"{shown} is pinned by the profile {pins[name]}; expected it only once")


def _selectors(settings: Settings, names: Names) -> Iterator[Finding]:
    for selector in settings.selectors.values():
        path = ("selectors", selector.id)
        if not selector.id.strip():
            yield Finding(
                path, "the selector's name is empty; expected a name that callers ask for", at_key=True
            )
        local = names.resolve(selector.id)
        if local is not None:
            own = "a model" if local == selector.id else f"the model {local}"
            yield Finding(
                path, f"{own} of this machine is called so already; expected another name", at_key=True
            )
        if not selector.strategy:
            what = "there is none; expected pin, warm or spillover"
            yield Finding((*path, "strategy"), what, at_key=True)
        if not selector.targets:
            yield Finding((*path, "targets"), "there are none; expected at least one model", of_parts=True)
        if selector.strategy == "spillover" and selector.spillover < 1:
            what = f"{selector.spillover} is too small; expected a number of requests, 1 or more"
            yield Finding((*path, "settings", "spillover"), what)
        yield from _targets(selector, path, names)


def _targets(selector: SelectorConfig, path: Path, names: Names) -> Iterator[Finding]:
    seen: dict[str | PeerModel, str] = {}
    for index, name in enumerate(selector.targets):
        where = (*path, "targets", index)
        target = names.target(name)
        if names.selector(name) is not None:
            yield Finding(where, f"{describe(name)} is a selector itself; expected a model's name")
        elif target is None:
            yield Finding(
                where, f"{names.unknown(name)}; expected a model's name", about=(("models",), ("peers",))
            )
        elif selector.strategy == "warm" and isinstance(target, PeerModel):
            what = f"nobody knows whether {describe(name)}, a model of the peer {target.peer}, is up"
            yield Finding(where, f"{what}; expected one of this machine")
        elif selector.strategy == "spillover" and target in seen:
            yield Finding(where, f"{describe(name)} is the same model as {describe(seen[target])}")
        elif target is not None:
            seen[target] = name


def _profiles(settings: Settings, names: Names) -> Iterator[Finding]:
    for profile in settings.profiles.values():
        path = ("profiles", profile.name)
        if not profile.name.strip():
            yield Finding(path, "the profile's name is empty; expected a name", at_key=True)
        if not profile.pins:
            what = "there are none; expected at least one, such as {name: model}"
            yield Finding((*path, "pins"), what, of_parts=True)
        for pin, target in profile.pins.items():
            where = (*path, "pins", pin)
            if not pin.strip():
                yield Finding(
                    where, "the pinned name is empty; expected a name that callers ask for", at_key=True
                )
            if target and names.target(target) is None and names.selector(target) is None:
                what = f"{names.unknown(target)}; expected the name of a model or a selector"
                yield Finding(where, what, about=(("models",), ("peers",), ("selectors",)))


def live_together_findings(settings: Settings, names: Names) -> Iterator[Finding]:
    """Find selectors whose requests would evict each other's models; nothing else may be wrong yet."""
    planner = planner_of(settings, names)
    for selector in settings.selectors.values():
        ids = [id_ for target in selector.targets if (id_ := names.resolve(target)) is not None]
        if selector.strategy == "spillover" and len(ids) >= LOCAL_PAIR and not planner.can_live_together(ids):
            what = f"{', '.join(ids)} cannot be up together, so one would evict the other"
            yield Finding(
                ("selectors", selector.id, "targets"),
                f"{what}; expected models of one group with swap: false, or of one set of the matrix",
            )
