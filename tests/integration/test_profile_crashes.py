"""A replica that is killed between any two documents that it writes: what it was at is done wholly or not at all, by
whoever comes next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.sqlite import SqliteDatabase
from services.profile import finding
from services.profile.joining import PATIENCE
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


@pytest.mark.parametrize("known", [False, True], ids=["somebody new", "somebody known"])
async def test_a_name_that_the_dead_gave_away_before_people_were_told_apart_is_nobody_elses(
    stores: Callable[[], Awaitable[Store]], known: bool
) -> None:
    """A user's name was given to whoever has the device; then another user signs in with it."""
    store = await stores()
    replica = Replica(store)
    await replica.tell("user_id:2", at=100)
    if known:
        await replica.tell("device:x", at=100)
    life = Life(1 if known else 2)
    mortal = Replica(Store(*(Mortal(getattr(store, field.name), life) for field in fields(Store))))
    with pytest.raises(Died):
        await mortal.tell("user_id:1", "device:x")
    owned = await finding.owners(store, "w", [("user_id", "1"), ("device", "x")])
    assert len({owner.profile_id for owner in owned.values()}) == 1

    bea = (await replica.tell("user_id:2", "device:x")).profile_id
    assert await finding.by_identity(store, "w", [("user_id", "1")]) == {}
    visit = await replica.event("e1", "user_id:1")
    assert visit.outcome == pb.ITEM_OUTCOME_OK
    assert visit.profile_id != bea
    assert set(await everybody(store)) == {frozenset({"user_id:1"}), frozenset({"user_id:2", "device:x"})}


async def test_what_the_dead_gave_to_a_place_that_came_to_be_somebodys_is_nobodys(
    stores: Callable[[], Awaitable[Store]],
) -> None:
    store = await stores()
    replica = Replica(store)
    await replica.tell("user_id:2", at=100)
    life = Life(2)
    mortal = Replica(Store(*(Mortal(getattr(store, field.name), life) for field in fields(Store))))
    with pytest.raises(Died):
        await mortal.tell("email:bo@example.com", "device:x")
    bea = (await replica.tell("user_id:2", "device:x")).profile_id
    owned = await finding.owners(store, "w", [("email", "bo@example.com"), ("device", "x")])
    assert {identity[0]: owner.profile_id for identity, owner in owned.items()} == {"email": "", "device": bea}
    assert (await replica.tell("email:bo@example.com")).profile_id not in ("", bea)
    await everybody(store)


async def test_all_locks_of_one_who_died_go_at_once(stores: Callable[[], Awaitable[Store]]) -> None:
    store = await stores()
    replica = Replica(store)
    ids = [(await replica.tell(f"card:{number}")).profile_id for number in range(5)]
    dies = Replica(replace(store, joins=Mortal(store.joins, Life(0))))
    with pytest.raises(Died):
        await dies.tell(*(f"card:{number}" for number in range(5)))
    replica.clock.advance(PATIENCE)
    found = await store.profiles.get([f"w/{id_}" for id_ in ids])
    assert all("join" in document.body for document in found.values())
    await replica.joining.settle(found.values())
    assert len(await everybody(store)) == 5
