"""A replica that is killed between any two documents that it writes: what it was at is done wholly or not at all, by
whoever comes next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields
from pathlib import Path

import pytest

from services.chassis.sqlite import SqliteDatabase
from services.profile.store import SCHEMAS, Store
from tests.people import Replica, everybody
from tests.torn import Died, Life, Mortal

Act = Callable[[Replica], Awaitable[object]]


async def meet(replica: Replica) -> None:
    await replica.tell("card:1", "device:x", name="Ana")


async def merge(replica: Replica) -> None:
    await replica.tell("card:1", "card:2", "phone:+34911234567", name="Ana")


async def sign_in(replica: Replica) -> None:
    await replica.tell("user_id:2", "device:x", name="Bea")


async def sign_in_anew(replica: Replica) -> None:
    await replica.tell("user_id:3", "device:x", "card:9", name="Eva")


async def unlink(replica: Replica) -> None:
    profile_id = (await replica.tell("card:1")).profile_id
    await replica.unlinking.take_away("w", profile_id, ("device", "x"), replica.clock.now(), None)


async def visit(replica: Replica) -> None:
    await replica.event("e1", "device:new")


BEFORE: dict[Act, tuple[tuple[str, ...], ...]] = {
    meet: (),
    merge: (("card:1", "device:x"), ("card:2", "device:y"), ("card:3",)),
    sign_in: (("user_id:1", "device:x", "device:y"), ("user_id:2",)),
    sign_in_anew: (("user_id:1", "device:x"), ("card:9",)),
    unlink: (("card:1", "device:x", "device:y"),),
    visit: (),
}


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Store]]]:
    databases: list[SqliteDatabase] = []

    async def fresh() -> Store:
        databases.append(await SqliteDatabase.open(tmp_path / f"{len(databases)}.db"))
        await databases[-1].migrate(SCHEMAS)
        return Store.of(databases[-1])

    yield fresh
    for database in databases:
        await database.close()


async def begun(store: Store, act: Act) -> None:
    for identities in BEFORE[act]:
        await Replica(store).tell(*identities, at=100)


@pytest.mark.parametrize("act", BEFORE, ids=lambda act: act.__name__)
async def test_a_change_is_done_wholly_or_not_at_all(stores: Callable[[], Awaitable[Store]], act: Act) -> None:
    whole = await stores()
    await begun(whole, act)
    before = set(await everybody(whole))
    await act(Replica(whole))
    after = await everybody(whole)

    deaths = 0
    while True:
        store = await stores()
        await begun(store, act)
        life = Life(deaths)
        mortal = Store(*(Mortal(getattr(store, field.name), life) for field in fields(Store)))
        try:
            await act(Replica(mortal))
        except Died:
            pass
        if not life.dead:
            break
        next_ = Replica(store)
        await next_.sweep()
        assert set(await everybody(store)) in (before, set(after)), f"after {deaths} documents"
        await act(next_)
        again = await everybody(store)
        assert set(again) == set(after), f"after {deaths} documents"
        for names, body in again.items():
            assert body["attributes"].keys() == after[names]["attributes"].keys()
            assert len(body["merged"]) == len(after[names]["merged"])
        deaths += 1
    assert deaths >= 3
