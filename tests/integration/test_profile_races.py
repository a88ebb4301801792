"""Several replicas that handle the same people at the same time, on each engine: no lost update, no duplicate event, no
half-merged graph."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.documents import Database
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
    pairs = list(zip(names, names[1:], strict=False))
    chance.shuffle(pairs)
    results = await asyncio.gather(*(chance.choice(replicas).tell(*pair) for pair in pairs))
    assert {result.outcome for result in results} == {OK}
    [(everyone, body)] = (await everybody(store)).items()
    assert everyone == set(names)
    assert set(body["attributes"]) == {name.replace(":", "_") for name in names}
    assert len(body["merged"]) == len(names) - 1
