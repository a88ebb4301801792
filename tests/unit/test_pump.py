"""The fast path of an outbox: in order, in batches, one at a time, and again while the broker is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.chassis.errors import BrokerUnavailable
from services.chassis.loops import Running
from services.chassis.pump import Pump
from services.chassis.testing import eventually


class Sink:
    """Takes batches, and fails as often as it's told."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.attempts: list[list[int]] = []
        self.outages = 0
        self.bug = False
        self.open = asyncio.Event()
        self.open.set()
        self.at_once = 0

    async def deliver(self, batch: list[int]) -> None:
        self.at_once += 1
        try:
            assert self.at_once == 1
            self.attempts.append(list(batch))
            await self.open.wait()
            if self.outages:
                self.outages -= 1
                raise BrokerUnavailable("away")
            if self.bug:
                self.bug = False
                raise ValueError("a bug")
            self.batches.append(list(batch))
        finally:
            self.at_once -= 1

    def taken(self) -> list[int]:
        return [item for batch in self.batches for item in batch]

    async def has(self, items: list[int]) -> None:
        async def probe() -> bool:
            return self.taken() == items

        await eventually(probe)


@asynccontextmanager
async def running(pump: Pump[int]) -> AsyncIterator[None]:
    loops = Running([pump])
    try:
        yield
    finally:
        await loops.stop(1)


async def test_items_are_delivered_in_order_and_in_batches() -> None:
    sink = Sink()
    pump = Pump("p", sink.deliver, max_batch=3)
    pump.offer([1, 2])
    pump.offer(iter([3, 4]))
    pump.offer([])
    async with running(pump):
        await sink.has([1, 2, 3, 4])
        assert sink.batches == [[1, 2, 3], [4]]
        pump.offer([5])
        await sink.has([1, 2, 3, 4, 5])


async def test_what_comes_during_a_delivery_is_the_next_batch() -> None:
    sink = Sink()
    sink.open.clear()
    pump = Pump("p", sink.deliver)
    async with running(pump):
        pump.offer([1])

        async def begun() -> bool:
            return bool(sink.attempts)

        await eventually(begun)
        pump.offer([2])
        pump.offer([3])
        sink.open.set()
        await sink.has([1, 2, 3])
        assert sink.batches == [[1], [2, 3]]


async def test_the_same_batch_is_delivered_again_after_an_outage() -> None:
    sink = Sink()
    sink.outages = 2
    pump = Pump("p", sink.deliver, max_batch=2)
    pump.offer([1, 2, 3])
    async with running(pump):
        await sink.has([1, 2, 3])
    assert sink.attempts == [[1, 2], [1, 2], [1, 2], [3]]


async def test_beyond_its_capacity_it_takes_nothing_and_the_rest_goes_on() -> None:
    sink = Sink()
    pump = Pump("p", sink.deliver, max_batch=2, capacity=3)
    pump.offer([1, 2, 3])
    pump.offer([4])
    async with running(pump):
        await sink.has([1, 2, 3])
        pump.offer([5])
        await sink.has([1, 2, 3, 5])


async def test_a_bug_costs_one_batch_which_the_sweep_finds() -> None:
    sink = Sink()
    sink.bug = True
    pump = Pump("p", sink.deliver, max_batch=1)
    pump.offer([1, 2, 3])
    async with running(pump):
        await sink.has([2, 3])


async def test_when_it_is_stopped_it_delivers_what_it_has() -> None:
    sink = Sink()
    pump = Pump("p", sink.deliver, max_batch=1)
    loops = Running([pump])
    pump.offer([1, 2, 3])
    await loops.stop(5)
    assert sink.taken() == [1, 2, 3]
