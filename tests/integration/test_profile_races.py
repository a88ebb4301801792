"""Many writers at once who each know only some of one person's identities: she stays one person."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from camino.profile.v1 import profile_service_pb2 as pb

from services.chassis.documents import Document, PutResult
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.profile.ingest import Ingest
from services.profile.store import SCHEMAS, Store

IDENTITIES = ("email:ana@example.com", "user:1", "device:x")
# Any two of these share an identity, so all of them are about one person.
KNOWN = (IDENTITIES, IDENTITIES[:2], IDENTITIES[1:], IDENTITIES[::2])


@dataclass
class OneByOne:
    """A collection whose batches are not written at once: others come between, as they do on a cluster."""

    inner: Any
    chance: random.Random

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def put(self, documents: Sequence[Document]) -> PutResult:
        result = PutResult()
        for document in self.chance.sample(list(documents), len(documents)):
            one = await self.inner.put([document])
            result.saved += one.saved
            result.conflicted += one.conflicted
            result.duplicate += one.duplicate
        return result


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    database = await SqliteDatabase.open(tmp_path / "profile.db")
    try:
        await database.migrate(SCHEMAS)
        yield Store.of(database)
    finally:
        await database.close()


def person(identities: Sequence[str]) -> pb.ProfileInput:
    item = pb.ProfileInput()
    for identity in identities:
        namespace, _, value = identity.partition(":")
        item.identities.add(namespace=namespace, value=value)
    return item


def event(event_id: str, identity: str) -> pb.EventInput:
    item = pb.EventInput(event_id=event_id, type="visit")
    item.identity.namespace, _, item.identity.value = identity.partition(":")
    return item


async def people(store: Store, workspace: str) -> list[Document]:
    return (await store.profiles.query("by_workspace", workspace, limit=100)).documents


@pytest.mark.parametrize("seed", range(20))
async def test_all_writers_come_to_one_profile(store: Store, seed: int) -> None:
    chance = random.Random(seed)
    torn = Store(store.events, OneByOne(store.profiles, chance), OneByOne(store.identities, chance))
    writers = [Ingest(torn, FakeClock(), 8, lambda documents: None) for _ in range(6)]
    items = [chance.choices(KNOWN, k=chance.randint(1, 3)) for _ in writers]
    answers = await asyncio.gather(
        *(
            writer.profiles("w", [person(known) for known in batch], {})
            for writer, batch in zip(writers, items, strict=True)
        )
    )
    assert {result.outcome for results in answers for result in results} == {pb.ITEM_OUTCOME_OK}
    [owner] = {result.profile_id for results in answers for result in results}
    [profile] = await people(store, "w")
    assert profile.id == f"w/{owner}"
    told = {identity for batch in items for known in batch for identity in known}
    assert {":".join(identity) for identity in profile.body["identities"]} == told
    stored = await store.identities.scan(limit=100)
    assert {document.body["profile_id"] for document in stored.documents} == {owner}


@pytest.mark.parametrize("seed", range(10))
async def test_events_at_the_same_time_find_a_profile_that_is_there(store: Store, seed: int) -> None:
    """An event may make a person of its own of an identity that nobody has linked yet: then there are two, and whoever
    links them is told of the conflict. But what was answered OK is there."""
    chance = random.Random(seed)
    torn = Store(store.events, OneByOne(store.profiles, chance), OneByOne(store.identities, chance))
    ingest = Ingest(torn, FakeClock(), 8, lambda documents: None)
    calls = [ingest.profiles("w", [person(chance.choice(KNOWN))], {}) for _ in range(3)]
    calls += [ingest.events("w", [event(f"e{number}", chance.choice(IDENTITIES))], {}) for number in range(3)]
    chance.shuffle(calls)
    answers = [results[0] for results in await asyncio.gather(*calls)]
    there = {profile.id.partition("/")[2] for profile in await people(store, "w")}
    assert {answer.profile_id for answer in answers if answer.outcome == pb.ITEM_OUTCOME_OK} <= there
    for answer in answers:
        if answer.outcome != pb.ITEM_OUTCOME_OK:
            assert "different profiles" in answer.error.message
            assert len(there) > 1


async def test_a_writer_that_dies_while_joining_leaves_it_to_the_next(store: Store) -> None:
    ingest = Ingest(store, FakeClock(), 8, lambda documents: None)
    [kept] = await ingest.profiles("w", [person(["user:1"])], {})
    # The grave is there; that the identity points at it still is where the writer died.
    await store.profiles.put([Document("w/lost", {"joined_to": kept.profile_id})])
    for number, known in enumerate((["email:ana@example.com"], ["user:1", "device:x"])):
        await store.identities.put([Document(f"w/{known[-1]}", {"profile_id": "lost"})])
        calls = (ingest.events("w", [event("e1", known[0])], {}), ingest.profiles("w", [person(known)], {}))
        for call in calls if number == 0 else calls[::-1]:
            [result] = await call
            assert (result.outcome, result.profile_id) == (pb.ITEM_OUTCOME_OK, kept.profile_id) or (
                result.outcome == pb.ITEM_OUTCOME_DUPLICATE
            )
    assert len(await people(store, "w")) == 1
    [refused] = await ingest.events("w", [pb.EventInput(event_id="e2", type="visit", profile_id="lost")], {})
    assert refused.outcome == pb.ITEM_OUTCOME_FAILED
