"""Documents whose time has come, by a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.chassis.clock import MILLISECOND, MINUTE, SECOND
from services.chassis.documents import Collection, Document, Index, Owner, Page, Schema, change
from services.chassis.due import Due
from services.chassis.errors import StoreUnavailable
from services.chassis.loops import Running
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock, eventually

TIMERS = Schema("timers", (Index("wake", ("partition", "at")),), owner=Owner.SERVICE)


class Flaky:
    """A collection that can't be read once for one partition."""

    def __init__(self, inner: Collection, partition: int) -> None:
        self._inner = inner
        self._partition = partition

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def query(self, index: str, partition: int, **options: Any) -> Page:
        if partition == self._partition:
            self._partition = -1
            raise StoreUnavailable("away")
        return await self._inner.query(index, partition, **options)


class Counted:
    """A collection that counts the documents that are read by an index."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner
        self.read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def query(self, index: str, partition: int, **options: Any) -> Page:
        page = await self._inner.query(index, partition, **options)
        self.read += len(page.documents)
        return page


class Timers:
    """A collection of timers, and what was done when they came."""

    def __init__(self, collection: Collection, clock: FakeClock) -> None:
        self.collection = collection
        self.clock = clock
        self.fired: list[tuple[str, int]] = []
        self.held = {0, 1}
        self.poison: set[str] = set()
        self.outages = 0
        self.looks = 0

    def due(self, *, limit: int = 500, eager: int = 0) -> Due:
        return Due(
            "timers",
            self.collection,
            "wake",
            "at",
            held=lambda: self.held,
            clock=self.clock,
            act=self.act,
            limit=limit,
            eager=eager,
        )

    async def set(self, id_: str, at: int, partition: int = 0) -> None:
        await change(self.collection, [id_], lambda _id, _old: {"partition": partition, "at": at})

    async def act(self, documents: list[Document]) -> None:
        self.looks += 1
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("away")
        if bad := self.poison & {document.id for document in documents}:
            raise ValueError(f"can't: {bad}")
        for document in documents:
            document.body["at"] = None
        await self.collection.put(documents)
        self.fired += [(document.id, self.clock.now()) for document in documents]

    def ids(self) -> list[str]:
        return [id_ for id_, _ in self.fired]

    @asynccontextmanager
    async def running(self, due: Due) -> AsyncIterator[None]:
        running = Running([due])
        try:
            yield
        finally:
            due.stop()
            await running.stop(1)

    async def passing(self, until: Callable[[], bool], step: int = 5 * MILLISECOND) -> None:
        """Let time pass, a little at a time, until something is so."""

        async def probe() -> bool:
            if not until():
                self.clock.advance(step)
                await asyncio.sleep(0)
            return until()

        await eventually(probe)


@pytest.fixture
async def timers(tmp_path: Path) -> AsyncIterator[Timers]:
    database = await SqliteDatabase.open(tmp_path / "timers.db")
    try:
        await database.migrate([TIMERS])
        yield Timers(database.collection(TIMERS), FakeClock())
    finally:
        await database.close()


async def test_nothing_fires_before_its_instant(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    await timers.set("a", start + 2 * SECOND)
    await timers.set("b", start + 3 * SECOND)
    for _ in range(3):
        assert not await due.tick()
        assert timers.fired == []
        timers.clock.advance(2 * SECOND // 3)
    timers.clock.advance(2 * SECOND - 3 * (2 * SECOND // 3))
    await due.tick()
    assert timers.fired == [("a", start + 2 * SECOND)]
    await due.tick()
    assert timers.ids() == ["a"]
    timers.clock.advance(SECOND)
    await due.tick()
    assert timers.ids() == ["a", "b"]


async def test_in_the_loop_each_fires_once_and_not_before_its_instant(timers: Timers) -> None:
    start = timers.clock.now()
    at = {f"t{number}": start + number * 700 * MILLISECOND for number in range(20)}
    for number, (id_, instant) in enumerate(at.items()):
        await timers.set(id_, instant, number % 2)
    async with timers.running(timers.due()):
        await timers.passing(lambda: len(timers.fired) == 20, step=100 * MILLISECOND)
    assert sorted(timers.ids()) == sorted(at)
    assert all(instant >= at[id_] for id_, instant in timers.fired)


async def test_a_hint_makes_a_nearer_instant_known_at_once(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    assert not await due.tick()
    await timers.set("a", start + SECOND)
    timers.clock.advance(SECOND)
    await due.tick()
    assert timers.fired == []  # it doesn't look again for 5 seconds
    due.hint(0, start + SECOND)
    await due.tick()
    assert timers.ids() == ["a"]


async def test_without_a_hint_it_is_seen_within_five_seconds(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    await due.tick()
    await timers.set("a", start + SECOND)
    timers.clock.advance(5 * SECOND)
    await due.tick()
    assert timers.ids() == ["a"]


async def test_a_hint_wakes_the_loop(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    async with timers.running(due):
        await timers.set("a", start + SECOND)
        timers.clock.advance(SECOND)
        due.hint(0, start + SECOND)
        await timers.passing(lambda: timers.ids() == ["a"])
        assert timers.fired[0][1] < start + 3 * SECOND


async def test_what_a_partition_that_becomes_ours_is_soon_due_is_acted_on_at_once(timers: Timers) -> None:
    due, start = timers.due(eager=10 * SECOND), timers.clock.now()
    await timers.set("soon", start + 9 * SECOND)
    await timers.set("later", start + 11 * SECOND)
    await timers.set("elsewhere", start + 9 * SECOND, partition=2)
    await due.tick()
    assert timers.ids() == ["soon"]
    await timers.set("new", start + 9 * SECOND)
    due.hint(0, start + 9 * SECOND)
    await due.tick()
    assert timers.ids() == ["soon"]  # not new any more
    timers.held = {0, 1, 2}
    await due.tick()
    assert timers.ids() == ["soon", "elsewhere"]
    timers.clock.advance(9 * SECOND)
    await due.tick()
    assert timers.ids() == ["soon", "elsewhere", "new"]
    timers.clock.advance(2 * SECOND)
    await due.tick()
    assert timers.ids()[-1] == "later"


async def test_only_the_partitions_that_are_held_are_acted_on(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    await timers.set("a", start, partition=0)
    await timers.set("b", start, partition=1)
    timers.held = {1}
    await due.tick()
    assert timers.ids() == ["b"]


async def test_more_than_the_limit_are_taken_in_turns(timers: Timers) -> None:
    due, start = timers.due(limit=3), timers.clock.now()
    for number in range(10):
        await timers.set(f"t{number}", start - 10 + number, partition=number % 2)
    ticks = 1
    while await due.tick():
        ticks += 1
    assert sorted(timers.ids()) == [f"t{number}" for number in range(10)]
    assert ticks <= 10


async def test_all_that_are_due_are_acted_on_at_once_and_few_of_those_that_are_not_are_read(timers: Timers) -> None:
    start = timers.clock.now()
    instants = [start - 1] * 30 + [start + SECOND + number for number in range(200)]
    await timers.collection.put([Document(f"t{n}", {"partition": 0, "at": at}) for n, at in enumerate(instants)])
    counted = Counted(timers.collection)
    timers.collection = counted  # type: ignore[assignment]
    due = timers.due()
    assert not await due.tick()
    assert sorted(timers.ids()) == sorted(f"t{number}" for number in range(30))
    timers.clock.advance(SECOND)
    counted.read = 0
    await due.tick()
    assert timers.ids()[-1] == "t30"
    assert counted.read < 50


async def test_one_that_cannot_be_acted_on_does_not_hold_up_the_others(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    timers.poison = {"t3"}
    for number in range(8):
        await timers.set(f"t{number}", start - 10 + number)
    await due.tick()
    assert sorted(timers.ids()) == ["t0", "t1", "t2", "t4", "t5", "t6", "t7"]
    looks = timers.looks
    await due.tick()
    assert timers.looks == looks  # left in peace for a minute
    timers.poison = set()
    timers.clock.advance(MINUTE)
    await due.tick()
    assert timers.ids()[-1] == "t3"


async def test_many_that_cannot_be_acted_on_do_not_hide_those_behind_them(timers: Timers) -> None:
    due, start = timers.due(limit=3), timers.clock.now()
    timers.poison = {"p0", "p1", "p2", "p3"}
    for number in range(4):
        await timers.set(f"p{number}", start - 20 + number)
    await timers.set("good", start - 1)
    for _ in range(6):
        await due.tick()
    assert timers.ids() == ["good"]


async def test_an_outage_is_waited_out_and_nothing_lost(timers: Timers) -> None:
    start = timers.clock.now()
    timers.outages = 2
    await timers.set("a", start + SECOND, 0)
    await timers.set("b", start + SECOND, 1)
    async with timers.running(timers.due()):
        await timers.passing(lambda: len(timers.fired) == 2)
    assert sorted(timers.ids()) == ["a", "b"]
    assert timers.outages == 0


async def test_after_an_outage_what_was_due_is_due_at_once(timers: Timers) -> None:
    due, start = timers.due(), timers.clock.now()
    await timers.set("a", start)
    timers.outages = 1
    with pytest.raises(StoreUnavailable):
        await due.tick()
    await due.tick()
    assert timers.ids() == ["a"]


async def test_an_outage_in_one_partition_does_not_delay_what_was_read_of_another(timers: Timers) -> None:
    start = timers.clock.now()
    await timers.set("a", start, partition=0)
    await timers.set("b", start, partition=1)
    timers.collection = Flaky(timers.collection, 1)  # type: ignore[assignment]
    due = timers.due()
    with pytest.raises(StoreUnavailable):
        await due.tick()
    await due.tick()
    assert sorted(timers.ids()) == ["a", "b"]
