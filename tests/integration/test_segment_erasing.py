"""Segments of people who are erased, over gRPC and on a real broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from camino.ops.v1 import personal_data_service_pb2, workspace_service_pb2
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_ERASURE,
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_MERGE,
)
from google.protobuf import json_format

from services.chassis.broker import Broker
from services.chassis.clock import SECOND
from services.chassis.events import Publisher
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually
from services.segment.app import SegmentConfig
from services.segment.erasing import Erasing
from services.segment.outbox import Outbox
from services.segment.store import SETTLE_AFTER
from tests.segments import (
    BUYER,
    LOYAL,
    PARTITIONS,
    SPANISH,
    START,
    WORKSPACE,
    Published,
    Replica,
    World,
    ana_and_bo,
    opened,
    profile,
    profile_stream,
    publication,
    purchase,
    running,
    said,
)
from tests.servers import NatsServer, nats_server, secantusd


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    async with profile_stream(nats) as broker:
        yield broker


@pytest.fixture
def config(nats: NatsServer, tmp_path: Path) -> SegmentConfig:
    return SegmentConfig(
        nats_url=nats.url,
        data_dir=tmp_path,
        partitions=PARTITIONS,
        migrate_on_start=True,
        mongodb_uri="",
        deletable_workspaces=WORKSPACE,
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def world(config: SegmentConfig, clock: FakeClock, broker: Broker) -> AsyncIterator[World]:
    async with running(config, clock, broker) as world:
        yield world


async def erase(world: World, *profile_ids: str) -> dict[str, int]:
    request = personal_data_service_pb2.ErasePersonalDataRequest(workspace_id=WORKSPACE, profile_ids=profile_ids)
    return dict((await world.personal_data.ErasePersonalData(request)).counts)


async def test_nothing_is_left_but_the_exits(config: SegmentConfig, clock: FakeClock, broker: Broker) -> None:
    telemetry = Telemetry()
    async with running(config, clock, broker, telemetry) as world:
        await world.publish("buyers", BUYER)
        await world.publish("spanish", SPANISH)
        await world.tell(purchase("cleo", "c1", START))
        await ana_and_bo(world)
        await world.transitions(5)
        # Until then Bo's events may be in two places, and count twice.
        await world.settled()
        counts = await erase(world, "ana", "bo", "never-heard-of")
        assert counts == {"facts": 4, "memberships": 3, "transitions": 4}
        left = [
            ("cleo", "buyers", True, MEMBERSHIP_CAUSE_EVENT),
            ("ana", "buyers", False, MEMBERSHIP_CAUSE_ERASURE),
            ("ana", "spanish", False, MEMBERSHIP_CAUSE_ERASURE),
        ]
        assert said(await world.published()) == left
        assert await world.members("buyers") == ["cleo"]
        assert not (await world.check("bo", "buyers")).member_of
        assert await erase(world, "ana", "bo") == counts, "asked again, as if the reply had been lost"
        assert said(await world.published()) == left

        await world.tell(
            purchase("ana", "a9", START),
            purchase("bo", "b9", START),
            profile("ana", 3, merged=["bo"], address__country="ES"),
            purchase("never-heard-of", "n1", START),
        )
        await world.settled()
        assert telemetry.metrics.registry.get_sample_value("camino_segment_erased_facts_total") == 4
        assert await world.members("buyers") == ["cleo"]
        await world.publish("everybody", {"not": {"event": {"eventType": "nothing", "count": {"atLeast": 1}}}})
        assert await world.members("everybody") == ["cleo"]
        exits = left[1:]
        await again(world, len(exits))
        assert [told for told in said(await world.published()) if told[0] != "cleo"] == exits
        assert await erase(world, "ana", "bo") == {}
    async with opened(config) as store:
        marks = await store.facts.get([f"{WORKSPACE}/{who}" for who in ("ana", "bo", "never-heard-of")])
        assert [mark.body.keys() for mark in marks.values()] == [{"erased"}] * 3
        memberships = await store.memberships.scan(limit=100)
        assert {document.id.rpartition("/")[2] for document in memberships.documents} == {"cleo"}
        kept = await store.transitions.scan(limit=100)
        assert {document.id.split("/")[1] for document in kept.documents} == {"cleo"}


async def again(world: World, exits: int) -> None:
    """Return when the exits have been told once more, when nobody has hold of an older state."""
    before = await world.ever_published()
    world.clock.advance(SETTLE_AFTER)

    async def probe() -> bool:
        world.clock.advance(SECOND)
        return await world.ever_published() == before + exits

    await eventually(probe)


async def test_what_was_owed_at_the_erasure_is_told_as_left(
    config: SegmentConfig, clock: FakeClock, broker: Broker
) -> None:
    """Nobody knows whether the entry was published before the process died; and the one that owed it may yet do it."""
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.intake.handle([purchase("ana", "a1", START), purchase("bo", "b1", START)])
        await here.intake.handle([profile("ana", 2, merged=["bo"])])
    async with running(config, clock, broker) as world:
        assert await erase(world, "ana", "bo") == {"facts": 2, "memberships": 2, "transitions": 3}
        exits = [(who, "buyers", False, MEMBERSHIP_CAUSE_ERASURE) for who in ("ana", "bo")]
        assert sorted(said(await world.published())) == exits
    async with opened(config) as store:
        await Outbox(store, Publisher(broker, "segment")).deliver(here.relayed)
        assert (await store.memberships.scan(limit=10)).documents
        assert (await store.transitions.scan(limit=10)).documents
    async with running(config, clock, broker) as world:
        assert len(await world.published()) > 2
        await again(world, 2)
        assert sorted(said(await world.published())) == exits
        assert await world.members("buyers") == []
    async with opened(config) as store:
        assert not (await store.memberships.scan(limit=10)).documents
        assert not (await store.transitions.scan(limit=10)).documents


async def test_a_deleted_workspace_loses_the_marks_too(config: SegmentConfig, clock: FakeClock, broker: Broker) -> None:
    async with running(config, clock, broker) as world:
        await world.publish("buyers", BUYER)
        await world.tell(purchase("ana", "a1", START), purchase("bo", "b1", START))
        await world.settled()
        await erase(world, "bo", "cleo")
        await world.workspaces.DeleteWorkspace(workspace_service_pb2.DeleteWorkspaceRequest(workspace_id=WORKSPACE))
    async with opened(config) as store:
        for collection in (store.facts, store.memberships, store.transitions):
            assert not (await collection.scan(limit=10)).documents


async def test_what_is_held_on_a_person(world: World) -> None:
    await world.publish("buyers", BUYER)
    await world.publish("spanish", SPANISH)
    await ana_and_bo(world)
    await world.settled()
    world.clock.advance(SECOND)
    await world.tell(profile("ana", 3, merged=["bo"]))
    await world.settled()
    at = {(t.profile_id, t.segment_id, t.member): t.effective_at.ToJsonString() for t in await world.transitions(5)}
    kept = [json_format.MessageToDict(transition) for transition in await world.history("ana")]
    assert len(kept) == 5
    for size in (0, 1, 2, 3):
        assert await held(world, size, "bo", "ana", "never-heard-of") == [
            {
                "profileId": "ana",
                "segmentId": "buyers",
                "member": True,
                "enterTime": at["ana", "buyers", True],
                "cause": "MEMBERSHIP_CAUSE_EVENT",
                "eventId": "a1",
                "segmentVersion": 1,
            },
            {
                "profileId": "ana",
                "segmentId": "spanish",
                "enterTime": at["ana", "spanish", True],
                "exitTime": at["ana", "spanish", False],
                "cause": "MEMBERSHIP_CAUSE_PROFILE",
                "segmentVersion": 1,
            },
            {
                "profileId": "bo",
                "segmentId": "buyers",
                "enterTime": at["bo", "buyers", True],
                "exitTime": at["bo", "buyers", False],
                "cause": "MEMBERSHIP_CAUSE_MERGE",
                "segmentVersion": 1,
            },
            *kept,
        ]


async def held(world: World, size: int, *profile_ids: str) -> list[dict[str, object]]:
    found = []
    token = ""
    while True:
        request = personal_data_service_pb2.ListPersonalDataRequest(
            workspace_id=WORKSPACE, profile_ids=profile_ids, page_size=size, page_token=token
        )
        page = await world.personal_data.ListPersonalData(request)
        assert {record.kind for record in page.records} <= {"memberships", "transitions"}
        found += [json.loads(record.json) for record in page.records]
        token = page.next_page_token
        if not token:
            return found


async def test_exits_are_told_after_what_was_told(config: SegmentConfig, clock: FakeClock) -> None:
    """Ana left one segment, and Bo another by being merged; neither was published yet."""
    async with opened(config) as store:
        here, published = Replica(store, clock), Published()
        await here.servicer.PublishSegment(publication("spanish", SPANISH), None)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.intake.handle([profile("ana", 1, address__country="ES"), purchase("bo", "b1", START)])
        outbox = Outbox(store, published)  # type: ignore[arg-type]
        await outbox.deliver(here.relayed)
        assert (published.member_of("ana"), published.member_of("bo")) == ({"spanish"}, {"buyers"})
        await here.intake.handle([profile("ana", 2, address__country="PT")])
        await here.intake.handle([profile("cleo", 2, merged=["bo"])])
        erasing = Erasing(store, here.profiles, published, published.purge, clock)  # type: ignore[arg-type]
        await erasing.erase(WORKSPACE, ["ana"])
        await erasing.erase(WORKSPACE, ["cleo", "bo"])
        assert (published.member_of("ana"), published.member_of("bo")) == (set(), set())


# --- MongoDB ----------------------------------------------------------------------------------------------------------


async def test_on_mongodb(config: SegmentConfig, clock: FakeClock, broker: Broker) -> None:
    with secantusd() as uri:
        on_mongodb = config.model_copy(update={"mongodb_uri": uri})
        async with running(on_mongodb, clock, broker) as world:
            await world.publish("loyal", LOYAL)
            await ana_and_bo(world)
            assert said(await world.ticking(1)) == [("ana", "loyal", True, MEMBERSHIP_CAUSE_MERGE)]
            await world.settled()
            assert await world.members("loyal") == ["ana"]
            assert list((await world.check("bo", "loyal")).member_of) == ["loyal"]
            assert said(await world.history("bo")) == [("ana", "loyal", True, MEMBERSHIP_CAUSE_MERGE)]
            assert await erase(world, "ana", "bo") == {"facts": 4, "memberships": 1, "transitions": 1}
            assert await world.history("bo") == []
            assert said(await world.published()) == [("ana", "loyal", False, MEMBERSHIP_CAUSE_ERASURE)]
            assert await world.members("loyal") == []
            await again(world, 1)
