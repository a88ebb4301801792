"""Single requests made into batches: those that come while one batch is being taken are the next one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.chassis.errors import CaminoError, Violation
from services.chassis.tracing import Tracing, traceparent

Item = TypeVar("Item")
Result = TypeVar("Result")

Take = Callable[[str, Sequence[Item], Mapping[int, Violation]], Awaitable[list[Result]]]
"""Takes a workspace's items, of which some are known to break a rule: one result for each, in order."""


@dataclass(slots=True)
class _Asked(Generic[Item, Result]):
    items: Sequence[Item]
    violations: Mapping[int, Violation]
    traceparent: str
    answer: asyncio.Future[list[Result]]


class Gathering(Generic[Item, Result]):
    """Gives `take` what several requests of a workspace ask for as one batch, and each request its part of the results.

    A request that comes while nothing is under way is taken at once, so that a batch of one waits for nothing. A
    request is taken after those that came before it. One that is given up may be taken all the same. When a store
    that is away fails a batch, it fails all of its requests; any other failure only those that fail by themselves.
    """

    def __init__(self, take: Take[Item, Result], tracing: Tracing, *, most: int) -> None:
        """`most`: items in one batch, unless a single request has more."""
        self._take = take
        self._tracing = tracing
        self._most = most
        self._waiting: dict[str, deque[_Asked[Item, Result]]] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def __call__(
        self, workspace_id: str, items: Sequence[Item], violations: Mapping[int, Violation]
    ) -> list[Result]:
        asked = _Asked[Item, Result](items, violations, traceparent(), asyncio.get_running_loop().create_future())
        waiting = self._waiting.get(workspace_id)
        if waiting is not None:
            waiting.append(asked)
        else:
            self._waiting[workspace_id] = deque([asked])
            # In a context of its own: the work isn't this request's more than that of those that come next.
            task = asyncio.create_task(self._work(workspace_id), context=Context())
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        return await asked.answer

    async def _work(self, workspace_id: str) -> None:
        waiting = self._waiting[workspace_id]
        while waiting:
            batch = [waiting.popleft()]
            size = len(batch[0].items)
            while waiting and size + len(waiting[0].items) <= self._most:
                batch.append(waiting.popleft())
                size += len(batch[-1].items)
            await self._give(workspace_id, batch)
        del self._waiting[workspace_id]

    async def _give(self, workspace_id: str, batch: Sequence[_Asked[Item, Result]]) -> None:
        items: list[Item] = []
        violations: dict[int, Violation] = {}
        for asked in batch:
            violations.update((len(items) + index, violation) for index, violation in asked.violations.items())
            items.extend(asked.items)
        places = ((item, asked.traceparent) for asked in batch for item in asked.items)
        try:
            with self._tracing.batch("ingest", places):
                results = await self._take(workspace_id, items, violations)
        except Exception as error:
            passing = isinstance(error, CaminoError) and error.status.transient
            if len(batch) > 1 and not passing:
                # A fault that one request provokes is not to be that of the others. What was taken may be taken again.
                for asked in batch:
                    await self._give(workspace_id, [asked])
                return
            for asked in batch:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        begin = 0
        for asked in batch:
            if not asked.answer.done():
                asked.answer.set_result(results[begin : begin + len(asked.items)])
            begin += len(asked.items)
