"""From many callers into batches: the fast path of an outbox."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import structlog

from services.chassis.errors import CaminoError
from services.chassis.loops import Backoff

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
    ) -> None:
        self.name = name
        self._deliver = deliver
        self._max_batch = max_batch
        self._capacity = capacity
        self._waiting: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._stopped = False

    def offer(self, items: Iterable[Item]) -> None:
        """Take items to deliver soon, as far as there is room."""
        if len(self._waiting) < self._capacity:
            self._waiting.extend(items)
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
                    backoff.reset()
                    break
                except CaminoError as error:
                    if not error.status.transient or self._stopped:
                        raise
                    log.warning("delivery delayed", loop=self.name, items=len(batch), error=str(error))
                    await backoff.pause()
