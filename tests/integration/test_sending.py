"""Deciding for a campaign's shard, on a real store, when somebody else writes the shard at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest
from camino.orchestrator.v1 import campaign_pb2
from camino.type.v1 import messaging_pb2

from services.chassis.clock import HOUR
from services.chassis.documents import Document, change
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.orchestrator.campaigns import shard
from services.orchestrator.campaigns.sending import Sending
from services.orchestrator.domain.person import OPTED_IN, Person
from services.orchestrator.store import SCHEMAS, Store

CAMPAIGN, SHARD = "shop/news", "shop/occurrence/000000"
PEOPLE = ["p0", "p1", "p2"]


class Profiles:
    """The people, and what happens while they're looked up."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.meanwhile = False

    async def get(self, workspace_id: str, profile_ids: Collection[str]) -> dict[str, Person]:
        if self.meanwhile:
            self.meanwhile = False
            await change(self._store.shards, [SHARD], lambda _id, found: dict(found.body) if found else None)
        consents = {(messaging_pb2.CHANNEL_EMAIL, "news"): OPTED_IN}
        return {
            id_: Person(id_, {messaging_pb2.CHANNEL_EMAIL: f"{id_}@example.com"}, consents=consents)
            for id_ in profile_ids
        }


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    database = await SqliteDatabase.open(tmp_path / "orchestrator.db")
    try:
        await database.migrate(SCHEMAS)
        yield Store.of(database)
    finally:
        await database.close()


async def test_what_did_not_take_effect_is_not_on_record(store: Store) -> None:
    clock = FakeClock()
    now = clock.now()
    definition = campaign_pb2.CampaignDefinition(
        send=messaging_pb2.SendSpec(
            channel=messaging_pb2.CHANNEL_EMAIL, topic="news", purpose=messaging_pb2.PURPOSE_MARKETING
        )
    )
    campaign: dict[str, Any] = {
        "state": campaign_pb2.CAMPAIGN_STATE_RUNNING,
        "definition": definition.SerializeToString(),
        "template_version": 1,
        "rate": 0.0,
        "pace_from": now,
        "at": now,
    }
    await store.campaigns.put([Document(CAMPAIGN, campaign)])
    await store.audiences.put([Document(SHARD, {"recipients": PEOPLE, "next": ""})])
    await store.shards.put([Document(SHARD, shard.new("shop/occurrence", CAMPAIGN, 0, len(PEOPLE), 0, now))])
    profiles = Profiles(store)
    owed: list[Any] = []
    hints: list[tuple[int, int]] = []
    sending = Sending(
        store,
        profiles,  # type: ignore[arg-type]
        clock,
        owed=owed.extend,
        hint=lambda partition, at: hints.append((partition, at)),
    )

    async def wake() -> None:
        await sending.woken(list((await store.shards.get([SHARD])).values()))

    async def on_record(profile_id: str) -> int:
        return await store.decisions.count("by_profile", f"shop/{profile_id}")

    profiles.meanwhile = True
    await wake()
    assert owed == []
    assert [await on_record(id_) for id_ in PEOPLE] == [0, 0, 0]
    assert hints == [(0, now)]

    clock.advance(HOUR)
    await wake()
    assert len(owed) == len(PEOPLE)
    assert [await on_record(id_) for id_ in PEOPLE] == [1, 1, 1]


@pytest.mark.parametrize("gone", ["campaigns", "audiences"])
async def test_a_shard_of_a_deleted_workspace_rests(store: Store, gone: str) -> None:
    clock = FakeClock()
    await store.campaigns.put([Document(CAMPAIGN, {"state": campaign_pb2.CAMPAIGN_STATE_RUNNING})])
    await store.audiences.put([Document(SHARD, {"recipients": PEOPLE, "next": ""})])
    await store.shards.put([Document(SHARD, shard.new("shop/occurrence", CAMPAIGN, 0, len(PEOPLE), 0, clock.now()))])
    await getattr(store, gone).delete([CAMPAIGN, SHARD])
    owed: list[Any] = []
    sending = Sending(
        store,
        Profiles(store),  # type: ignore[arg-type]
        clock,
        owed=owed.extend,
        hint=lambda partition, at: None,
    )
    await sending.woken(list((await store.shards.get([SHARD])).values()))
    assert (await store.shards.query("wake", 0, limit=1)).documents == []
    assert owed == []
