"""What does a configuration come to, with nothing left to work out and no secret in it?"""

import math
from typing import Any

import attrs
from attrs import frozen

from swapcore.planning import Groups, Matrix
from swapcore_http.config.config import Config
from swapcore_http.config.kinds import Shape, kinds_of
from swapcore_http.config.macros import PORT
from swapcore_http.config.masking import MASK, masked_data, masked_texts
from swapcore_http.config.nesting import nested, plain_value
from swapcore_http.config.schema import ModelConfig
from swapcore_http.config.setting import Setting, settings_of

__all__ = ["COMPANY", "Company", "company", "effective", "explained", "finite"]

COMPANY = "x-company"
"""The key below which `explained` says who may live beside whom; readers of configurations pass it over."""

WAYS = {"group": "groups", "matrix": "matrix"}
"""The key of what says who may live together, by what `routing.router.use` says."""


@frozen
class Company:
    """Which other models may be up while a model is, by the planner of the configuration.

    Each list is in definition order.
    """

    group: str
    """The group that it belongs to; empty if there is a matrix."""

    sets: tuple[str, ...]
    """The sets of the matrix that hold it; without one it runs alone."""

    together: tuple[str, ...]
    """Those that stay when it comes in, and beside which it stays."""

    evicts: tuple[str, ...]
    """Those that leave when it comes in."""

    evicted_by: tuple[str, ...]
    """Those for which it leaves when they come in."""

    kept_out_by: tuple[str, ...]
    """Those that would have to leave but are pinned: while one of them is up, it cannot come in."""


def effective(config: Config) -> dict[str, Any]:
    """Return all settings as plain data, by the keys under which they are written.

    Macros are expanded, `${PORT}` is the port that the model has been given,
    defaults are filled in, also those that another setting gives, and secrets
    are masked: keys, the values of `env`, and what looks like a credential in
    commands and URLs. What is not there has no key. But for the secrets this
    can be read again, and comes to the same.
    """
    models = [_completed(config, model) for model in config.models.values()]
    router = "matrix" if config.uses_matrix else "group"
    # A copy, because a configuration is more than its fields.
    settings = {name: getattr(config, name) for name in settings_of(Config)}
    settings |= {"models": {model.id: model for model in models}, "macros": {}}
    settings |= {"router": router, "scheduler": config.scheduler or "fifo"}
    data = _record(config, settings)
    ways = {"group": data.pop("groups"), "matrix": data.pop("matrix", {})}
    # Only one of the two counts, and must stand here once `use` is written.
    data["routing"]["router"]["settings"] = {WAYS[router]: ways[router]}
    return data


def company(config: Config) -> dict[str, Company]:
    """Say for each model what may live beside it: each two of them are put to the planner, both ways."""
    planner = config.planner()
    leaving = {
        target: {other for other in config.models if planner(target, (other,), {other: 1.0}).evict}
        for target in config.models
    }
    pinned = {model.id for model in config.models.values() if model.pinned}
    return {id_: _company(id_, planner, leaving, pinned) for id_ in config.models}


def explained(config: Config) -> dict[str, Any]:
    """Return what `effective` does, and who may live beside whom below `x-company`."""
    rows = {
        id_: {
            **({"sets": list(row.sets)} if not row.group else {"group": row.group}),
            "together": list(row.together),
            "evicts": list(row.evicts),
            "evictedBy": list(row.evicted_by),
            "keptOutBy": list(row.kept_out_by),
        }
        for id_, row in company(config).items()
    }
    return effective(config) | {COMPANY: rows}


def finite(data: Any) -> Any:
    """Return plain data for JSON, which has no infinite numbers: they are written as YAML has them."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [finite(value) for value in data]
    if isinstance(data, float) and math.isinf(data):
        return ".inf" if data > 0 else "-.inf"
    return data


def _company(id_: str, planner: Groups | Matrix, leaving: dict[str, set[str]], pinned: set[str]) -> Company:
    others = [other for other in leaving if other != id_]
    mine = leaving[id_]
    return Company(
        group="" if isinstance(planner, Matrix) else planner.group_of(id_).name,
        sets=planner.sets_of(id_) if isinstance(planner, Matrix) else (),
        together=tuple(other for other in others if other not in mine and id_ not in leaving[other]),
        evicts=tuple(other for other in others if other in mine - pinned),
        evicted_by=tuple(other for other in others if id_ in leaving[other] and id_ not in pinned),
        kept_out_by=tuple(other for other in others if other in mine & pinned),
    )


def _completed(config: Config, model: ModelConfig) -> ModelConfig:
    """Write into a model what other settings say for it, and its port."""
    ready = attrs.evolve(
        model,
        ttl=config.ttl(model.id),
        health_check_timeout=config.start_timeout(model.id),
        unload_timeout=config.stop_timeout(model.id),
        patience=config.patience_of(model.id),
        concurrency_limit=config.concurrency_limit(model.id),
        send_loading_state=config.shows_loading(model.id),
        macros={},
    )
    port = model.port
    return ready if port is None else attrs.evolve(ready, **_with_port(ready, port))


def _with_port(model: ModelConfig, port: int) -> dict[str, Any]:
    return {
        name: value.replace(PORT, str(port))
        for name in ("cmd", "cmd_stop", "after_stop", "proxy")
        if isinstance(value := getattr(model, name), str)
    }


def _record(record: attrs.AttrsInstance, instead: dict[str, Any] | None = None) -> dict[str, Any]:
    """Collect all that a record says, without what is secret."""
    cls = type(record)
    settings, kinds = settings_of(cls), kinds_of(cls)
    values: dict[str, Any] = {}
    for name, setting in settings.items():
        value = getattr(record, name) if instead is None else instead[name]
        if value is None or name == "macros":
            continue
        data = plain_value(record, name, value, _record)
        values[name] = _masked(data, setting, kinds[name].shape)
    return nested(cls, values)


def _masked(data: Any, setting: Setting, shape: Shape) -> Any:
    match shape:
        case Shape.RECORD | Shape.RECORDS | Shape.RECORD_LIST:
            return data
        case Shape.FREE | Shape.FREE_TABLES:
            return masked_data(data)
        case Shape.LIST if setting.secret:
            # Those of `env` have names, which are none.
            return ["".join((*item.partition("=")[:2], MASK)) if "=" in item else MASK for item in data]
        case Shape.ONE if setting.secret:
            return data and MASK
        case _:
            return masked_texts(data)
