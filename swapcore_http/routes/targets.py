"""Who is to answer a request for a name?

The active profile goes first, then selectors, then the models of this machine,
then those of peers. A selector's choice holds until the request is answered.
"""

from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from typing import Final

from attrs import frozen

from swapcore_http.auth import Caller
from swapcore_http.config import PeerModel, pinned
from swapcore_http.responses import ApiError
from swapcore_http.routes.context import Context
from swapcore_http.selectors import NoTargetError, Standing, State, Target, standing_of

__all__ = [
    "Meant",
    "UnknownModelError",
    "gone_model",
    "is_for",
    "may_ask",
    "may_see",
    "meant",
    "refuse_unless_for",
    "unknown_model",
]

SHOWN = 200
"""Characters of an unknown name that are repeated to the client."""

AWAY = Standing(State.AWAY)

NOTHING: Final = nullcontext()
"""What is held of a selector that has not chosen."""


class UnknownModelError(ApiError):
    """The request names no model that there is."""


@frozen(eq=False, repr=False)
class Meant:
    """What is meant by a name."""

    target: Target
    """Who is to answer."""

    name: str
    """The name that this one is asked by, which is another if a profile or a selector says so."""

    selector: str | None = None
    """The selector that chose it, if one did."""

    held: AbstractContextManager[None] = NOTHING
    """To be entered until the request is answered, so that the selector counts it."""


def gone_model(name: str) -> ApiError:
    """Say that a new configuration, which came while a request was read, has no such model."""
    return ApiError(HTTPStatus.NOT_FOUND, f"no model is called {name!r} any more")


def unknown_model(name: str) -> UnknownModelError:
    """Say that no model is called so."""
    shown = name if len(name) <= SHOWN else name[:SHOWN] + "…"
    message = f"no model is called {shown!r}; GET /v1/models lists them"
    return UnknownModelError(HTTPStatus.NOT_FOUND, message)


def is_for(context: Context, caller: Caller, target: Target) -> bool:
    """Tell whether a caller may ask that model, because of any of the names that it has."""
    if caller.is_for_all:
        return True
    if isinstance(target, PeerModel):
        is_own = context.names.target(target.model) == target
        return caller.is_for(target.qualified, *([target.model] if is_own else []))
    model = context.config.models.get(target)
    return model is not None and caller.is_for(model.id, *model.aliases)


def may_see(context: Context, caller: Caller, model: str) -> bool:
    """Tell whether a caller may see what is known of a model, by its id; also of one that is gone."""
    if caller.is_for(model):
        return True
    target = context.names.target(model)
    return target is not None and is_for(context, caller, target)


def refuse_unless_for(context: Context, caller: Caller, target: Target) -> None:
    """Refuse a caller who may not ask that model.

    Raises:
        ApiError: it may not.
    """
    if not is_for(context, caller, target):
        raise _not_for(target if isinstance(target, str) else target.qualified)


def may_ask(context: Context, caller: Caller, name: str) -> bool:
    """Tell whether a caller may ask for that name."""
    if _is_for_name(context, caller, name):
        return True
    meant = pinned(context.profile, name)
    if meant is None:
        return False
    selector = context.names.selector(meant)
    targets = [meant] if selector is None else selector.targets
    found = [context.names.target(each) for each in targets]
    return any(target is not None and is_for(context, caller, target) for target in found)


def _is_for_name(context: Context, caller: Caller, name: str) -> bool:
    """Tell whether a caller may ask for a name whatever that means: one that is no model's own."""
    return caller.is_for_all or (caller.is_for(name) and context.names.target(name) is None)


def _not_for(name: str) -> ApiError:
    return ApiError(HTTPStatus.FORBIDDEN, f"the key that was shown is not for {name[:SHOWN]!r}")


def meant(context: Context, asked: str, *, caller: Caller, websocket: bool = False) -> Meant:
    """Find who is to answer a request for that name.

    Args:
        context: The server.
        asked: The name.
        caller: Who asks.
        websocket: Whether the request is one; if its target ignores them, no selector counts it.

    Raises:
        UnknownModelError: there is none.
        ApiError: there is none at this moment, or none for this caller.
    """
    name = pinned(context.profile, asked)
    if name is None:
        message = f"{asked[:SHOWN]!r} is not to be had while the profile {context.active!r} is active"
        raise UnknownModelError(HTTPStatus.NOT_FOUND, message)
    names = context.names
    selector = names.selector(name)
    if selector is None:
        target = names.target(name)
        if target is None:
            raise unknown_model(name)
        if not (caller.is_for_all or _is_for_name(context, caller, asked) or is_for(context, caller, target)):
            raise _not_for(name)
        return Meant(target, name)
    found = [(each, names.target(each)) for each in selector.targets]
    every = any(_is_for_name(context, caller, each) for each in (asked, name))
    targets = [
        (each, target)
        for each, target in found
        if target is not None and (every or is_for(context, caller, target))
    ]
    if not targets and not every:
        raise _not_for(name)
    standings = standing_of(context.driver.snapshot(tickets=False))

    def standing(target: Target) -> Standing:
        return standings.get(target, AWAY) if isinstance(target, str) else context.peer_standing(target)

    try:
        place = context.selectors.choose(selector, [target for _, target in targets], standing)
    except NoTargetError as error:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    chosen, target = targets[place]
    if websocket and isinstance(target, str) and context.config.models[target].ignore_websockets:
        return Meant(target, chosen, selector.id)
    return Meant(target, chosen, selector.id, context.selectors.reserving(selector, target))
