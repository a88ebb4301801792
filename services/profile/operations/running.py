"""Carrying operations out, a step at a time, until they end: whatever dies or is away meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from services.chassis.clock import MINUTE, SECOND, Clock, Instant
from services.chassis.documents import Document
from services.chassis.errors import Contention, Unavailable
from services.chassis.failures import words_of
from services.profile.operations import convert
from services.profile.operations.obstacle import Obstacle
from services.profile.operations.operation import Kind, Operation, State
from services.profile.store import Store

log = structlog.get_logger()

_CLAIM = 20 * SECOND
_STEP_S = 18.0
"""A step ends before others take it for dead."""
_LONGEST_PAUSE = MINUTE

Step = Callable[[Operation], Awaitable[Operation]]
"""Carries out an operation's next step, and says how far it is then and when it goes on. May be carried out again after
a crash, but never by two at once. Raises `Obstacle`."""


class Running:
    """What `Due` gives due operations to. One is claimed by moving its instant on, so that no other replica carries out
    the same step; what died with its claim goes on a few seconds later."""

    def __init__(
        self,
        store: Store,
        steps: Mapping[Kind, Step],
        clock: Clock,
        partitions: int,
        hint: Callable[[int, Instant], None],
    ) -> None:
        """`hint` is told when operations of a partition are due."""
        self._store = store
        self._steps = steps
        self._clock = clock
        self._partitions = partitions
        self._hint = hint

    async def begin(self, operation: Operation, *, first_step: bool) -> Operation:
        """Take an operation in, unless it was begun before. When it returns, the operation is durable and goes on by
        itself; its first step was tried, if that is wanted."""
        key = convert.key_of(operation)
        new = Document(key, convert.body_of(operation, self._partitions))
        if (await self._store.operations.put([new])).saved:
            if first_step:
                await self.carry_on([new])
            else:
                self._hint(new.body["partition"], new.body["due_at"])
        found = (await self._store.operations.get([key])).get(key)
        # Gone at once, if its workspace is being deleted.
        return convert.operation_of(found) if found else operation

    async def carry_on(self, due: list[Document]) -> None:
        """One step of each. Raises `StoreUnavailable`."""
        outcomes = await asyncio.gather(
            *(self._step(operation, document) for document, operation in await self._claimed(due)),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _claimed(self, due: Iterable[Document]) -> list[tuple[Document, Operation]]:
        until = self._clock.now() + _CLAIM
        claims = [Document(one.id, {**one.body, "due_at": until}, one.rev) for one in due]
        saved = set((await self._store.operations.put(claims)).saved)
        return [(claim, convert.operation_of(claim)) for claim in claims if claim.id in saved]

    async def _step(self, operation: Operation, claim: Document) -> None:
        try:
            async with asyncio.timeout(_STEP_S):
                after = await self._steps[operation.kind](operation)
            after = replace(after, obstacle="", failures=0)
        except Obstacle as obstacle:
            after = self._held_up(operation, str(obstacle))
        except TimeoutError:
            after = self._held_up(operation, "it takes too long")
        except (Unavailable, Contention) as error:
            after = self._held_up(operation, words_of(error))
        except Exception as error:
            # A fault of ours. It's said aloud, and the operation doesn't end without being done.
            log.error("operation failed", operation=claim.id, error=words_of(error), exc_info=error)
            after = self._held_up(operation, f"a fault of Camino's own: {words_of(error)}; see the log")
        document = Document(claim.id, convert.body_of(after, self._partitions), claim.rev)
        if (await self._store.operations.put([document])).saved:
            if after.due_at is not None:
                self._hint(document.body["partition"], after.due_at)
            if after.state is not operation.state:
                log.info("operation", operation=claim.id, kind=after.kind.name, state=State(after.state).name)

    def _held_up(self, operation: Operation, why: str) -> Operation:
        pause = min(SECOND << min(operation.failures, 10), _LONGEST_PAUSE)
        log.warning(
            "operation held up", operation=operation.operation_id, obstacle=why, failures=operation.failures + 1
        )
        return replace(operation, obstacle=why, failures=operation.failures + 1, due_at=self._clock.now() + pause)
