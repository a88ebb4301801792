"""Replicas that are behind, or held up, while a segment is edited: what each of them does to a rollout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_pb2, segment_service_pb2

from services.chassis.clock import HOUR, SECOND
from services.chassis.sqlite import SqliteDatabase
from services.chassis.testing import FakeClock
from services.segment.rollout import request
from services.segment.store import SCHEMAS, Store
from tests.interrupted import Interrupted
from tests.segments import (
    BUYER,
    LOYAL,
    START,
    TWICE,
    WORKSPACE,
    Published,
    Replica,
    profile,
    publication,
    publish,
    purchase,
)


@dataclass
class Two:
    """Replicas on one store, of which the second hears of publications only if it looks."""

    store: Store
    clock: FakeClock
    published: Published
    first: Replica
    second: Replica

    async def segment(self) -> segment_pb2.Segment:
        asked = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id="buyers")
        return (await self.first.servicer.GetSegment(asked, None)).segment

    async def settle(self) -> None:
        for _ in range(3):
            await self.first.roll_out()
            self.clock.advance(40 * SECOND)
        await self.first.roll_out()


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    database = await SqliteDatabase.open(tmp_path / "segment.db")
    await database.migrate(SCHEMAS)
    store, clock, published = Store.of(database), FakeClock(), Published()
    first, second = (Replica(store, clock, published=published, page=1) for _ in range(2))
    await publish(first, "buyers", BUYER)
    await first.roll_out()
    await second.registry.loaded()
    yield Two(store, clock, published, first, second)
    await database.close()


async def test_who_enters_by_the_version_before_when_all_is_ready_leaves_again(two: Two) -> None:
    await two.first.intake.handle([profile("ana")])
    await publish(two.first, "buyers", LOYAL)
    await two.second.registry.refresh(WORKSPACE)
    await two.first.roll_out()
    assert (await two.segment()).state == segment_pb2.SEGMENT_STATE_READY
    await two.second.intake.handle([purchase("ana", "e1", START)])
    await two.settle()
    assert [one.member for one in two.published.of("ana")] == [True, False]
    assert (await two.segment()).member_count == 0


@pytest.mark.parametrize("told", [profile("bo"), purchase("bo", "e1", START)])
async def test_who_is_written_by_a_replica_that_was_held_up_for_minutes_is_evaluated_anew(
    two: Two, told: ProfileChanged
) -> None:
    async def meanwhile() -> None:
        await publish(two.first, "buyers", LOYAL)
        await two.settle()

    interrupted = replace(two.store, facts=Interrupted(two.store.facts, meanwhile, [1]))
    await Replica(interrupted, two.clock, published=two.published).intake.handle([told])
    segment = await two.segment()
    assert (segment.state, segment.computed_count, segment.profile_count) == (segment_pb2.SEGMENT_STATE_READY, 1, 1)
    stored = (await two.store.facts.get([f"{WORKSPACE}/bo"]))[f"{WORKSPACE}/bo"]
    assert not any(member for member, *_ in stored.body["memberships"].values())


async def test_a_request_that_ends_late_does_not_end_the_pause_in_which_late_profiles_come(two: Two) -> None:
    await publish(two.first, "buyers", LOYAL)
    await two.first.roll_out()
    edition = two.first.registry.catalogue(WORKSPACE).edition
    await two.first.shards.handle([request(WORKSPACE, "again", 0, edition).message])
    await two.first.roll_out()
    await two.second.intake.handle([purchase("ana", "e1", START)])
    await two.settle()
    assert [one.member for one in two.published.of("ana")] == [True, False]


async def test_a_clock_that_is_ahead_hides_no_publication(two: Two) -> None:
    ahead = Replica(two.store, FakeClock(two.clock.now() + HOUR), published=two.published)
    await publish(ahead, "buyers", TWICE)
    two.clock.advance(11 * SECOND)
    await two.second.registry.loaded()
    other = publication("buyers", BUYER)
    other.workspace_id = "other"
    await two.first.servicer.PublishSegment(other, None)
    two.clock.advance(11 * SECOND)
    await two.second.registry.loaded()
    assert two.second.registry.catalogue("other").heads


async def test_a_publication_that_another_overtakes_is_told_all_the_same(two: Two) -> None:
    """Though no catalogue that's served names its definition."""
    asked, adopted = asyncio.Event(), asyncio.Event()

    class Slow:
        """Definitions, of which the first that's asked for comes last."""

        waits = False

        def __getattr__(self, name: str) -> Any:
            return getattr(two.store.definitions, name)

        async def get(self, ids: Any) -> Any:
            if "buyers" in str(ids := list(ids)) and self.waits:
                self.waits = False
                asked.set()
                await adopted.wait()
            return await two.store.definitions.get(ids)

    slow = Slow()
    replica = Replica(replace(two.store, definitions=slow), two.clock, published=two.published)
    await replica.registry.loaded()
    slow.waits = True
    first = asyncio.create_task(replica.servicer.PublishSegment(publication("buyers", TWICE), None))
    await asked.wait()
    second = await replica.servicer.PublishSegment(publication("buyers", LOYAL), None)
    adopted.set()
    assert ((await first).segment.version, second.segment.version) == (2, 3)


async def test_work_that_takes_long_is_looked_after_without_being_done_by_more_and_more(two: Two) -> None:
    await two.first.intake.handle([profile(f"p{number}") for number in range(100)])
    await publish(two.first, "buyers", LOYAL)
    for _ in range(12):
        await two.first.look_at_publications()
        two.clock.advance(10 * SECOND)
    places = [one.partition for one in two.published.asked]
    assert places
    assert len(places) == len(set(places))
