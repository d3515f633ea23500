"""How does a caller hold a model, and what is it told if it cannot?"""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import define, field

from swapcore import Arrived, Event, Forward, Refusal, Reject, SwapcoreError
from swapcore_http.once import Once, once

if TYPE_CHECKING:
    from swapcore_http.driver import Driver

__all__ = ["Clinging", "EngineFailedError", "Lease", "NotUpError", "RefusedError"]


class RefusedError(SwapcoreError):
    """The engine refused this caller."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(reject.detail or reject.refusal.value)
        self.refusal: Refusal = reject.refusal
        self.detail: str = reject.detail
        self.retry_after: float | None = reject.retry_after


class NotUpError(SwapcoreError):
    """The model is not up, or leaves, and this caller may not have it brought up."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} is not up, and this caller may not have it brought up")
        self.model = model


class EngineFailedError(SwapcoreError):
    """The engine raised: a bug of ours, after which nothing it says can be trusted.

    All callers get this error and all runs are killed. `journal_tail` holds
    the last events with their times, newest last, for the report.
    """

    def __init__(self, journal_tail: Iterable[tuple[float, Event]]) -> None:
        super().__init__("the engine failed; see the log")
        self.journal_tail = tuple(journal_tail)


@define(eq=False, repr=False)
class Lease:
    """One caller's right to one run, as an async context manager.

    Entering waits for the model; leaving gives the room back. Between the two
    the upstream is not evicted, though an operator, a limit or a crash may cut
    the lease: whoever forwards should ask to be told by `on_cut`.

    Raises:
        RefusedError: on entry, if the engine refuses the caller.
        NotUpError: on entry, if the model would have to be brought up for a caller who may not have that.
        EngineFailedError: on entry, if the engine has failed.
    """

    arrived: Arrived
    """How the caller arrives: its ticket, the model it wants, and the dials."""

    url: str = field(default="", init=False)
    """The base URL at which the run answers, once entered."""

    run: int = field(default=0, init=False)
    """The number of the run, once entered."""

    since: float | None = field(default=None, init=False)
    """When it was let through, on the driver's clock, once it was."""

    cut: str | None = field(default=None, init=False)
    """Why the run is not to be used any more, if that is so."""

    brings_up: bool = field(kw_only=True)
    """Whether the model may be brought up for this caller; else it is served only while the model is up."""

    meanwhile: Callable[[], AbstractAsyncContextManager[object]] = field(default=nullcontext, init=False)
    """Makes what is entered while it waits, if it has to; to be set before it is entered itself."""

    _driver: "Driver"
    _answer: Forward | Reject | NotUpError | EngineFailedError | None = field(default=None, init=False)
    _answered: Once | None = field(default=None, init=False)
    _on_cut: list[Callable[[str], None]] = field(factory=list, init=False)

    @property
    def ticket(self) -> int:
        """The number under which the engine knows the caller."""
        return self.arrived.ticket

    @property
    def model(self) -> str:
        """The id of the model that is leased."""
        return self.arrived.model

    def take(self) -> None:
        """Enter it without waiting, right after `Driver.lets_in` has said that this can be done."""
        self._driver._arrive(self)
        assert isinstance(self._answer, Forward)  # noqa: S101 - it was asked beforehand.

    def give_back(self) -> None:
        """Leave it; does nothing once it is left."""
        self._driver._release(self)
        # Who was to be told holds the lease as well: they would stay until the garbage is looked for.
        self._on_cut.clear()

    async def __aenter__(self) -> Self:
        """Wait until the engine forwards or rejects this caller; does nothing if it is entered already."""
        if self.since is not None:
            return self
        self._driver._arrive(self)
        if self._answer is None:
            self._answered = once()
            try:
                async with self._wait():
                    await self._answered
            except BaseException:
                self._driver._release(self)
                raise
        answer = self._answer
        if isinstance(answer, Forward):
            return self
        self._driver._release(self)
        if isinstance(answer, Reject):
            raise RefusedError(answer)
        assert answer is not None  # noqa: S101 - set before it happens.
        raise answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the room back."""
        self.give_back()

    def _wait(self) -> AbstractAsyncContextManager[object]:
        """Make what is entered while it waits; what that took is given up, for thousands may wait."""
        made, self.meanwhile = self.meanwhile(), nullcontext
        return made

    def on_cut(self, tell: Callable[[str], None]) -> None:
        """Call `tell` with the reason when the lease is cut; at once if it is already."""
        if self.cut is None:
            self._on_cut.append(tell)
        else:
            tell(self.cut)

    def _cut(self, detail: str) -> None:
        if self.cut is None:
            self.cut = detail
            for tell in self._on_cut:
                tell(detail)

    def _tell(self, answer: Forward | Reject | NotUpError | EngineFailedError) -> None:
        self._answer = answer
        if self._answered is not None:
            self._answered.happen()


@define(eq=False, repr=False)
class Clinging:
    """The callers who wait at a model that is up, and may not have it brought up again if it leaves."""

    leases: dict[str, dict[int, Lease]] = field(factory=dict, init=False)
    """Their leases, by model and ticket."""

    def add(self, lease: Lease) -> None:
        """Note that one waits."""
        self.leases.setdefault(lease.model, {})[lease.ticket] = lease

    def discard(self, lease: Lease) -> None:
        """Note that one waits no more, if it did."""
        here = self.leases.get(lease.model)
        if here is not None and here.pop(lease.ticket, None) is not None and not here:
            del self.leases[lease.model]

    def take(self, model: str) -> list[Lease]:
        """Take out all who wait at that model."""
        return list(self.leases.pop(model, {}).values())
