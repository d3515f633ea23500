"""What do lists of models say of each?

The shapes are those of llama-swap, `meta.llamaswap` included: the clients that
look at it know it by that name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from swapcore import Phase, Snapshot
from swapcore_http.config import (
    CapabilitiesConfig,
    Config,
    ModelConfig,
    Names,
    PeerModel,
    ProfileConfig,
    SelectorConfig,
)

__all__ = ["capable", "model_rows"]

Row = dict[str, Any]

COVERED = ("architecture", "capabilities", "supported_parameters", "context_length")
"""Keys of metadata that configured capabilities say better."""


def model_rows(config: Config, names: Names, profile: ProfileConfig | None, snapshot: Snapshot) -> list[Row]:
    """Describe everything that may be asked for and is not unlisted, sorted by id."""
    phases = {view.model: view.phase for view in snapshot.upstreams}
    rows = [
        *(
            row
            for model in config.models.values()
            if not model.unlisted
            for row in _local(config, model, phases)
        ),
        *(_peer(found) for found in names.peer_models.values()),
        *(_selector(one, names, phases) for one in config.selectors.values() if not one.unlisted),
    ]
    if profile is not None:
        rows += [_row(pin, "profile") for pin, meant in profile.pins.items() if meant and _is_new(pin, names)]
    return sorted(rows, key=lambda row: str(row["id"]).encode(errors="surrogatepass"))


def _is_new(pin: str, names: Names) -> bool:
    return names.target(pin) is None and names.selector(pin) is None


def _local(config: Config, model: ModelConfig, phases: Mapping[str, Phase]) -> Iterator[Row]:
    loaded = phases.get(model.id, Phase.STOPPED) is not Phase.STOPPED
    about: Row = {"aliases": list(model.aliases)} if model.aliases else {}
    yield _described(model, _row(model.id, "model", about, loaded=loaded))
    if config.include_aliases_in_list:
        for alias in model.aliases:
            if alias.strip():
                yield _described(model, _row(alias, "alias", {"modelID": model.id}, loaded=loaded))


def _described(model: ModelConfig, row: Row) -> Row:
    _name(row, model.name, model.description)
    capabilities, about = model.capabilities, row["meta"]["llamaswap"]
    said = capable(capabilities)
    own = {key: value for key, value in model.metadata.items() if not said or key not in COVERED}
    row["meta"]["llamaswap"] = {**own, **about}
    if capabilities.context:
        row["meta"]["n_ctx"] = capabilities.context
    return {**row, **said}


def _peer(found: PeerModel) -> Row:
    row = _row(found.qualified, "peer", {"peerID": found.peer})
    row["name"] = f"{found.peer}: {found.model}"
    return row


def _selector(selector: SelectorConfig, names: Names, phases: Mapping[str, Phase]) -> Row:
    about: Row = {"strategy": selector.strategy, "targets": list(selector.targets)}
    if selector.strategy == "spillover":
        about["spillover"] = selector.spillover
    counted = selector.targets[:1] if selector.strategy == "pin" else selector.targets
    up = {Phase.STARTING, Phase.READY}
    loaded = any(phases.get(names.resolve(target) or "") in up for target in counted)
    row = _row(selector.id, "selector", about, loaded=loaded)
    row["meta"]["llamaswap"] = {**selector.metadata, **row["meta"]["llamaswap"]}
    _name(row, selector.name, selector.description)
    return row


def _row(id_: str, kind: str, about: Row | None = None, *, loaded: bool = False) -> Row:
    meta = {"llamaswap": {"type": kind, **(about or {})}}
    return {"id": id_, "meta": meta, "status": {"value": "loaded" if loaded else "unloaded"}}


def _name(row: Row, name: str, description: str) -> None:
    if name.strip():
        row["name"] = name.strip()
    if description.strip():
        row["description"] = description.strip()


def capable(capabilities: CapabilitiesConfig) -> Row:
    """Say what a model can do, if that is configured."""
    takes, gives = capabilities.inputs, capabilities.outputs
    said: Row = {}
    if takes or gives:
        architecture: Row = {"input_modalities": list(takes), "output_modalities": list(gives)}
        if takes and gives:
            architecture["modality"] = f"{'+'.join(takes)}->{'+'.join(gives)}"
        said["architecture"] = {key: value for key, value in architecture.items() if value}
    flags = {
        "vision": "image" in takes,
        "audio_transcriptions": "audio" in takes and "text" in gives,
        "audio_speech": "text" in takes and "audio" in gives,
        "image_generation": "text" in takes and "image" in gives,
        "image_to_image": "image" in takes and "image" in gives,
        "function_calling": capabilities.tools,
        "reranker": capabilities.reranker,
    }
    if any(flags.values()):
        said["capabilities"] = {flag: True for flag, true in flags.items() if true}
    if capabilities.tools:
        said["supported_parameters"] = ["tools", "tool_choice"]
    if capabilities.context:
        said["context_length"] = capabilities.context
    return said
