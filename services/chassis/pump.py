"""From many callers into batches: the fast path of an outbox."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeVar

import structlog

from services.chassis.errors import CaminoError
from services.chassis.failures import words_of
from services.chassis.loops import Backoff
from services.chassis.measures import OUTBOX_AGE
from services.chassis.metrics import Metrics

log = structlog.get_logger()

Item = TypeVar("Item")


class Pump(Generic[Item]):
    """Delivers what it's offered, in order, in batches, one batch at a time.

    It holds nothing that isn't also in the store: when more than `capacity` items wait (the broker is away), further
    ones are not taken, and the sweep over the outbox's index finds them later.
    """

    def __init__(
        self,
        name: str,
        deliver: Callable[[list[Item]], Awaitable[None]],
        *,
        max_batch: int = 500,
        capacity: int = 20_000,
        metrics: Metrics | None = None,
    ) -> None:
        self.name = name
        self._deliver = deliver
        self._max_batch = max_batch
        self._capacity = capacity
        self._waiting: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._stopped = False
        self._taken = 0
        self._delivered = 0
        self._ages: deque[tuple[int, float]] = deque()
        """How many items were taken by when, of those not yet delivered."""
        (metrics or Metrics()).read(OUTBOX_AGE, self._age)

    def offer(self, items: Iterable[Item]) -> None:
        """Take items to deliver soon, as far as there is room."""
        waiting = len(self._waiting)
        if waiting < self._capacity:
            self._waiting.extend(items)
            if taken := len(self._waiting) - waiting:
                self._taken += taken
                self._ages.append((self._taken, time.monotonic()))
            self._filled.set()

    def stop(self) -> None:
        self._stopped = True
        self._filled.set()

    async def run(self) -> None:
        backoff = Backoff()
        while True:
            if not self._waiting:
                if self._stopped:
                    return
                self._filled.clear()
                await self._filled.wait()
                continue
            batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            while True:
                try:
                    await self._deliver(batch)
                    self._forget(len(batch))
                    backoff.reset()
                    break
                except CaminoError as error:
                    if not error.status.transient or self._stopped:
                        raise
                    log.warning("delivery delayed", items=len(batch), error=words_of(error))
                    await backoff.pause()

    def _forget(self, delivered: int) -> None:
        self._delivered += delivered
        while self._ages and self._ages[0][0] <= self._delivered:
            self._ages.popleft()

    async def _age(self) -> Mapping[tuple[str, ...], float]:
        return {(): time.monotonic() - self._ages[0][1] if self._ages else 0.0}
