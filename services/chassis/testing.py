"""For tests, ours and those of services built on the chassis: a clock that's moved by hand, and a service served
in-process."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import TypeVar

import grpc

from services.chassis.app import App
from services.chassis.callers import KnowsCallers
from services.chassis.clients import open_channel
from services.chassis.clock import SECOND, Instant
from services.chassis.loops import Running
from services.chassis.server import Server
from services.chassis.telemetry import Telemetry

Result = TypeVar("Result")


class FakeClock:
    """A clock that stands still until it's advanced."""

    def __init__(self, start: Instant = 1_750_000_000 * SECOND) -> None:
        self._now = start
        self._order = count()
        self._waiting: list[tuple[Instant, int, asyncio.Future[None]]] = []

    def now(self) -> Instant:
        return self._now

    def advance(self, micros: int) -> None:
        """Let so much time pass, and wake those who waited for it."""
        self._now += micros
        while self._waiting and self._waiting[0][0] <= self._now:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)

    async def wait_until(self, at: Instant) -> None:
        if at <= self._now:
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (at, next(self._order), waiter))
        await waiter


@asynccontextmanager
async def serving(
    app: App, callers: KnowsCallers | None = None, telemetry: Telemetry | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve an app, to these callers or to everybody, on a free loopback port with its loops running, and give a
    channel to it."""
    server = Server(app.mounted, callers, telemetry=telemetry)
    port = await server.start("127.0.0.1:0")
    await server.set_serving(True)
    running = Running(app.loops)
    channel = open_channel(f"127.0.0.1:{port}")
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(1)
        await running.stop(5)


async def eventually(
    probe: Callable[[], Awaitable[Result | None]], *, within_s: float = 10, every_s: float = 0.005
) -> Result:
    """Ask again and again, `every_s` apart, until the answer is neither None nor false. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while True:
            result = await probe()
            if result:
                return result
            await asyncio.sleep(every_s)
