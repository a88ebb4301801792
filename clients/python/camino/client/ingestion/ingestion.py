"""The flow of items into Camino: gathered into batches, several calls at a time, each item with its own result."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from camino.client.errors import CaminoError
from camino.client.ingestion.clock import Clock, LoopClock
from camino.client.ingestion.pace import MOST_BYTES, Pace, longest_pauses
from camino.client.ingestion.receipt import Failures, Receipt
from camino.client.ingestion.unary import Send
from camino.client.ingestion.waiting import Item, Waiting
from camino.client.items import ItemFailed
from camino.profile.v1.profile_service_pb2 import EventInput, ProfileInput

_Input = TypeVar("_Input", EventInput, ProfileInput)


class Ingestion:
    """Takes profiles and events, and sends them in batches: `async with client.ingestion("shop") as ingestion:`.

    - Leaving the context sends what is left, and returns when everything is settled. Failures that nobody has asked for
      are raised then, as an ExceptionGroup; if the block itself ended in an error, as a note on that.
    - What is away or under contention is tried again, with the same ids, until an item is `Pace.give_up_s` old.
    - Items that name the same identity are taken in the order they were handed over, profiles and events together. Two
      exceptions: an item that was under contention is sent again after those that were in its call; and identities
      that only Camino knows to be one person's are different ones here.
    """

    def __init__(
        self,
        send: Send,
        pace: Pace,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`close` is called when nothing more is sent. `chance`: numbers from 0 to 1, for the length of pauses."""
        self._send = send
        self._close = close
        self._pace = pace
        self._clock = clock or LoopClock()
        self._chance = chance
        self._waiting = Waiting(pace)
        self._failures = Failures()
        self._room = asyncio.Semaphore(pace.unsettled)
        self._news = asyncio.Event()
        self._closing = False
        self._calls = 0
        self._numbers = 0
        self._dispatching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._dispatching = asyncio.create_task(self._dispatch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._news.set()
        try:
            if self._dispatching is not None:
                await self._dispatching
        finally:
            if self._close is not None:
                await self._close()
        failures = self._failures.take()
        if failures is None:
            return
        if error is None:
            raise failures
        error.add_note(f"Besides, {failures.message}, the first: {failures.exceptions[0]}")

    async def event(self, event: EventInput) -> Receipt:
        """Hand over an event. Waits while too many items are unsettled; the receipt is for its result.

        Raises ValueError for more than 4 MiB, RuntimeError when the ingestion is closed or wasn't begun with `async
        with`, and an ExceptionGroup when a thousand items have failed and nobody has asked for their receipts.
        """
        return await self._accept(event)

    async def profile(self, profile: ProfileInput) -> Receipt:
        """Hand over a profile, as `event` does an event."""
        return await self._accept(profile)

    async def _accept(self, input: _Input) -> Receipt:
        if input.ByteSize() > MOST_BYTES:
            raise ValueError(f"an item of {input.ByteSize()} bytes is too large for any call")
        if self._failures.too_many() and (failures := self._failures.take()):
            raise failures
        await self._room.acquire()
        if self._closing or self._dispatching is None:
            self._room.release()
            raise RuntimeError("the ingestion is closed" if self._closing else "begin the ingestion with `async with`")
        own = type(input)()
        own.CopyFrom(input)
        item = Item.of(self._numbers, own, Receipt(), self._clock.now())
        self._numbers += 1
        if self._waiting.add(item):
            self._news.set()
        return item.receipt

    async def _dispatch(self) -> None:
        try:
            async with asyncio.TaskGroup() as calls:
                while True:
                    self._news.clear()
                    while self._calls < self._pace.calls and (batch := self._next()):
                        self._calls += 1
                        calls.create_task(self._settle(batch))
                    if self._closing and not self._calls and not self._waiting:
                        return
                    await self._until_news()
        finally:
            # Nothing is left, unless this was cancelled.
            self._closing = True
            self._abandon(self._waiting.all())

    def _next(self) -> list[Item]:
        return self._waiting.take(self._clock.now(), at_once=self._closing)

    async def _until_news(self) -> None:
        """Return when something has come or has been settled, or when the next batch is due."""
        due_at = self._waiting.due_at
        if due_at is None or self._calls == self._pace.calls:
            await self._news.wait()
            return
        timer = asyncio.ensure_future(self._clock.sleep(due_at - self._clock.now()))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait((timer, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            news.cancel()

    async def _settle(self, batch: list[Item]) -> None:
        """Send a batch until each of its items has a result."""
        left = batch
        try:
            for longest in longest_pauses():
                errors = await self._attempt(left)
                left = list(errors)
                if not left:
                    break
                pause = longest * self._chance()
                if self._clock.now() + pause > batch[0].since + self._pace.give_up_s:
                    for item, error in errors.items():
                        self._fail(item, error)
                    left = []
                    break
                await self._clock.sleep(pause)
        except Exception as error:
            # Whatever it was, those who wait for the items must hear of it.
            for item in left:
                self._fail(item, error)
            left = []
        finally:
            self._abandon(left)
            self._waiting.done(batch)
            self._calls -= 1
            self._news.set()

    async def _attempt(self, items: list[Item]) -> dict[Item, Exception]:
        """Send these, and settle those that need no other attempt. Returns the others, and why they weren't taken."""
        try:
            results = await self._send([item.input for item in items])
        except CaminoError as error:
            if not error.retryable:
                raise
            return dict.fromkeys(items, error)
        again: dict[Item, Exception] = {}
        pairs = list(zip(items, results, strict=True))  # Whole, before any is settled: it raises for a wrong number.
        for item, result in pairs:
            if not result.HasField("error"):
                if not item.receipt.done():
                    item.receipt.set_result(result)
                self._room.release()
                continue
            failed = ItemFailed(item.number, item.input, result.error)
            if failed.retryable:
                again[item] = failed
            else:
                self._fail(item, failed)
        return again

    def _fail(self, item: Item, error: Exception) -> None:
        if not item.receipt.done():
            item.receipt.set_exception(error)
            self._failures.add(item.receipt)
        self._room.release()

    def _abandon(self, items: Sequence[Item]) -> None:
        """Nothing will come of these any more."""
        for item in items:
            item.receipt.cancel()
            self._room.release()
