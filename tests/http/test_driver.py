"""Tests of `swapcore_http.driver`, with launchers that are only coroutines."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest
from attrs import define, field

from swapcore import (
    Catalog,
    Command,
    Engine,
    Event,
    Exited,
    LoadRequested,
    MisuseError,
    Model,
    Phase,
    Policy,
    Refusal,
    Start,
    StopReason,
    Tick,
    UnloadRequested,
    Urgency,
)
from swapcore_http.driver import (
    Control,
    Driver,
    EngineFailedError,
    Lease,
    Observation,
    RefusedError,
)
from swapcore_http.lease import NotUpError
from tests.http.conftest import ON_ANY_LOOP

pytestmark = [pytest.mark.anyio, ON_ANY_LOOP]


@define(eq=False)
class Rig:
    """A launcher whose runs do what the test tells them."""

    controls: dict[int, Control] = field(factory=dict)
    ready_at_once: bool = True
    deaf: bool = False
    killed: list[int] = field(factory=list)
    started: anyio.Event = field(factory=anyio.Event)
    die: dict[int, anyio.Event] = field(factory=dict)

    async def launch(self, start: Start, control: Control) -> str:
        self.controls[start.run] = control
        self.die[start.run] = anyio.Event()
        self.started.set()
        if self.ready_at_once:
            control.ready(f"http://{start.model}/{start.run}")
        try:
            async with anyio.create_task_group() as tasks:

                async def first_of(wait: Callable[[], object]) -> None:
                    await wait()  # type: ignore[misc]
                    tasks.cancel_scope.cancel()

                tasks.start_soon(first_of, self.die[start.run].wait)
                tasks.start_soon(first_of, control.forced.wait if self.deaf else control.stopping.wait)
        except BaseException:
            self.killed.append(start.run)
            raise
        return "gone"


def catalog(**limits: float) -> Catalog:
    return Catalog([Model("a", **limits), Model("b", **limits)])  # type: ignore[arg-type]


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
async def driver(rig: Rig) -> AsyncIterator[Driver]:
    async with Driver(Engine(catalog()), rig.launch) as driver:
        yield driver


def why(lease: Lease) -> str | None:
    return lease.cut


def idle(driver: Driver) -> bool:
    return all(view.leases == view.waiting == 0 for view in driver.snapshot().upstreams)


async def test_a_lease_brings_its_model_up_and_gives_its_url(driver: Driver) -> None:
    async with driver.lease("a") as lease:
        assert (lease.model, lease.run, lease.url, lease.cut) == ("a", 1, "http://a/1", None)
        assert driver.snapshot().upstream("a").leases == 1
    assert idle(driver)
    assert driver.snapshot().upstream("a").phase is Phase.READY


async def test_a_caller_for_a_ready_model_is_let_through_without_a_task_switch(driver: Driver) -> None:
    async with driver.lease("a"):
        pass
    lease = driver.lease("a")
    entering = lease.__aenter__()
    with pytest.raises(StopIteration):  # It ran to its end without ever waiting.
        entering.send(None)
    await lease.__aexit__(None, None, None)
    assert idle(driver)


async def test_a_swap_waits_for_the_lease_and_serves_in_turn(driver: Driver, rig: Rig) -> None:
    order: list[str] = []

    async def ask(model: str) -> None:
        async with driver.lease(model) as lease:
            order.append(lease.url)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks, driver.lease("a"):
        tasks.start_soon(ask, "b")
        await anyio.wait_all_tasks_blocked()
        assert driver.snapshot().upstream("b").waiting == 1
        assert not rig.controls[1].stopping.is_set()
    assert order == ["http://b/2"]
    assert rig.controls[1].reason is StopReason.EVICT


async def test_a_refusal_is_raised_on_entry(driver: Driver) -> None:
    with pytest.raises(RefusedError) as raised:
        async with driver.lease("x"):
            raise AssertionError("not reached")
    assert raised.value.refusal is Refusal.UNKNOWN_MODEL
    assert str(raised.value) == "no model is called 'x'"
    assert idle(driver)


async def ask_at_once(driver: Driver, model: str) -> None:
    async with driver.lease(model, patience=0):
        pass


async def turned_away(driver: Driver, model: str) -> None:
    """Ask for a model that may not be brought up for this, and fail unless it is refused."""
    with pytest.raises(NotUpError, match=f"^{model} is not up"):
        async with driver.lease(model, brings_up=False):
            raise AssertionError("not reached")


async def test_who_may_have_nothing_brought_up_is_served_while_it_is_up(driver: Driver, rig: Rig) -> None:
    await turned_away(driver, "a")
    assert driver.snapshot().upstream("a").phase is Phase.STOPPED
    async with driver.lease("a"), driver.lease("a", brings_up=False) as lease:
        assert lease.url == "http://a/1"
    async with driver.lease("b"):
        await turned_away(driver, "a")
    assert len(rig.controls) == 2
    assert not driver._clinging.leases
    assert idle(driver)


async def test_a_start_is_not_waited_for_by_who_may_have_nothing_brought_up(rig: Rig) -> None:
    rig.ready_at_once = False
    async with Driver(Engine(catalog()), rig.launch) as driver, anyio.create_task_group() as tasks:
        driver.load(["a"])
        await rig.started.wait()
        await turned_away(driver, "a")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["evicted", "unloaded", "lost", "exited", "served"])
async def test_who_waits_at_a_model_that_leaves_does_not_have_it_brought_up_again(rig: Rig, how: str) -> None:
    log: list[Observation] = []
    grown = anyio.Event()

    def observe(step: Observation) -> None:
        nonlocal grown
        log.append(step)
        grown.set()
        grown = anyio.Event()

    # Who is refused hears of it when the run is told to end, and not only when it is gone.
    rig.deaf = how == "evicted"
    engine = Engine(catalog(concurrency_limit=1), policy=Policy(load_factor=0, quantum=0))
    async with Driver(engine, rig.launch, observe=observe) as driver, anyio.create_task_group() as tasks:
        answers: list[str] = []

        async def cling() -> None:
            try:
                async with driver.lease("a", brings_up=False):
                    answers.append("served")
            except (NotUpError, RefusedError) as error:
                answers.append(type(error).__name__)

        async with driver.lease("a"):
            tasks.start_soon(cling)
            await anyio.wait_all_tasks_blocked()
            assert driver.snapshot().upstream("a").waiting == 1
            match how:
                case "evicted":
                    tasks.start_soon(ask_at_once, driver, "b")
                    with anyio.fail_after(60):
                        while driver.is_up("a"):
                            await grown.wait()
                    await turned_away(driver, "a")
                case "unloaded":
                    driver.report(UnloadRequested(("a",), Urgency.NOW))
                case "lost":
                    rig.controls[1].lost("it died")
                case "exited":
                    rig.die[1].set()
                case _:
                    pass
            await anyio.wait_all_tasks_blocked()
            assert len(answers) == (how not in {"served", "evicted"})
        await anyio.wait_all_tasks_blocked()
        assert len(answers) == 1
        assert not driver._clinging.leases
        if how == "evicted":
            assert driver.snapshot().upstream("a").phase is Phase.STOPPING
            rig.die[1].set()
            await anyio.wait_all_tasks_blocked()
        engine.check()
    starts = [command.model for step in log for command in step.commands if isinstance(command, Start)]
    assert starts == (["a", "b"] if how == "evicted" else ["a"])
    expected = {"unloaded": "RefusedError", "served": "served"}
    assert answers == [expected.get(how, "NotUpError")]


async def test_a_launcher_that_raises_is_a_failed_start(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    async def launch(start: Start, control: Control) -> str:
        raise OSError("no such thing")

    async with Driver(Engine(catalog()), launch) as driver:
        with pytest.raises(RefusedError, match="OSError: no such thing") as raised:
            async with driver.lease("a"):
                raise AssertionError("not reached")
        assert raised.value.refusal is Refusal.START_FAILED
    assert "the launcher of a failed" in caplog.text


async def test_a_caller_who_is_cancelled_while_waiting_leaves_the_line(rig: Rig) -> None:
    rig.ready_at_once = False
    async with Driver(Engine(catalog()), rig.launch) as driver:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rig.started.wait)
                tasks.start_soon(anyio.wait_all_tasks_blocked)

                async def ask() -> None:
                    async with driver.lease("a"):
                        raise AssertionError("not reached")

                tasks.start_soon(ask)
                await rig.started.wait()
                assert driver.snapshot().upstream("a").waiting == 1
                scope.cancel()
        assert idle(driver)
        rig.controls[1].ready("late")
        assert driver.snapshot().upstream("a").leases == 0


async def test_a_caller_cancelled_between_the_grant_and_its_wake_up_gives_the_lease_back(rig: Rig) -> None:
    rig.ready_at_once = False
    async with Driver(Engine(catalog()), rig.launch) as driver, anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def ask() -> None:
            with scope:
                async with driver.lease("a"):
                    await anyio.sleep_forever()

        tasks.start_soon(ask)
        await rig.started.wait()
        rig.controls[1].ready("now")
        assert driver.snapshot().upstream("a").leases == 1
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert idle(driver)


async def test_a_lost_run_cuts_its_leases_at_once(driver: Driver, rig: Rig) -> None:
    told: list[str] = []
    async with driver.lease("a") as lease:
        lease.on_cut(told.append)
        rig.controls[1].lost("exit status 1")
        assert told == ["exit status 1"]
        assert lease.cut == "exit status 1"
        lease.on_cut(told.append)
        assert told == ["exit status 1"] * 2, "who asks late is told at once"
        rig.die[1].set()
    async with driver.lease("a") as lease:
        assert lease.run == 2


async def test_an_unload_waits_for_the_exit_and_now_cuts(driver: Driver, rig: Rig) -> None:
    async with driver.lease("a") as lease:
        await driver.unload(["a"], Urgency.NOW)
        assert lease.cut == "a is being stopped (unload)"
        assert driver.snapshot().upstream("a").phase is Phase.STOPPED
    await driver.unload(["a", "b"])


async def test_loads_come_up_without_a_caller(driver: Driver, rig: Rig) -> None:
    driver.load(["b"])
    await rig.started.wait()
    assert driver.snapshot().upstream("b").phase is Phase.READY


async def test_deadlines_are_kept_by_the_timer(rig: Rig) -> None:
    rig.ready_at_once = False
    async with Driver(Engine(catalog(start_timeout=0.05)), rig.launch) as driver:
        with pytest.raises(RefusedError, match=r"not ready within 0\.05 s"):
            async with driver.lease("a"):
                raise AssertionError("not reached")
        await rig.controls[1].stopping.wait()


async def test_an_earlier_deadline_wakes_a_timer_that_sleeps_for_a_later_one(rig: Rig) -> None:
    rig.ready_at_once = False
    rig.deaf = True
    async with Driver(Engine(catalog(start_timeout=3600.0, unload_timeout=0.05)), rig.launch) as driver:
        driver.load(["a"])
        await anyio.wait_all_tasks_blocked()
        driver.report(UnloadRequested(("a",)))
        await rig.controls[1].forced.wait()


async def test_a_shutdown_drains_and_a_second_one_hurries(rig: Rig) -> None:
    rig.deaf = True
    async with Driver(Engine(catalog()), rig.launch) as driver, anyio.create_task_group() as tasks:
        async with driver.lease("a") as lease:
            tasks.start_soon(driver.shutdown)
            await anyio.wait_all_tasks_blocked()
            assert why(lease) is None
            tasks.start_soon(driver.shutdown)
            await anyio.wait_all_tasks_blocked()
            assert why(lease) == "a is being stopped (shutdown)"
            await driver.shutdown()
        assert rig.controls[1].forced.is_set()
        with pytest.raises(RefusedError) as raised:
            async with driver.lease("a"):
                raise AssertionError("not reached")
        assert raised.value.refusal is Refusal.SHUTTING_DOWN


async def test_leaving_the_driver_kills_what_runs_and_starts_nothing_more(rig: Rig) -> None:
    refused = anyio.Event()
    async with anyio.create_task_group() as tasks, Driver(Engine(catalog()), rig.launch) as driver:
        await driver.lease("a").__aenter__()

        async def ask() -> None:
            with pytest.raises(RefusedError):
                await driver.lease("b").__aenter__()
            refused.set()

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
    assert refused.is_set()
    assert rig.killed == [1]
    assert sorted(rig.controls) == [1]


async def test_misuse_by_an_embedder_is_raised_to_it_and_harms_nobody(driver: Driver) -> None:
    with pytest.raises(MisuseError, match="the catalog has no x"):
        driver.load(["x"])
    async with driver.lease("a"):
        pass


async def test_what_happens_is_observed(rig: Rig) -> None:
    seen: list[Observation] = []
    later: list[Observation] = []
    async with Driver(Engine(catalog()), rig.launch, observe=seen.append) as driver:
        driver.watch(later.append)
        async with driver.lease("a"):
            pass
    assert later == seen
    names = [type(one.event).__name__ for one in seen]
    assert names == ["Arrived", "BecameReady", "Released", "ShutdownRequested", "Exited"]
    assert [type(command).__name__ for one in seen for command in one.commands] == [
        "Start",
        "Forward",
        "Stop",
    ]


class BrokenEngine(Engine):
    """An engine with a bug, which shows at the first load requested."""

    def handle(self, event: Event, now: float) -> tuple[Command, ...]:
        assert not isinstance(event, LoadRequested), "a bug"
        return super().handle(event, now)


async def test_an_engine_that_fails_refuses_everyone_and_takes_the_driver_down(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    waiting: list[Lease] = []
    with pytest.raises(ExceptionGroup) as raised:
        async with Driver(BrokenEngine(catalog()), rig.launch) as driver, anyio.create_task_group() as tasks:
            held = await driver.lease("a").__aenter__()
            waiting.append(driver.lease("b"))

            async def ask() -> None:
                with pytest.raises(EngineFailedError):
                    await waiting[0].__aenter__()

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            driver.load(["b"])
            assert held.cut == "the engine failed"
            with pytest.raises(EngineFailedError):
                await driver.lease("a").__aenter__()
            await anyio.sleep_forever()
    assert "the engine failed at LoadRequested(models=('b',))" in caplog.text
    failures, rest = raised.value.split(EngineFailedError)
    assert rest is None
    assert failures is not None
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EngineFailedError)
    assert error.journal_tail[-1][1] == LoadRequested(("b",))
    assert rig.killed == [1]


async def test_a_tick_too_many_and_a_stale_exit_do_nothing(driver: Driver, rig: Rig) -> None:
    async with driver.lease("a"):
        pass
    rig.die[1].set()
    await rig.controls[1]._exited.wait()
    driver.report(Exited("a", 1))
    driver.report(Tick())
    assert driver.snapshot().upstream("a").phase is Phase.STOPPED


def lent(driver: Driver, **options: Any) -> Lease:
    """Take a lease that can be had without waiting."""
    assert driver.lets_in("a")
    lease = driver.lease("a", **options)
    lease.take()
    return lease


async def test_who_is_let_in_is_lent_a_lease_without_waiting_and_gives_it_back(driver: Driver) -> None:
    assert not driver.lets_in("a")
    assert not driver.lets_in("unknown")
    assert idle(driver)
    async with driver.lease("a"):
        lease = lent(driver, priority=2, patience=3.0, caller="c", share=0.5)
        assert (lease.run, lease.url) == (1, "http://a/1")
        assert lease.since is not None
        arrived = lease.arrived
        assert (arrived.priority, arrived.patience, arrived.caller, arrived.share) == (2, 3.0, "c", 0.5)
        assert arrived.evicts
        assert driver.snapshot().upstream("a").leases == 2
    lease.give_back()
    lease.give_back()
    assert idle(driver)


async def test_a_lease_that_was_lent_is_entered_and_left_like_any(driver: Driver) -> None:
    async with driver.lease("a"):
        pass
    lease = lent(driver, brings_up=False)
    assert not lease.arrived.evicts
    since = lease.since
    async with lease as entered:
        assert entered is lease
        assert lease.since == since
        assert driver.snapshot().upstream("a").leases == 1
    assert idle(driver)
    assert not driver._clinging.leases


async def test_nobody_is_lent_one_where_there_is_no_place_or_the_model_leaves(rig: Rig) -> None:
    async with Driver(Engine(catalog(concurrency_limit=1)), rig.launch) as driver:
        async with driver.lease("a"):
            assert not driver.lets_in("a")
        lease = lent(driver)
        driver.report(UnloadRequested(("a",)))
        assert not driver.lets_in("a")
        assert lease.cut is None
        driver.report(UnloadRequested(("a",), Urgency.NOW))
        assert why(lease) is not None
        lease.give_back()
        # They stay reachable from nothing that the lease holds.
        assert not lease._on_cut


async def test_nobody_is_lent_one_while_a_fact_is_dealt_with(rig: Rig) -> None:
    said: list[bool] = []

    def observe(_: Observation) -> None:
        said.append(made.lets_in("a"))

    made = Driver(Engine(catalog()), rig.launch, observe=observe)
    async with made, made.lease("a"):
        pass
    assert said
    assert not any(said)


async def test_who_is_told_that_a_lent_lease_is_cut_may_give_it_back_then(driver: Driver, rig: Rig) -> None:
    async with driver.lease("a"):
        pass
    lease = lent(driver)
    told: list[str] = []
    lease.on_cut(lambda _: lease.give_back())
    lease.on_cut(told.append)
    rig.controls[1].lost("died")
    assert (lease.cut, driver.snapshot().upstream("a").leases) == ("died", 0)
    lease.on_cut(told.append)
    assert told[-1] == "died"
