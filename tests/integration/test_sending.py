"""Deciding for a campaign's shard, on a real store, when somebody else writes the shard at the same time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from services.chassis.clock import HOUR
from services.chassis.documents import change
from services.orchestrator.clients import Profiles
from services.orchestrator.domain.person import Person
from services.orchestrator.store import Store
from tests.orchestrating import CAMPAIGN, OCCURRENCE, Bench, orchestrating

SHARD = f"{OCCURRENCE}/000000"
PEOPLE = ["p0", "p1", "p2"]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with orchestrating(tmp_path) as bench:
        await bench.campaign(PEOPLE)
        yield bench


class Meanwhile:
    """The people, and an end of a message that comes in while they're looked up for the first time."""

    def __init__(self, store: Store, profiles: Profiles) -> None:
        self._store = store
        self._profiles = profiles
        self._come = False

    async def get(self, workspace_id: str, profile_ids: Collection[str]) -> dict[str, Person]:
        if not self._come:
            self._come = True
            await change(self._store.shards, [SHARD], lambda _id, found: dict(found.body) if found else None)
        return await self._profiles.get(workspace_id, profile_ids)


async def test_what_did_not_take_effect_is_not_on_record(bench: Bench) -> None:
    meanwhile = Meanwhile(bench.store, bench.profiles)
    bench = Bench(bench.store, bench.clock, bench.people, meanwhile)  # type: ignore[arg-type]
    await bench.turn()
    assert bench.owed == []
    assert await bench.decisions() == []
    assert bench.hints == [bench.clock.now()]

    bench.clock.advance(HOUR)
    await bench.turn()
    assert bench.sent_to() == PEOPLE
    assert sorted(record.body["profile"] for record in await bench.decisions()) == [f"shop/{id_}" for id_ in PEOPLE]


@pytest.mark.parametrize("gone", ["campaigns", "audiences"])
async def test_a_shard_of_a_deleted_workspace_rests(bench: Bench, gone: str) -> None:
    await getattr(bench.store, gone).delete([CAMPAIGN, SHARD])
    await bench.turn()
    assert (await bench.store.shards.query("wake", 0, limit=1)).documents == []
    assert bench.owed == []
