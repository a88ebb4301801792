"""The webhooks that this replica looks after, each with a courier of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import structlog

from services.chassis.clock import MINUTE, SECOND, Instant, wait_for_any
from services.chassis.errors import CaminoError
from services.chassis.failures import words_of
from services.chassis.ids import partition_of
from services.chassis.loops import Backoff
from services.chassis.tail import Place
from services.segment.webhooks.courier import PASS_EVERY, Courier, Ended, Means

log = structlog.get_logger()

_LOOK_EVERY = 5 * SECOND
_POISON_PAUSE = MINUTE
_LAST_ANSWERS_S = 2.0
"""How long receivers may take to answer when this stops. Others wait for it: what is ours goes to another replica only
when all loops have ended."""


class Couriers:
    """A loop that keeps a courier for each webhook that isn't paused, in the partitions that are ours.

    They go on side by side, so that one slow receiver holds up nobody else: which is why this is no `Due`. What is put
    in this process is begun at once, and what others put within 5 seconds.
    """

    name = "membership-webhooks"

    def __init__(
        self, means: Means, held: Callable[[], Collection[int]], *, last_answers_s: float = _LAST_ANSWERS_S
    ) -> None:
        self._means = means
        self._held = held
        self._last_answers_s = last_answers_s
        self._running: dict[str, _Running] = {}
        self._hinted = asyncio.Event()
        self._stopped = asyncio.Event()

    def hint(self) -> None:
        """Say that a webhook was put."""
        self._hinted.set()

    def stop(self) -> None:
        """End when what is being posted is answered, or soon: what isn't by then comes again."""
        self._stopped.set()

    async def run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._hinted.clear()
                await self._look()
                await wait_for_any(
                    self._means.clock, self._means.clock.now() + _LOOK_EVERY, self._hinted, self._stopped
                )
        finally:
            for one in self._running.values():
                one.leave()
            tasks = [one.task for one in self._running.values()]
            try:
                async with asyncio.timeout(self._last_answers_s):
                    await asyncio.gather(*tasks, return_exceptions=True)
            except TimeoutError:
                log.info("webhooks didn't answer in time", count=sum(task.cancelled() for task in tasks))
            finally:
                self._running.clear()

    async def _look(self) -> None:
        """Begin with webhooks that are new here, end with those that aren't ours, and look again at what changed."""
        ours: dict[str, int] = {}
        for partition in sorted(self._held()):
            after = ""
            while True:
                page = await self._means.webhooks.query("active", partition, limit=500, after=after)
                ours.update((document.id, document.rev) for document in page.documents)
                after = page.next
                if not after:
                    break
        for key, one in list(self._running.items()):
            if one.task.done():
                del self._running[key]
            elif key not in ours:
                one.leave()
        for key, revision in ours.items():
            known = self._running.get(key)
            if known is None:
                self._running[key] = _Running(self._means, key, self._held)
            elif known.courier.revision != revision:
                known.nudge()


class _Running:
    """A courier at work."""

    def __init__(self, means: Means, key: str, held: Callable[[], Collection[int]]) -> None:
        self._means = means
        partition = partition_of(key, means.partitions)
        self._leaving = False
        self._nudged = asyncio.Event()
        self.courier = Courier(key, means, lambda: not self._leaving and partition in held())
        self.task = asyncio.create_task(self._run(), name=f"webhook {key}")

    def leave(self) -> None:
        """End after what is in hand."""
        self._leaving = True
        self._nudged.set()

    def nudge(self) -> None:
        """Say that the webhook has changed."""
        self._nudged.set()

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._leaving:
            self._nudged.clear()
            try:
                rest = await self.courier.step()
                if rest is not None:
                    await self._wait(rest)
                backoff.reset()
            except Ended:
                return
            except Exception as error:
                known = isinstance(error, CaminoError) and error.status.transient
                log.warning(
                    "webhook not told",
                    webhook=self.courier.key,
                    error=words_of(error),
                    exc_info=None if known else error,
                )
                if known:
                    await self._until(backoff.pause())
                else:
                    # A fault of ours. It must not be hammered at, nor stop the others.
                    await self._until(self._means.clock.wait_until(self._means.clock.now() + _POISON_PAUSE))

    async def _wait(self, rest: Instant | Place) -> None:
        if isinstance(rest, Place):
            look = self._means.clock.now() + PASS_EVERY
            await self._until(self._means.tail.arrived(self.courier.workspace_id, rest, look))
        else:
            await self._until(self._means.clock.wait_until(rest))

    async def _until(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, or until it's nudged."""
        tasks = asyncio.ensure_future(waiting), asyncio.ensure_future(self._nudged.wait())
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
