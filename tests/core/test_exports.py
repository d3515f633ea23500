"""Is what a user imports from the top the sum of what the modules offer?"""

import importlib
import subprocess
import sys
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


def test_each_name_is_where_it_is_said_to_be() -> None:
    homes = {name: home for home, names in swapcore._HOMES.items() for name in names}
    assert sorted(homes) == sorted(swapcore.__all__)
    for name, home in homes.items():
        assert getattr(swapcore, name) is getattr(importlib.import_module(home), name)
    assert set(swapcore.__all__) <= set(dir(swapcore))
    with pytest.raises(AttributeError, match="module 'swapcore' has no attribute 'Nothing'"):
        swapcore.Nothing  # type: ignore[attr-defined] # noqa: B018 - that is asked here.


def test_who_needs_the_planners_alone_does_not_wait_for_the_engine() -> None:
    code = "import sys, swapcore, swapcore.planning; print('swapcore.engine' in sys.modules, swapcore.Engine)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False <class 'swapcore.engine.Engine'>\n"


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
