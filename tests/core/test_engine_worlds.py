"""Does everyone get an answer in any world that the simulator can dream up?"""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from swapcore import (
    Catalog,
    Engine,
    Event,
    Forward,
    LoadRequested,
    Model,
    Planner,
    Reject,
    ShutdownRequested,
    UnloadRequested,
    Urgency,
    one_at_a_time,
)
from swapcore.testing import Fate, Simulator, replay
from tests.core.driven import together
from tests.core.oracle import Judge

NAMES = "abcd"
seconds = st.integers(0, 60).map(float)
fates = st.builds(
    Fate,
    load=st.sampled_from([0.0, 1.0, 7.0, math.inf]),
    stop=st.sampled_from([0.0, 2.0, math.inf]),
    kill=st.sampled_from([0.0, 3.0, 15.0]),
    fails_after=st.sampled_from([math.inf, math.inf, 0.0, 3.0]),
    crashes_after=st.sampled_from([math.inf, math.inf, 0.0, 9.0]),
    lingers=st.sampled_from([0.0, 4.0, 40.0]),
)
callers = st.tuples(
    seconds,
    st.sampled_from(NAMES),
    st.sampled_from([0.0, 0.5, 4.0, 20.0]),
    st.sampled_from([0.0, 3.0, math.inf, math.inf]),
    st.integers(0, 1),
    st.sampled_from([None, None, 0.0, 10.0]),
    st.sampled_from([None, None, "x", "y"]),
)
orders: st.SearchStrategy[Event] = st.one_of(
    st.lists(st.sampled_from(NAMES), max_size=4).map(lambda names: LoadRequested(tuple(names))),
    st.builds(
        UnloadRequested, st.lists(st.sampled_from(NAMES), max_size=2).map(tuple), st.sampled_from(Urgency)
    ),
    st.builds(ShutdownRequested, st.sampled_from(Urgency)),
)
planners: st.SearchStrategy[Planner] = st.sampled_from(
    [one_at_a_time, together("ab", "cd"), together("abc", "ad")]
)
limits = st.fixed_dictionaries(
    {
        "concurrency_limit": st.integers(1, 3),
        "ttl": st.sampled_from([None, 0.0, 6.0]),
        "start_timeout": st.sampled_from([5.0, 50.0]),
        "unload_timeout": st.sampled_from([0.0, 5.0]),
    }
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(limits, min_size=4, max_size=4),
    planners,
    st.fixed_dictionaries({name: st.lists(fates, min_size=1, max_size=3) for name in NAMES}),
    st.lists(callers, max_size=25),
    st.lists(st.tuples(seconds, orders), max_size=3),
)
def test_every_world_comes_to_rest_with_every_caller_answered(
    models: list[dict[str, float]],
    planner: Planner,
    world: dict[str, list[Fate]],
    traffic: list[tuple[float, str, float, float, int, float | None, str | None]],
    operator: list[tuple[float, Event]],
) -> None:
    catalog = Catalog(Model(name, **limits) for name, limits in zip(NAMES, models, strict=True))  # type: ignore[arg-type]
    simulator = Simulator(catalog, planner, fates=world, shutdown_timeout=8.0, caller_share=0.5)
    for at, model, service, gives_up_after, priority, patience, whose in traffic:
        simulator.ask(
            model,
            at=at,
            service=service,
            gives_up_after=gives_up_after,
            priority=priority,
            patience=patience,
            caller=whose,
        )
    for at, order in operator:
        simulator.tell(order, at=at)
    simulator.run(max_steps=20_000)

    judge = Judge(catalog, planner)
    for step in simulator.log:
        judge.see(step.now, step.event, step.commands)
    for ticket, caller in simulator.callers.items():
        assert caller.released_at is not None, f"caller {ticket} was never finished"
        if isinstance(caller.answer, Forward):
            assert caller.answer.model == caller.model
        elif caller.answer is None:
            assert caller.released_at == caller.arrived_at + caller.gives_up_after
        else:
            assert isinstance(caller.answer, Reject)
    assert all(view.leases == view.waiting == 0 for view in simulator.engine.snapshot().upstreams)
    if any(isinstance(order, ShutdownRequested) for _, order in operator):
        assert simulator.engine.finished

    again = replay(Engine(catalog, planner, shutdown_timeout=8.0, caller_share=0.5), simulator.journal)
    assert again == [step.commands for step in simulator.log]
