"""The segment service on a real store and a real broker, with a clock that's moved by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from camino.segment.v1 import segment_pb2, segment_service_pb2
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EDIT,
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_PROFILE,
    MEMBERSHIP_CAUSE_TIME,
)
from google.protobuf import json_format

from services.chassis.broker import Broker
from services.chassis.clock import DAY, SECOND
from services.chassis.events import Outgoing
from services.chassis.testing import FakeClock, eventually
from services.segment import convert
from services.segment.app import SegmentConfig
from services.segment.standing import Cause
from tests.interrupted import Interrupted
from tests.segments import (
    BIG,
    BUYER,
    LAPSED,
    LOYAL,
    PARTITIONS,
    RECENT,
    SPANISH,
    START,
    TWICE,
    WORKSPACE,
    Replica,
    World,
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
        nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=""
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def world(config: SegmentConfig, clock: FakeClock, broker: Broker) -> AsyncIterator[World]:
    async with running(config, clock, broker) as world:
        yield world


# --- streaming --------------------------------------------------------------------------------------------------------


async def test_events_and_attributes_become_transitions(world: World) -> None:
    await world.publish("loyal", LOYAL)
    await world.publish("spanish", SPANISH)
    for number in range(3):
        await world.tell(purchase("ana", f"e{number}", START - number))
    await world.tell(profile("ana", 2, address__country="ES"))
    first, second = await world.transitions(2)
    assert said([first, second]) == [
        ("ana", "loyal", True, MEMBERSHIP_CAUSE_EVENT),
        ("ana", "spanish", True, MEMBERSHIP_CAUSE_PROFILE),
    ]
    assert (first.event_id, first.sequence, second.sequence) == ("e2", 1, 2)
    assert (first.workspace_id, first.segment_version) == (WORKSPACE, 1)
    assert convert.instant(first.effective_at) == world.clock.now()
    assert await world.members("loyal") == ["ana"]
    assert (await world.segment("loyal")).member_count == 1
    await world.tell(profile("ana", 3, address__country="PT"))
    assert said(await world.transitions(3))[2] == ("ana", "spanish", False, MEMBERSHIP_CAUSE_PROFILE)
    assert await world.members("spanish") == []


async def test_redelivery_and_disorder_change_nothing(world: World) -> None:
    await world.publish("loyal", LOYAL)
    await world.publish("spanish", SPANISH)
    story = [
        purchase("ana", "e1", START - 30, revision=2, address__country="ES"),
        purchase("ana", "e2", START - 20, revision=2, address__country="ES"),
        purchase("ana", "e3", START - 10, revision=2, address__country="ES"),
        profile("ana", 1, address__country="PT"),
    ]
    for order in (story, story[::-1], story):
        await world.tell(*order)
        await world.settled()
    assert said(await world.transitions(2)) == [
        ("ana", "spanish", True, MEMBERSHIP_CAUSE_PROFILE),
        ("ana", "loyal", True, MEMBERSHIP_CAUSE_EVENT),
    ]


async def test_a_membership_that_passes_within_a_batch_is_told(world: World) -> None:
    await world.publish("big", BIG)
    await world.tell(purchase("ana", "e1", START - 2, 150.0), purchase("ana", "e2", START - 1, -100.0))
    assert said(await world.transitions(2)) == [
        ("ana", "big", True, MEMBERSHIP_CAUSE_EVENT),
        ("ana", "big", False, MEMBERSHIP_CAUSE_EVENT),
    ]
    assert await world.members("big") == []


async def test_time_alone_flips_at_the_instant(world: World) -> None:
    await world.publish("lapsed", LAPSED)
    await world.tell(purchase("ana", "e1", START - 5 * SECOND), purchase("bo", "e2", START - 7 * SECOND))
    await world.settled()
    world.clock.advance(DAY)  # Late for both, and by how much must not matter.
    found = await world.ticking(2)
    assert sorted(said(found)) == [
        ("ana", "lapsed", True, MEMBERSHIP_CAUSE_TIME),
        ("bo", "lapsed", True, MEMBERSHIP_CAUSE_TIME),
    ]
    effective = {t.profile_id: convert.instant(t.effective_at) for t in found}
    assert effective == {"ana": START - 5 * SECOND + DAY, "bo": START - 7 * SECOND + DAY}
    assert await world.members("lapsed") == ["ana", "bo"]


# --- publishing -------------------------------------------------------------------------------------------------------


async def test_an_edit_tells_only_differences(world: World) -> None:
    for number in range(6):
        person = f"p{number}"
        await world.tell(*(purchase(person, f"{person}-{n}", START - n) for n in range(number)), profile(person))
    await world.settled()
    await world.publish("some", {"event": {"eventType": "shop.purchase", "count": {"atLeast": 3}}})
    assert await world.members("some") == ["p3", "p4", "p5"]
    again = await world.publish("some", {"event": {"eventType": "shop.purchase", "count": {"atLeast": 3}}})
    assert again.version == 1
    edit = {"event": {"eventType": "shop.purchase", "count": {"atLeast": 2, "below": 5}}}
    edited = await world.publish("some", edit, ready=False)
    # Time stands still, so nothing is evaluated yet: the version before serves.
    assert (edited.version, edited.serving_version, edited.state) == (2, 1, segment_pb2.SEGMENT_STATE_COMPUTING)
    assert (edited.member_count, edited.computed_count, edited.profile_count) == (3, 0, 6)
    assert (await world.publish("some", edit, ready=False)) == edited
    assert await world.members("some") == ["p3", "p4", "p5"]
    assert not (await world.check("p2", "some")).member_of
    await world.ready("some")
    assert list((await world.check("p2", "some")).member_of) == ["some"]
    transitions = await world.transitions(5)
    assert len(transitions) == 5
    assert sorted(said(transitions[3:])) == [
        ("p2", "some", True, MEMBERSHIP_CAUSE_EDIT),
        ("p5", "some", False, MEMBERSHIP_CAUSE_EDIT),
    ]
    assert {t.segment_version for t in transitions[3:]} == {2}
    assert await world.members("some", size=2) == ["p2", "p3", "p4"]
    segment = await world.segment("some")
    assert (segment.member_count, segment.computed_count, segment.serving_version) == (3, 6, 2)


async def test_a_crash_in_the_middle_of_a_recompute(config: SegmentConfig, clock: FakeClock, broker: Broker) -> None:
    """A page is evaluated and its transitions are not published, then everything is gone, the broker's requests too."""
    people = [f"p{number:02}" for number in range(25)]
    async with running(config, clock, broker) as world:
        await world.tell(*(purchase(person, f"e-{person}", START) for person in people))
        await world.settled()
    async with opened(config) as store:
        here = Replica(store, clock, page=3)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.rollout.act((await store.catalogues.scan(limit=1)).documents)
        here.published.publish = _crash  # type: ignore[method-assign]
        with pytest.raises(Crash):
            await here.shards.handle(here.published.asked)
    async with running(config, clock, broker) as world:
        clock.advance(30 * SECOND)
        segment = await world.ready("buyers")
        assert segment.member_count == 25
        transitions = await world.published()
        assert sorted(said(transitions)) == [(person, "buyers", True, MEMBERSHIP_CAUSE_EDIT) for person in people]
        assert await world.members("buyers", size=7) == people


async def test_what_was_written_and_not_published_is_published(
    config: SegmentConfig, clock: FakeClock, broker: Broker
) -> None:
    """A crash between the write and the relay."""
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.intake.handle([purchase("ana", "e1", START)])
    async with running(config, clock, broker) as world:
        assert said(await world.ticking(1)) == [("ana", "buyers", True, MEMBERSHIP_CAUSE_EVENT)]
        assert await world.members("buyers") == ["ana"]


async def test_a_replica_that_has_not_heard_of_a_version(config: SegmentConfig, clock: FakeClock) -> None:
    """It meets a profile that another one has evaluated by a newer version, and evaluates by that, too."""
    async with opened(config) as store:
        ahead, behind = Replica(store, clock), Replica(store, clock)
        old = behind.registry
        await ahead.servicer.PublishSegment(publication("loyal", LOYAL), None)
        await ahead.intake.handle([purchase("ana", f"a{n}", START - n) for n in range(2)])
        await behind.intake.handle([purchase("bo", "b0", START)])
        first = old.rules(WORKSPACE).edition
        await ahead.servicer.PublishSegment(publication("loyal", TWICE), None)
        await ahead.roll_out()
        await ahead.profiles.record([f"{WORKSPACE}/ana"])
        # Also one who is new, and so is evaluated by what this replica knows.
        await behind.intake.handle([purchase("cleo", f"c{n}", START - n) for n in range(2)])
        assert old.rules(WORKSPACE).edition == first
        await behind.intake.handle([purchase("ana", "a2", START)])
        second = old.rules(WORKSPACE).edition
        assert second > first
        found = await store.facts.get([f"{WORKSPACE}/bo", f"{WORKSPACE}/cleo"])
        assert all(document.body["edition"] < second for document in found.values())
        [transition] = ahead.published.of("ana")
        assert (transition.sequence, transition.segment_version, transition.cause) == (1, 2, Cause.EDIT)


async def test_a_profile_left_by_a_deletion_that_was_broken_off_holds_up_nobody(
    config: SegmentConfig, clock: FakeClock
) -> None:
    """The catalogue is gone and the profile isn't; others come in the same batch, and so do new definitions later."""
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.intake.handle([purchase("ana", "a1", START)])
        await store.catalogues.delete([WORKSPACE])
        here.registry.forget(WORKSPACE)
        assert await here.intake.handle([purchase("ana", "a2", START + 1), purchase("bo", "b1", START)]) == {}
        found = await store.facts.get([f"{WORKSPACE}/ana", f"{WORKSPACE}/bo"])
        assert [len(found[f"{WORKSPACE}/{who}"].body["events"]["shop.purchase"][0]) for who in ("ana", "bo")] == [2, 1]
        clock.advance(SECOND)
        await here.servicer.PublishSegment(publication("twice", TWICE), None)
        await here.profiles.record(found)
        found = await store.facts.get(found)
        assert [found[f"{WORKSPACE}/{who}"].body["memberships"].get("twice", [False])[0] for who in ("ana", "bo")] == [
            True,
            False,
        ]


async def test_a_timer_of_a_profile_that_is_deleted_meanwhile_brings_nothing_back(
    config: SegmentConfig, clock: FakeClock
) -> None:
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("recent", RECENT), None)
        await here.intake.handle([purchase("ana", "a1", START)])
        due = await store.facts.get([f"{WORKSPACE}/ana"])
        clock.advance(2 * DAY)
        await store.facts.delete(due)
        assert (await here.profiles.record(due, known=due)).owing == []
        assert await store.facts.get(due) == {}


async def test_a_catalogue_that_another_replica_deletes_is_forgotten(config: SegmentConfig, clock: FakeClock) -> None:
    """And so it is if that publishes anew before the next look, though the revision may be lower then."""
    async with opened(config) as store:
        servicer, other = Replica(store, clock).servicer, Replica(store, clock).registry
        looking = asyncio.create_task(other.run())

        async def serves(*segment_ids: str) -> None:
            async def probe() -> bool:
                clock.advance(SECOND)
                return other.rules(WORKSPACE).by_id.keys() == set(segment_ids)

            await eventually(probe)

        for segment_id in ("buyers", "loyal"):
            await servicer.PublishSegment(publication(segment_id, BUYER), None)
        await serves("buyers", "loyal")
        await store.catalogues.delete([WORKSPACE])
        clock.advance(1)
        await Replica(store, clock).servicer.PublishSegment(publication("twice", TWICE), None)
        await serves("twice")
        await store.catalogues.delete([WORKSPACE])
        await serves()
        other.stop()
        await looking


class Crash(BaseException):
    """The end of a process."""


async def _crash(batch: Sequence[Outgoing]) -> None:
    raise Crash


async def test_what_a_definition_must_be(world: World) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.publish(
            "none", {"event": {"eventType": "shop.purchase", "count": {"above": 1, "below": 2}}}, ready=False
        )
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "definition.condition.event.count" in (refused.value.details() or "")
    published = await world.publish("buyers", BUYER)
    request = segment_service_pb2.PublishSegmentRequest(
        workspace_id=WORKSPACE,
        segment_id="buyers",
        definition=json_format.ParseDict({"condition": LOYAL}, segment_pb2.SegmentDefinition()),
        etag="another",
    )
    with pytest.raises(grpc.aio.AioRpcError) as aborted:
        await world.stub.PublishSegment(request)
    assert aborted.value.code() is grpc.StatusCode.ABORTED
    request.etag = published.etag
    assert (await world.stub.PublishSegment(request)).segment.version == 2
    await world.publish("a", BUYER)
    listed: list[str] = []
    token = ""
    while True:
        reply = await world.stub.ListSegments(
            segment_service_pb2.ListSegmentsRequest(workspace_id=WORKSPACE, page_size=1, page_token=token)
        )
        listed += [segment.segment_id for segment in reply.segments]
        token = reply.next_page_token
        if not token:
            break
    assert listed == ["a", "buyers"]


# --- the edge ---------------------------------------------------------------------------------------------------------


async def test_check_membership(world: World) -> None:
    await world.publish("buyers", BUYER)
    await world.publish("lapsed", LAPSED)
    await world.publish("idle", {"not": BUYER})
    assert list((await world.check("nobody", "idle")).member_of) == []
    assert (await world.check("ana", "buyers", after="e1")).behind
    await world.tell(purchase("ana", "e1", START))
    await world.settled()
    answer = await world.check("ana", "lapsed", "buyers", "idle", after="e1")
    assert (list(answer.member_of), answer.behind) == (["buyers"], False)
    behind = await world.check("ana", "buyers", after="e2")
    assert (list(behind.member_of), behind.behind) == ([], True)
    world.clock.advance(DAY)
    assert list((await world.check("ana", "lapsed", "buyers")).member_of) == ["lapsed", "buyers"], "before any timer"
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await world.check("ana", "buyers", "unheard-of")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_streaming_batch_and_edge_agree(world: World) -> None:
    """The same people, by segments published before them and after them, listed and asked."""
    rules = {"loyal": LOYAL, "recent": RECENT, "lapsed": LAPSED, "big": BIG, "spanish": SPANISH}
    for name, condition in rules.items():
        await world.publish(f"{name}-streaming", condition)
    dice = random.Random(7)
    people = [f"p{number:02}" for number in range(30)]
    story = []
    for person in people:
        country = dice.choice(["ES", "PT"])
        for number in range(dice.randrange(6)):
            at = START - dice.randrange(3 * DAY)
            story.append(purchase(person, f"{person}-{number}", at, dice.choice([5.0, 60.0]), address__country=country))
        story.append(profile(person, 1, address__country=country))
    dice.shuffle(story)
    await world.tell(*story)
    await world.settled()
    world.clock.advance(DAY // 2)
    for name, condition in rules.items():
        await world.publish(f"{name}-batch", condition)
    for name in rules:
        batch = await world.members(f"{name}-batch")
        assert await world.members(f"{name}-streaming") == batch
        edge = [p for p in people if (await world.check(p, f"{name}-batch")).member_of]
        assert edge == batch
    assert len(await world.members("lapsed-batch")) > 3


# --- MongoDB ----------------------------------------------------------------------------------------------------------


async def test_on_mongodb(config: SegmentConfig, clock: FakeClock, broker: Broker) -> None:
    with secantusd() as uri:
        on_mongodb = config.model_copy(update={"mongodb_uri": uri})
        async with running(on_mongodb, clock, broker) as world:
            await world.publish("loyal", LOYAL)
            await world.tell(*(purchase("ana", f"e{number}", START - number) for number in range(3)))
            await world.tell(purchase("bo", "e9", START, address__country="ES"))
            await world.settled()
            await world.publish("spanish", SPANISH)
            assert await world.members("loyal") == ["ana"]
            assert await world.members("spanish") == ["bo"]
            assert len(await world.published()) == 2


async def test_a_shard_that_is_finished_while_the_rollout_looks_is_noticed(
    config: SegmentConfig, clock: FakeClock
) -> None:
    """Between what it counts and what it writes: else nobody would look again for half a minute."""
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.roll_out()
        await here.intake.handle([purchase("ana", "a1", START)])
        await here.servicer.PublishSegment(publication("buyers", TWICE), None)

        async def finish() -> None:
            while here.published.asked:
                asked = here.published.asked
                here.published.asked = []
                await here.shards.handle(asked)

        catalogues = Interrupted(store.catalogues, finish, [1])
        there = Replica(replace(store, catalogues=catalogues), clock, published=here.published)
        await there.rollout.act((await store.catalogues.scan(limit=1)).documents)
        [catalogue] = (await store.catalogues.scan(limit=1)).documents
        assert catalogue.body["compute_at"] <= clock.now()
        await there.roll_out()
        segment = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id="buyers")
        assert (await here.servicer.GetSegment(segment, None)).segment.state == segment_pb2.SEGMENT_STATE_READY
