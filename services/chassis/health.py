"""Whether the service can do its work: asked every second, told to `grpc.health.v1`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from services.chassis.errors import CaminoError
from services.chassis.server import Server

log = structlog.get_logger()

Probe = Callable[[], Awaitable[None]]
"""Returns if what it probes works; raises a `CaminoError` or a time-out if not."""

_EVERY_S = 1.0
_TIMEOUT_S = 3.0


class HealthWatch:
    """Turns NOT_SERVING while a probe fails, and SERVING again by itself."""

    name = "health"

    def __init__(self, server: Server, probes: Mapping[str, Probe]) -> None:
        self._server = server
        self._probes = probes
        self._failing: dict[str, str] | None = None
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self._stopped.set()

    async def run(self) -> None:
        while not self._stopped.is_set():
            await self.check()
            try:
                await asyncio.wait_for(self._stopped.wait(), _EVERY_S)
            except TimeoutError:
                continue

    async def check(self) -> None:
        failing: dict[str, str] = {}
        for name, probe in self._probes.items():
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await probe()
            except (CaminoError, TimeoutError) as error:
                failing[name] = str(error) or "no answer in time"
        if failing != self._failing:
            if failing:
                log.warning("not serving", failing=failing)
            elif self._failing:
                log.info("serving again")
            await self._server.set_serving(not failing)
            self._failing = failing
