"""How long does a websocket keep a model?

A tunnel holds a lease like any request. Once no byte has moved for a while it
gives the lease back, so that its model can make room, and takes a new one
before the next byte. If the model leaves meanwhile the client is told with
the close code 1012, "service restart".
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import anyio
from aiohttp import web
from attrs import define, field, frozen

from swapcore import SwapcoreError
from swapcore_http.delivery import Relayed
from swapcore_http.forward import Leased, Manner, forward_upgrade
from swapcore_http.lease import Lease
from swapcore_http.tunnel import Tunnel
from swapcore_http.upstreams import Upstreams

__all__ = ["Loose", "Tunnels", "is_websocket"]


def is_websocket(request: web.BaseRequest) -> bool:
    """Tell whether the client wants to speak as a websocket from here on."""
    if "Upgrade" not in request.headers:
        return False
    return "upgrade" in _tokens(request, "Connection") and "websocket" in _tokens(request, "Upgrade")


def _tokens(request: web.BaseRequest, name: str) -> set[str]:
    values = ",".join(request.headers.getall(name, ()))
    return {token.strip().lower() for token in values.split(",")}


@frozen(eq=False, repr=False)
class Loose:
    """A run that a tunnel leads to without a lease: neither waits for the other."""

    model: str
    """The id of the model, or what a peer's model is called."""

    url: str
    """The base URL at which it answers."""

    run: int
    """The number of the run."""

    cut: str | None = None

    def on_cut(self, tell: Callable[[str], None]) -> None:
        """Do nothing: tunnels hear from `Tunnels.leaving` that their run leaves."""


@define(eq=False, repr=False)
class Tunnels:
    """The tunnels that are open, by the runs that they lead to."""

    upstreams: Upstreams
    """The connections to these runs."""

    _open: dict[int, set[Tunnel]] = field(factory=dict, init=False)

    def leaving(self, run: int) -> None:
        """Hear that a run will serve nobody any more."""
        for tunnel in tuple(self._open.get(run, ())):
            tunnel.leave()

    async def lend(
        self, request: web.Request, lend: Callable[[], Lease], *, target: str, manner: Manner, idle: float
    ) -> web.StreamResponse:
        """Have a model answer a websocket that holds a lease of it while bytes move.

        Args:
            request: The client's request.
            lend: Makes a lease that is not entered yet.
            target: Path and query to ask for, encoded.
            manner: What is particular about this request.
            idle: Seconds without a byte after which the lease is given back; 0 for never.

        Raises:
            RefusedError: there is no lease.
            ApiError: the upstream did not answer.
        """
        async with AsyncExitStack() as leases:
            lease = await leases.enter_async_context(lend())

            async def keep(tunnel: Tunnel) -> None:
                lease.on_cut(lambda _: tunnel.leave())
                await _keep_while_moving(tunnel, leases, lend, lease.run, idle)
                # Whatever else the client is to be told, its model is free.
                await leases.aclose()

            return await self._join(request, lease, target, manner, keep)

    async def join(
        self, request: web.Request, to: Loose, *, target: str, manner: Manner
    ) -> web.StreamResponse:
        """Have a run answer a websocket that keeps it from nothing.

        Raises:
            ApiError: the upstream did not answer.
        """

        async def keep(tunnel: Tunnel) -> None:
            await tunnel.until_idle(0)

        return await self._join(request, to, target, manner, keep)

    async def _join(
        self,
        request: web.Request,
        to: Leased,
        target: str,
        manner: Manner,
        keep: Callable[[Tunnel], Awaitable[None]],
    ) -> web.StreamResponse:
        """Join the client to that run for as long as `keep` takes."""
        answer = await forward_upgrade(request, to, self.upstreams, target=target, manner=manner)
        if isinstance(answer, web.StreamResponse):
            return answer
        tunnel = Tunnel(request, answer, manner.tap)
        tunnels = self._open.setdefault(to.run, set())
        tunnels.add(tunnel)
        try:
            async with anyio.create_task_group() as tasks:
                tunnel.open()
                tasks.start_soon(tunnel.pump)
                await keep(tunnel)
                await tunnel.bid_farewell()
                tasks.cancel_scope.cancel()
        finally:
            tunnel.close()
            tunnels.discard(tunnel)
            if not tunnels:
                self._open.pop(to.run, None)
        return Relayed(answer.head, keep_alive=False)


async def _keep_while_moving(
    tunnel: Tunnel, leases: AsyncExitStack, lend: Callable[[], Lease], run: int, idle: float
) -> None:
    """Hold a lease while bytes move, until one side goes or the model leaves."""
    while True:
        await tunnel.until_idle(idle)
        if tunnel.over():
            return
        await leases.aclose()
        await tunnel.until_moved()
        if tunnel.over():
            return
        lease = lend()
        try:
            await tunnel.unless_over(leases.enter_async_context(lease))
        except SwapcoreError:
            tunnel.leave()
        if tunnel.over():
            return
        if lease.run != run:
            # It left and came again, and nobody has told yet.
            tunnel.leave()
            return
        lease.on_cut(lambda _: tunnel.leave())
        tunnel.go_on()
