"""Do lists of models say of each what clients of llama-swap look for?"""

from typing import Any

import pytest

from swapcore import Phase, Snapshot, UpstreamView
from swapcore_http.config import (
    CapabilitiesConfig,
    Config,
    GroupConfig,
    ModelConfig,
    ProfileConfig,
    SelectorConfig,
)
from swapcore_http.model_rows import model_rows


def model(id_: str, **fields: Any) -> ModelConfig:
    return ModelConfig(id_, proxy="http://not.used", **fields)


def rows(config: Config, profile: ProfileConfig | None = None, **phases: Any) -> dict[str, Any]:
    views = tuple(
        UpstreamView(
            model=id_,
            phase=phase,
            run=1,
            leases=0,
            waiting=0,
            closed=False,
            stuck=False,
            idle_since=None,
            cooling_until=None,
        )
        for id_, phase in phases.items()
    )
    snapshot = Snapshot(now=0.0, upstreams=views, tickets=(), wishes=(), shutting_down=False)
    found = model_rows(config, config.names(), profile, snapshot)
    assert len({row["id"] for row in found}) == len(found)
    return {row.pop("id"): row for row in found}


UNLOADED, LOADED = {"value": "unloaded"}, {"value": "loaded"}


def test_a_plain_model() -> None:
    config = Config(models=[model("a"), model("hidden", unlisted=True)])
    assert rows(config) == {"a": {"meta": {"llamaswap": {"type": "model"}}, "status": UNLOADED}}


def test_everything_that_can_be_said_of_a_model() -> None:
    capabilities = CapabilitiesConfig(
        inputs=("text", "image"), outputs=("text",), tools=True, reranker=True, context=4096
    )
    metadata = {"port": 5, "architecture": "mine", "type": "mine", "aliases": "mine"}
    one = model(
        "a",
        name=" A ",
        description=" what\n",
        aliases=("b", "c"),
        capabilities=capabilities,
        metadata=metadata,
    )
    assert rows(Config(models=[one]), a=Phase.STARTING) == {
        "a": {
            "name": "A",
            "description": "what",
            "architecture": {
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
                "modality": "text+image->text",
            },
            "capabilities": {"vision": True, "function_calling": True, "reranker": True},
            "supported_parameters": ["tools", "tool_choice"],
            "context_length": 4096,
            "meta": {"llamaswap": {"port": 5, "type": "model", "aliases": ["b", "c"]}, "n_ctx": 4096},
            "status": LOADED,
        }
    }


@pytest.mark.parametrize(
    ("takes", "gives", "flags"),
    [
        ("text", "text", None),
        ("image", "", {"vision"}),
        ("audio", "", None),
        ("audio", "text", {"audio_transcriptions"}),
        ("text", "audio", {"audio_speech"}),
        ("text", "image", {"image_generation"}),
        ("image", "image", {"vision", "image_to_image"}),
        ("", "image", None),
        ("text audio", "text audio", {"audio_transcriptions", "audio_speech"}),
    ],
)
def test_what_modalities_come_to(takes: str, gives: str, flags: set[str] | None) -> None:
    capabilities = CapabilitiesConfig(inputs=takes.split(), outputs=gives.split())
    row = rows(Config(models=[model("a", capabilities=capabilities)]))["a"]
    assert set(row.get("capabilities", ())) == (flags or set())
    assert ("capabilities" in row) == bool(flags)
    both = {"modality": f"{'+'.join(takes.split())}->{'+'.join(gives.split())}"} if takes and gives else {}
    sides = {"input_modalities": takes.split(), "output_modalities": gives.split()}
    assert row["architecture"] == {**{key: value for key, value in sides.items() if value}, **both}


def test_metadata_says_what_capabilities_do_not() -> None:
    metadata = {"architecture": {"x": 1}, "context_length": 9}
    row = rows(Config(models=[model("a", metadata=metadata)]))["a"]
    assert row["meta"]["llamaswap"] == {**metadata, "type": "model"}
    assert "architecture" not in row


def test_aliases_as_models_of_their_own() -> None:
    one = model("a", aliases=("z", "b"), name="A", capabilities=CapabilitiesConfig(tools=True))
    found = rows(Config(models=[one], include_aliases_in_list=True), a=Phase.READY)
    assert list(found) == ["a", "b", "z"]
    assert found["b"]["meta"]["llamaswap"] == {"type": "alias", "modelID": "a"}
    assert (found["b"]["name"], found["b"]["status"]) == ("A", LOADED)
    assert found["b"]["supported_parameters"] == ["tools", "tool_choice"]


@pytest.mark.parametrize(
    ("strategy", "phases", "status"),
    [
        ("pin", {}, UNLOADED),
        ("pin", {"b": Phase.READY}, UNLOADED),
        ("pin", {"a": Phase.STARTING}, LOADED),
        ("warm", {"b": Phase.READY}, LOADED),
        ("spillover", {"a": Phase.STOPPING}, UNLOADED),
        ("spillover", {"b": Phase.STARTING}, LOADED),
    ],
)
def test_selectors(strategy: str, phases: dict[str, Any], status: dict[str, str]) -> None:
    one = SelectorConfig(
        "s",
        strategy=strategy,
        targets=("a", "b"),
        spillover=3,
        name="S",
        metadata={"x": 1, "type": "mine"},
    )
    hidden = SelectorConfig("h", strategy="pin", targets=("a",), unlisted=True)
    config = Config(
        models=[model("a"), model("b")],
        selectors=[one, hidden],
        groups=[GroupConfig("g", swap=False, members=("a", "b"))],
    )
    found = rows(config, **phases)
    assert list(found) == ["a", "b", "s"]
    about = {"x": 1, "type": "selector", "strategy": strategy, "targets": ["a", "b"]}
    spillover = {"spillover": 3} if strategy == "spillover" else {}
    assert found["s"] == {"name": "S", "meta": {"llamaswap": {**about, **spillover}}, "status": status}


def test_pins_that_are_new_names() -> None:
    pins = {"new": "a", "off": "", "a": "b", "alias": "b", "hidden": "a", "s": "a"}
    profile = ProfileConfig("p", pins=pins)
    config = Config(
        models=[model("a", aliases=("alias",)), model("b"), model("hidden", unlisted=True)],
        selectors=[SelectorConfig("s", strategy="pin", targets=("a",))],
        profiles=[profile],
    )
    assert list(rows(config)) == ["a", "b", "s"]
    assert list(rows(config, profile)) == ["a", "b", "new", "s"]
    row = rows(config, profile, a=Phase.READY)["new"]
    assert row == {"meta": {"llamaswap": {"type": "profile"}}, "status": UNLOADED}
