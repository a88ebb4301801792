"""Partitions shared out among replicas that come, go and die."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.chassis.clock import SECOND
from services.chassis.documents import Collection
from services.chassis.leases import LEASES, Leases
from services.chassis.loops import Running
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock, eventually

TTL = 12 * SECOND
COUNT = 8


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Collection]:
    database = await SqliteDatabase.open(tmp_path / "leases.db")
    try:
        await database.migrate([LEASES])
        yield database.collection(LEASES)
    finally:
        await database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def fences(stored: Collection) -> dict[int, int]:
    page = await stored.scan(prefix="partition/", limit=100)
    return {int(document.id[-3:]): document.body["fence"] for document in page.documents}


async def renewed(*holders: Leases, rounds: int = 3) -> None:
    for _ in range(rounds):
        for holder in holders:
            await holder.renew()


def check_shares(*holders: Leases) -> None:
    """Everything is somebody's, and nothing two replicas'."""
    held = [number for holder in holders for number in holder.held()]
    assert sorted(held) == list(range(COUNT))


async def test_one_replica_holds_everything(stored: Collection, clock: FakeClock) -> None:
    one = Leases(stored, COUNT, "one", clock, ttl=TTL)
    assert one.held() == frozenset()
    await one.renew()
    check_shares(one)
    assert await fences(stored) == dict.fromkeys(range(COUNT), 1)


@pytest.mark.parametrize("replicas", [2, 3, 5, 8])
async def test_replicas_share_fairly(stored: Collection, clock: FakeClock, replicas: int) -> None:
    holders = [Leases(stored, COUNT, f"replica-{number}", clock, ttl=TTL) for number in range(replicas)]
    for number in range(replicas):
        await holders[number].renew()
        held = [partition for holder in holders for partition in holder.held()]
        assert len(held) == len(set(held))  # never two, also while they come
    await renewed(*holders, rounds=replicas)
    check_shares(*holders)
    assert max(len(holder.held()) for holder in holders) <= -(-COUNT // replicas)


async def test_what_a_dead_replica_held_is_taken_over_when_its_leases_end(stored: Collection, clock: FakeClock) -> None:
    one, two = (Leases(stored, COUNT, name, clock, ttl=TTL) for name in ("one", "two"))
    await renewed(one, two)
    died_with = one.held()
    before = await fences(stored)
    clock.advance(TTL - 1)
    await two.renew()
    assert not two.held() & died_with
    clock.advance(1)
    assert one.held() == frozenset()  # by its own clock too
    await renewed(two)
    check_shares(two)
    after = await fences(stored)
    assert all(after[number] == before[number] + (number in died_with) for number in range(COUNT))


async def test_the_fence_grows_with_each_change_of_holder_only(stored: Collection, clock: FakeClock) -> None:
    one, two = (Leases(stored, COUNT, name, clock, ttl=TTL) for name in ("one", "two"))
    holders: dict[int, str] = {}
    fence = dict.fromkeys(range(COUNT), 0)
    for turn in range(12):
        for name, lease in (("one", one), ("two", two)):
            if turn in (5, 6) and name == "one":
                clock.advance(TTL)
                continue
            await lease.renew()
            found = await fences(stored)
            for number in lease.held():
                changed = holders.get(number) != name
                assert found[number] - fence[number] == changed
                holders[number], fence[number] = name, found[number]
        clock.advance(TTL // 4)
    check_shares(one, two)


async def test_what_is_given_back_can_be_taken_at_once(stored: Collection, clock: FakeClock) -> None:
    one, two = (Leases(stored, COUNT, name, clock, ttl=TTL) for name in ("one", "two"))
    await renewed(one, two)
    await one.release()
    assert one.held() == frozenset()
    await two.renew()
    check_shares(two)


async def test_a_replica_that_comes_again_under_its_name_has_its_leases_at_once(
    stored: Collection, clock: FakeClock
) -> None:
    await Leases(stored, COUNT, "embedded", clock, ttl=TTL).renew()
    again = Leases(stored, COUNT, "embedded", clock, ttl=TTL)
    await again.renew()
    check_shares(again)


async def test_the_loop_keeps_leases_and_gives_them_back(stored: Collection, clock: FakeClock) -> None:
    one = Leases(stored, COUNT, "one", clock, ttl=TTL)
    running = Running([one])
    for _ in range(12):  # three times as long as a lease lasts

        async def holds() -> bool:
            return len(one.held()) == COUNT and bool(await _until(stored, clock.now() + TTL))

        await eventually(holds)
        clock.advance(TTL // 4)
    await running.stop(5)
    two = Leases(stored, COUNT, "two", clock, ttl=TTL)
    await two.renew()
    check_shares(two)


async def _until(stored: Collection, at: int) -> bool:
    page = await stored.scan(prefix="partition/", limit=100)
    return all(document.body["until"] == at for document in page.documents)
