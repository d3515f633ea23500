"""Does the engine keep its invariants whatever happens in whatever order?

The machine reports any lawful fact at any time, late and stale ones too: a
ready that crossed a stop, the exit of a run long gone, ticks nobody asked for.
At the end faults cease, and everything must come to rest with everyone served.
"""

import math

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swapcore import (
    Arrived,
    BecameReady,
    Catalog,
    CatalogReplaced,
    Command,
    Event,
    Exited,
    Forward,
    LoadRequested,
    Lost,
    Model,
    Phase,
    Policy,
    Progressed,
    Reject,
    Released,
    Settings,
    ShutdownRequested,
    Start,
    Stop,
    Tick,
    UnloadRequested,
    Urgency,
    one_at_a_time,
)
from tests.core.driven import Driven, together

MODELS = ["a", "b", "c", "d"]
PLANNERS = {
    "one": one_at_a_time,
    "pairs": together("ab", "bc", "cd"),
    "all": together("abcd"),
    "mixed": together("abc", "d"),
}
SETTINGS = [
    None,
    None,
    Settings(max_queue=3, policy=Policy(patience=6.0, choice="work"), reload_drain_timeout=0.0),
    Settings(max_queue=9, policy=Policy(patience=math.inf), shutdown_timeout=0.0),
]
models = st.sampled_from(MODELS)
policies = st.builds(
    Policy,
    patience=st.sampled_from([60.0, 6.0, math.inf]),
    load_factor=st.sampled_from([2.0, 0.0]),
    quantum=st.sampled_from([1.0, 0.0]),
    choice=st.sampled_from(["oldest", "age", "work"]),
)
urgencies = st.sampled_from(Urgency)


class EngineMachine(RuleBasedStateMachine):
    """Tells an engine everything that could happen."""

    @initialize(
        planner=st.sampled_from(sorted(PLANNERS)),
        limit=st.integers(1, 3),
        ttl=st.sampled_from([None, 0.0, 5.0]),
        grace=st.sampled_from([0.0, 4.0]),
        extends=st.booleans(),
        policy=policies,
        pinned=st.sampled_from(["", "", "a", "bd"]),
    )
    def begin(  # noqa: PLR0917 - one argument for each thing drawn.
        self,
        planner: str,
        limit: int,
        ttl: float | None,
        grace: float,
        extends: bool,  # noqa: FBT001
        policy: Policy,
        pinned: str,
    ) -> None:
        self.models = {
            name: Model(
                name,
                concurrency_limit=limit,
                ttl=ttl if name in "ab" else None,
                start_timeout=20.0,
                unload_timeout=grace,
                progress_extends_start=extends,
                max_queue=4,
                pinned=name in pinned,
            )
            for name in MODELS
        }
        self.driven = Driven(
            *self.models.values(),
            planner=PLANNERS[planner],
            policy=policy,
            max_queue=9,
            shutdown_timeout=6.0,
            reload_drain_timeout=15.0,
        )
        self.tickets = 0
        self.open: dict[int, Command | None] = {}
        self.runs: dict[int, str] = {}
        self.lost: set[int] = set()
        self.past: list[tuple[str, int]] = []
        self.shut_down = False

    def tell(self, event: Event, after: float = 0.0) -> tuple[Command, ...]:
        commands = self.driven.tell(event, after=after)
        for command in commands:
            match command:
                case Start(model, run):
                    self.runs[run] = model
                case Forward(ticket) | Reject(ticket):
                    self.open[ticket] = command
                case _:
                    pass
        return commands

    @rule(
        model=models,
        priority=st.integers(0, 1),
        patience=st.sampled_from([None, None, 0.0, 12.0, math.inf]),
        caller=st.sampled_from([None, None, "x", "y"]),
        share=st.sampled_from([None, None, 0.5]),
        evicts=st.booleans(),
    )
    def arrive(
        self,
        model: str,
        priority: int,
        patience: float | None,
        caller: str | None,
        share: float | None,
        *,
        evicts: bool,
    ) -> None:
        self.tickets += 1
        ticket = self.tickets
        self.open[ticket] = None
        let_in = self.driven.engine.lets_in(model)
        answered = self.tell(Arrived(ticket, model, priority, patience, caller, share, evicts))
        about_it = [each for each in answered if isinstance(each, Forward | Reject) and each.ticket == ticket]
        if let_in:
            # It comes first, whatever else was due, and the run that serves it is not stopped with that.
            (forward,) = about_it
            assert isinstance(forward, Forward)
            assert answered[0] is forward
            assert not any(isinstance(each, Stop) and each.run == forward.run for each in answered)
        elif about_it and isinstance(about_it[0], Forward):
            # Something else that was due has made room: its arrival alone would not have let it in.
            assert answered[0] is not about_it[0]
        if caller is not None:
            waiting = [one for one in self.driven.judge.waiting if one.caller == caller]
            assert len(waiting) <= 9 * 0.75 or share is None

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(sorted(self.open)))
        del self.open[ticket]
        self.tell(Released(ticket))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def become_ready(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(set(self.runs) - self.lost) or sorted(self.runs)))
        self.tell(BecameReady(self.runs[run], run))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), leader_first=st.booleans())
    def end(self, data: st.DataObject, leader_first: bool) -> None:  # noqa: FBT001
        run = data.draw(st.sampled_from(sorted(self.runs)))
        if leader_first and run not in self.lost:
            self.lost.add(run)
            self.tell(Lost(self.runs[run], run, "died"))
        else:
            self.past.append((self.runs[run], run))
            self.tell(Exited(self.runs.pop(run), run, "gone"))

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def progress(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.runs)))
        self.tell(Progressed(self.runs[run], run))

    @precondition(lambda self: self.past)
    @rule(data=st.data(), kind=st.sampled_from([BecameReady, Progressed, Lost, Exited]))
    def tell_an_old_story(
        self, data: st.DataObject, kind: type[BecameReady | Progressed | Lost | Exited]
    ) -> None:
        model, run = data.draw(st.sampled_from(self.past))
        before = self.driven.engine.snapshot()
        assert self.driven.tell(kind(model, run), after=0.0) == ()
        assert self.driven.engine.snapshot() == before

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 10.0, 30.0]))
    def let_time_pass(self, seconds: float) -> None:
        """Time passes, with a tick at each deadline on the way, as the contract asks."""
        until = self.driven.now + seconds
        while (deadline := self.driven.engine.deadline) is not None and deadline <= until:
            self.tell(Tick(), after=deadline - self.driven.now)
        self.tell(Tick(), after=until - self.driven.now)

    @rule(seconds=st.sampled_from([1.0, 15.0]))
    def let_time_pass_unnoticed(self, seconds: float) -> None:
        """A busy server's timer is late: the next event finds several deadlines passed."""
        self.driven.now += seconds

    @rule(wanted=st.lists(models, max_size=3))
    def load(self, wanted: list[str]) -> None:
        self.tell(LoadRequested(self.known(wanted)))

    @rule(unwanted=st.lists(models, max_size=2), urgency=urgencies)
    def unload(self, unwanted: list[str], urgency: Urgency) -> None:
        self.tell(UnloadRequested(self.known(unwanted), urgency))

    def known(self, names: list[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self.driven.judge.catalog.by_id)

    @rule(
        gone=st.sampled_from(["", "", "a", "bc"]),
        changed=st.sampled_from(["", "", "a", "bd"]),
        planner=st.sampled_from([None, None, *sorted(PLANNERS)]),
        settings=st.sampled_from(SETTINGS),
    )
    def replace_the_catalog(
        self, gone: str, changed: str, planner: str | None, settings: Settings | None
    ) -> None:
        for name in changed:
            self.models[name] = evolve(self.models[name], revision=self.models[name].revision + "+")
        catalog = Catalog(model for name, model in self.models.items() if name not in gone)
        self.tell(CatalogReplaced(catalog, None if planner is None else PLANNERS[planner], settings))

    @precondition(lambda self: self.tickets > 6)
    @rule(urgency=urgencies)
    def shut_down_everything(self, urgency: Urgency) -> None:
        self.shut_down = True
        self.tell(ShutdownRequested(urgency))

    @invariant()
    def a_second_tick_does_nothing(self) -> None:
        if hasattr(self, "driven"):
            self.tell(Tick())
            assert self.driven.tell(Tick(), after=0.0) == ()

    def teardown(self) -> None:
        """Faults cease: everything asked for is done, and everyone must be answered."""
        if not hasattr(self, "driven"):
            return
        for _ in range(10_000):
            if not self.calm():
                break
        else:
            raise AssertionError("no rest: the engine gives orders for ever")
        assert not self.open, f"never answered: {sorted(self.open)}"
        if self.shut_down:
            assert self.driven.engine.finished
        assert all(
            view.phase in {Phase.READY, Phase.STOPPED} for view in self.driven.engine.snapshot().upstreams
        )
        assert all(view.leases == view.waiting == 0 for view in self.driven.engine.snapshot().upstreams)

    def calm(self) -> bool:
        """Do the one thing that is most overdue in a world without faults; say whether there was one."""
        snapshot = self.driven.engine.snapshot()
        for view in snapshot.upstreams:
            if view.run is not None and (view.phase is Phase.STOPPING or view.run in self.lost):
                self.runs.pop(view.run)
                self.tell(Exited(view.model, view.run))
                return True
            if view.run is not None and view.phase is Phase.STARTING:
                self.tell(BecameReady(view.model, view.run))
                return True
        for ticket, answer in self.open.items():
            if answer is not None:
                del self.open[ticket]
                self.tell(Released(ticket))
                return True
        # Who waits for a model that cools down has been refused; wishes come up when it has.
        if snapshot.wishes and self.driven.due() is not None:
            self.tell(Tick(), after=max(0.0, (self.driven.due() or 0.0) - self.driven.now))
            return True
        return False


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
