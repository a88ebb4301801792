"""Several replicas that handle the same people at the same time, on each engine: no lost update, no duplicate event, no
half-merged graph."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.clock import SECOND
from services.chassis.documents import Database, Document, PutResult, change
from services.profile import linking
from services.profile.store import SCHEMAS, Store
from tests.people import Replica, everybody, person
from tests.torn import OneByOne

OK, DUPLICATE = pb.ITEM_OUTCOME_OK, pb.ITEM_OUTCOME_DUPLICATE
IDENTITIES = ("email:ana@example.com", "customer_id:1", "device:x")
# Any two of these share an identity, so all of them are about one person.
KNOWN = (IDENTITIES, IDENTITIES[:2], IDENTITIES[1:], IDENTITIES[::2])


@pytest.fixture
async def store(empty_database: Database) -> Store:
    await empty_database.migrate(SCHEMAS)
    return Store.of(empty_database)


def torn(store: Store, chance: random.Random) -> Store:
    return replace(
        store,
        events=OneByOne(store.events, chance),
        profiles=OneByOne(store.profiles, chance),
        identities=OneByOne(store.identities, chance),
    )


@pytest.mark.parametrize("seed", range(8))
async def test_all_writers_come_to_one_profile(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    replicas = [Replica(torn(store, chance)) for _ in range(6)]
    items = [chance.choices(KNOWN, k=chance.randint(1, 3)) for _ in replicas]
    answers = await asyncio.gather(
        *(
            replica.profiles.profiles("w", [person(replica.clock, *known) for known in batch], {})
            for replica, batch in zip(replicas, items, strict=True)
        )
    )
    results = [result for results in answers for result in results]
    assert [result.outcome for result in results] == [OK] * len(results)
    [names] = await everybody(store)
    assert names == {identity for batch in items for known in batch for identity in known}


@pytest.mark.parametrize("seed", range(8))
async def test_no_update_and_no_event_is_lost_or_taken_twice_while_people_merge_and_move(
    store: Store, seed: int
) -> None:
    chance = random.Random(seed)
    replicas = [Replica(torn(store, chance)) for _ in range(4)]
    calls: list[Coroutine[Any, Any, pb.ItemResult]] = []
    for number in range(12):
        user = chance.choice(("user_id:1", "user_id:2"))
        replica = chance.choice(replicas)
        calls.append(replica.tell(user, **{f"n{number}": "x"}))
        calls.append(chance.choice(replicas).tell(user, chance.choice(("device:x", "device:y")), at=number))
        calls.append(chance.choice(replicas).event(f"e{number}", user))
        calls.append(chance.choice(replicas).event(f"e{number}", chance.choice((user, "device:x"))))
    chance.shuffle(calls)
    results = await asyncio.gather(*calls)
    assert {result.outcome for result in results} <= {OK, DUPLICATE}
    people = await everybody(store)
    users = [body for names, body in people.items() if any(name.startswith("user_id:") for name in names)]
    assert len(users) == len({name for names in people for name in names if name.startswith("user_id:")})
    assert {name for body in users for name in body["attributes"]} == {f"n{number}" for number in range(12)}
    events = (await store.events.scan(limit=100, prefix="w/")).documents
    assert sorted(event.id for event in events) == sorted(f"w/e{number}" for number in range(12))
    # Each event was taken by one call; the other was told that it had been.
    assert sum(result.outcome == DUPLICATE for result in results) == 12


@pytest.mark.parametrize("seed", range(4))
async def test_merges_into_each_other_end_in_one(store: Store, seed: int) -> None:
    """A chain of people who turn out to be one, told from all sides at once."""
    chance = random.Random(seed)
    replicas = [Replica(torn(store, chance)) for _ in range(4)]
    names = [f"card:{number}" for number in range(8)]
    for name in names:
        assert (await replicas[0].tell(name, **{name.replace(":", "_"): "x"})).outcome == OK
    pairs = list(itertools.pairwise(names))
    chance.shuffle(pairs)
    results = await asyncio.gather(*(chance.choice(replicas).tell(*pair) for pair in pairs))
    assert {result.outcome for result in results} == {OK}
    [(everyone, body)] = (await everybody(store)).items()
    assert everyone == set(names)
    assert set(body["attributes"]) == {name.replace(":", "_") for name in names}
    assert len(body["merged"]) == len(names) - 1


# --- what happens between two steps -----------------------------------------------------------------------------------


@dataclass
class Overtaken:
    """A collection after one of whose reads something else happens."""

    inner: Any
    act: Callable[[], Awaitable[object]]
    left: int = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def get(self, ids: Iterable[str]) -> dict[str, Document]:
        found: dict[str, Document] = await self.inner.get(ids)
        self.left -= 1
        if self.left == 0:
            await self.act()
        return found


@pytest.mark.parametrize("kind", ["a fact", "an event"])
async def test_a_name_that_moves_while_it_is_looked_up_stays_with_nobody_it_left(store: Store, kind: str) -> None:
    replica = Replica(store)
    await replica.tell("user_id:1", "device:x", at=100)
    await replica.tell("user_id:2", at=100)

    async def sign_in() -> object:
        return await replica.tell("user_id:2", "device:x", at=50)

    slow = Replica(replace(store, identities=Overtaken(store.identities, sign_in)))
    result = await (slow.tell("device:x", name="Bo") if kind == "a fact" else slow.event("e1", "device:x"))
    assert result.outcome == OK
    people = await everybody(store)
    assert set(people) == {frozenset({"user_id:1"}), frozenset({"user_id:2", "device:x"})}
    assert result.profile_id == (await replica.tell("user_id:2")).profile_id


async def test_a_link_that_comes_to_count_no_longer_while_it_is_taken_makes_nobody_one(store: Store) -> None:
    replica = Replica(store)
    ana = (await replica.tell("card:1", "device:x", at=100)).profile_id
    await replica.tell("card:9", at=100)

    async def unlink() -> None:
        at = replica.clock.now() - 50 * SECOND
        await replica.unlinking.take_away("w", ana, ("device", "x"), at, None)
        await replica.tell("card:1", "device:x", at=40)

    # When it has read whose the names are, to lock those people.
    slow = Replica(replace(store, identities=Overtaken(store.identities, unlink, 2)))
    result = await slow.tell("card:9", "device:x", at=60)
    assert [identity.value for identity in result.not_linked] == ["x"]
    assert set(await everybody(store)) == {frozenset({"card:1", "device:x"}), frozenset({"card:9"})}


async def test_one_who_is_being_erased_meanwhile_is_no_hindrance_to_those_they_were_told_apart_from(
    store: Store,
) -> None:
    replica = Replica(store)
    bo = (await replica.tell("user_id:2", "device:x", at=100)).profile_id
    for number, ago in ((1, 50), (3, 40)):
        await replica.tell(f"user_id:{number}", at=ago)
    await replica.tell("user_id:1", "device:x", at=50)

    async def erase() -> None:
        await change(store.profiles, [f"w/{bo}"], lambda _key, found: {**found.body, "erasing": "e"} if found else None)

    # When it has read who is linked with those people.
    slow = Replica(replace(store, profiles=Overtaken(store.profiles, erase, 3)))
    assert (await slow.tell("user_id:3", "device:x", at=10)).outcome == OK
    assert frozenset({"user_id:3", "device:x"}) in await everybody(store)


@dataclass
class Written:
    """A collection, and what was written to it."""

    inner: Any
    documents: list[Document] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, documents: Sequence[Document]) -> PutResult:
        self.documents += documents
        result: PutResult = await self.inner.put(documents)
        return result


async def test_of_a_multitude_of_neighbours_only_so_many_are_locked_and_only_those_written_down_who_change(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linking, "_MOST_PROFILES", 10)
    replica = Replica(store)
    batch = [person(replica.clock, f"user_id:{number}", "device:x", at=100 - number) for number in range(16)]
    await replica.profiles.profiles("w", batch, {})
    await replica.tell("user_id:new", at=50)
    written = Written(store.joins)
    watched = Replica(replace(store, joins=written))
    assert (await watched.tell("user_id:new", "device:x", at=10)).outcome == OK
    [plan] = written.documents
    # The two whom it's about, and the others.
    assert len(plan.body["locked"]) == 12
    assert len(plan.body["bodies"]) == 2
    assert frozenset({"user_id:new", "device:x"}) in await everybody(store)
