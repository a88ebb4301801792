"""Whether the service can do its work: asked every second, told to `grpc.health.v1`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from services.chassis.errors import CaminoError, RestartNeeded
from services.chassis.measures import PROBE_UP, SERVING
from services.chassis.metrics import Metrics
from services.chassis.server import Server

log = structlog.get_logger()

Probe = Callable[[], Awaitable[None]]
"""Returns if what it probes works; raises if not, and `RestartNeeded` if it won't work again in this process."""

_EVERY_S = 1.0
_TIMEOUT_S = 3.0


class HealthWatch:
    """Turns NOT_SERVING while a probe fails, and SERVING again by itself. `hopeless` is set when no waiting helps."""

    name = "health"

    def __init__(self, server: Server, probes: Mapping[str, Probe], metrics: Metrics | None = None) -> None:
        self._server = server
        self._probes = probes
        self._failing: dict[str, str] | None = None
        metrics = metrics or Metrics()
        self._serving = metrics.gauge(SERVING)
        self._up = {name: metrics.gauge(PROBE_UP).labels(name) for name in probes}
        self._stopped = asyncio.Event()
        self.hopeless = asyncio.Event()

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
                if isinstance(error, RestartNeeded):
                    self.hopeless.set()
            except Exception as error:
                # Such as a store that doesn't know our user.
                failing[name] = f"{type(error).__name__}: {error}"
        for name, up in self._up.items():
            up.set(name not in failing)
        self._serving.set(not failing)
        if failing != self._failing:
            if failing:
                log.warning("not serving", failing=failing)
            elif self._failing:
                log.info("serving again")
            await self._server.set_serving(not failing)
            self._failing = failing
