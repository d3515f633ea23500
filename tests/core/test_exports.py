"""Is what a user imports from the top the sum of what the modules offer?"""

import importlib
import typing

import attrs
import pytest

import swapcore

PUBLIC = ["catalog", "collation", "commands", "engine", "errors", "events", "settings", "snapshot"]


def test_the_top_level_is_the_union_of_the_public_modules() -> None:
    offered = {name for module in PUBLIC for name in importlib.import_module(f"swapcore.{module}").__all__}
    # How a snapshot is taken, and how lines are kept, is between the engine and those modules.
    # Planners but the default stay in the package of their own.
    planning = {"Plan", "Planner", "one_at_a_time"}
    assert planning <= set(importlib.import_module("swapcore.planning").__all__)
    assert set(swapcore.__all__) == offered - {"take_snapshot", "Line", "Waiting", "in_turn"} | planning
    assert list(swapcore.__all__) == sorted(swapcore.__all__, key=lambda name: (name.islower(), name))


@pytest.mark.parametrize("union", [swapcore.Event, swapcore.Command])
def test_messages_are_frozen_and_say_when_and_what(union: object) -> None:
    for message in typing.get_args(union):
        assert attrs.has(message)
        assert message.__doc__, message
        names = [one.name for one in attrs.fields(message)]
        one = message(*[None] * len(names))
        for name in names:
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(one, name, 1)


def test_the_contract_names_every_message_an_integrator_must_report_or_perform() -> None:
    contract = swapcore.__doc__ or ""
    for name in (
        "Arrived",
        "Released",
        "BecameReady",
        "Lost",
        "Exited",
        "Tick",
        "Start",
        "Stop",
        "Forward",
        "Reject",
    ):
        assert f"`{name}`" in contract, name
