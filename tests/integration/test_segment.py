"""The segment service on a real store and a real broker, with a clock that's moved by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import grpc
import pytest
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import segment_pb2, segment_service_pb2, segment_service_pb2_grpc
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EDIT,
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_PROFILE,
    MEMBERSHIP_CAUSE_TIME,
    MembershipChanged,
)
from google.protobuf import json_format
from nats.js.errors import NotFoundError

from services.chassis.broker import Broker, StreamSpec
from services.chassis.clock import DAY, SECOND
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import partition_of
from services.chassis.stores import open_database
from services.chassis.testing import FakeClock, eventually, serving
from services.segment import convert
from services.segment.app import SegmentConfig, build
from services.segment.intake import Intake
from services.segment.outbox import Outbox
from services.segment.profiles import Profiles
from services.segment.recompute import Recompute
from services.segment.registry import Registry
from services.segment.service import SegmentServicer
from services.segment.state import Cause
from services.segment.store import SCHEMAS, Store
from tests.servers import NatsServer, nats_server, secantusd

WORKSPACE = "shop"
PARTITIONS = 4
START = 1_750_000_000 * SECOND

LOYAL = {"event": {"eventType": "shop.purchase", "count": {"atLeast": 3}}}
TWICE = {"event": {"eventType": "shop.purchase", "count": {"atLeast": 2}}}
BUYER = {"event": {"eventType": "shop.purchase", "count": {"atLeast": 1}}}
RECENT = {"event": {"eventType": "shop.purchase", "count": {"atLeast": 1}, "window": {"within": "86400s"}}}
LAPSED = {"all": {"conditions": [BUYER, {"not": RECENT}]}}
SPANISH = {"attribute": {"name": "address.country", "equals": {"stringValue": "ES"}}}
BIG = {"event": {"eventType": "shop.purchase", "sum": {"property": "amount", "range": {"atLeast": 100}}}}


class World:
    """The service running, the profile service's stream into it, and what comes out."""

    def __init__(self, config: SegmentConfig, clock: FakeClock, broker: Broker, channel: grpc.aio.Channel) -> None:
        self.config = config
        self.clock = clock
        self.stub = segment_service_pb2_grpc.SegmentServiceStub(channel)
        self._broker = broker
        self._publisher = Publisher(broker, "profile")
        self._numbers = count()

    async def publish(
        self, segment_id: str, condition: dict[str, object], *, ready: bool = True
    ) -> segment_pb2.Segment:
        definition = json_format.ParseDict({"condition": condition}, segment_pb2.SegmentDefinition())
        request = segment_service_pb2.PublishSegmentRequest(
            workspace_id=WORKSPACE, segment_id=segment_id, definition=definition
        )
        published = (await self.stub.PublishSegment(request)).segment
        if ready:
            await self.ready(segment_id)
        return published

    async def ready(self, segment_id: str) -> segment_pb2.Segment:
        async def probe() -> segment_pb2.Segment | None:
            segment = await self.segment(segment_id)
            if segment.state == segment_pb2.SEGMENT_STATE_READY:
                return segment
            self.clock.advance(5_000)
            return None

        return await eventually(probe)

    async def segment(self, segment_id: str) -> segment_pb2.Segment:
        request = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id=segment_id)
        return (await self.stub.GetSegment(request)).segment

    async def tell(self, *changes: ProfileChanged) -> None:
        """As the profile service does; each time as messages the broker hasn't seen."""
        await self._publisher.publish(
            [
                Outgoing(
                    subject_of(
                        ProfileChanged,
                        WORKSPACE,
                        partition_of(change.profile.profile_id, PARTITIONS),
                        change.profile.profile_id,
                    ),
                    change,
                    f"test-{next(self._numbers)}",
                )
                for change in changes
            ]
        )

    async def transitions(self, number: int) -> list[MembershipChanged]:
        """What has been published, once there are so many; time stands still."""

        async def probe() -> list[MembershipChanged] | None:
            found = await self.published()
            return found if len(found) >= number else None

        return await eventually(probe) if number else await self.published()

    async def ticking(self, number: int) -> list[MembershipChanged]:
        """What has been published, once there are so many, while time goes on a little."""

        async def probe() -> list[MembershipChanged] | None:
            self.clock.advance(SECOND)
            found = await self.published()
            return found if len(found) >= number else None

        return await eventually(probe)

    async def published(self) -> list[MembershipChanged]:
        jetstream = self._broker.jetstream
        state = (await jetstream.stream_info("CAMINO_SEGMENT")).state
        raw = [await jetstream.get_msg("CAMINO_SEGMENT", number + 1) for number in range(state.messages)]
        return [MembershipChanged.FromString(message.data) for message in raw]

    async def settled(self) -> None:
        """Return when all that was told is handled: acknowledged on every partition."""

        async def probe() -> bool:
            for partition in range(PARTITIONS):
                info = await self._broker.jetstream.consumer_info("CAMINO_PROFILE", f"segment-changes-{partition}")
                if info.num_pending or info.num_ack_pending:
                    return False
            return True

        await eventually(probe)

    async def members(self, segment_id: str, size: int = 0) -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            reply = await self.stub.ListMembers(
                segment_service_pb2.ListMembersRequest(
                    workspace_id=WORKSPACE, segment_id=segment_id, page_size=size, page_token=token
                )
            )
            found += reply.profile_ids
            token = reply.next_page_token
            if not token:
                return found

    async def check(self, profile_id: str, *segment_ids: str, after: str = "") -> segment_service_pb2.MembershipAnswer:
        query = segment_service_pb2.MembershipQuery(
            profile_id=profile_id, segment_ids=segment_ids, after_event_id=after
        )
        request = segment_service_pb2.CheckMembershipRequest(workspace_id=WORKSPACE, queries=[query])
        return (await self.stub.CheckMembership(request)).answers[0]


def profile(profile_id: str, revision: int = 1, **attributes: str | float) -> ProfileChanged:
    change = ProfileChanged()
    change.profile.workspace_id = WORKSPACE
    change.profile.profile_id = profile_id
    change.profile.revision = revision
    for name, value in attributes.items():
        wire = change.profile.attributes[name.replace("__", ".")].value
        if isinstance(value, str):
            wire.string_value = value
        else:
            wire.double_value = value
    return change


def purchase(
    profile_id: str, event_id: str, at: int, amount: float = 10.0, *, revision: int = 1, **attributes: str
) -> ProfileChanged:
    change = profile(profile_id, revision, **attributes)
    change.event.CopyFrom(
        profile_pb2.Event(
            workspace_id=WORKSPACE,
            event_id=event_id,
            profile_id=profile_id,
            type="shop.purchase",
            occurred_at=convert.timestamp(at),
        )
    )
    change.event.properties["amount"].double_value = amount
    return change


def said(transitions: Sequence[MembershipChanged]) -> list[tuple[str, str, bool, int]]:
    return [(t.profile_id, t.segment_id, t.member, t.cause) for t in transitions]


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    """With the profile service's stream, and nothing in it."""
    broker = await Broker.connect(nats.url, "test")
    await broker.declare([StreamSpec("CAMINO_PROFILE", (ProfileChanged,), "log", max_age_s=3600)], [])
    try:
        yield broker
    finally:
        for stream in ("CAMINO_PROFILE", "CAMINO_SEGMENT"):
            with suppress(NotFoundError):
                await broker.jetstream.delete_stream(stream)
        await broker.close()


@pytest.fixture
def config(nats: NatsServer, tmp_path: Path) -> SegmentConfig:
    return SegmentConfig(
        nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=""
    )


@asynccontextmanager
async def running(config: SegmentConfig, clock: FakeClock, broker: Broker) -> AsyncIterator[World]:
    async with build(config, clock) as app, serving(app) as channel:
        yield World(config, clock, broker, channel)


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
    edited = await world.publish("some", {"event": {"eventType": "shop.purchase", "count": {"atLeast": 2, "below": 5}}})
    assert edited.version == 2
    transitions = await world.transitions(5)
    assert len(transitions) == 5
    assert sorted(said(transitions[3:])) == [
        ("p2", "some", True, MEMBERSHIP_CAUSE_EDIT),
        ("p5", "some", False, MEMBERSHIP_CAUSE_EDIT),
    ]
    assert {t.segment_version for t in transitions[3:]} == {2}
    assert await world.members("some", size=2) == ["p2", "p3", "p4"]
    segment = await world.segment("some")
    assert (segment.member_count, segment.computed_count) == (3, 6)


@asynccontextmanager
async def replica(store: Store, clock: FakeClock) -> AsyncIterator[tuple[SegmentServicer, Intake, Profiles, Registry]]:
    """The parts of a replica by hand, without loops: nothing is relayed, and nothing refreshed by itself."""
    registry = Registry(store, clock)
    profiles = Profiles(store, registry, clock, PARTITIONS)
    servicer = SegmentServicer(store, registry, clock, PARTITIONS, lambda partition, at: None)
    yield servicer, Intake(profiles, lambda documents: None), profiles, registry


@asynccontextmanager
async def opened(config: SegmentConfig) -> AsyncIterator[Store]:
    database = await open_database(uri="", path=config.data_dir / "segment.db", name="segment")
    try:
        await database.migrate(SCHEMAS)
        yield Store.of(database)
    finally:
        await database.close()


def publication(segment_id: str, condition: dict[str, object]) -> segment_service_pb2.PublishSegmentRequest:
    return segment_service_pb2.PublishSegmentRequest(
        workspace_id=WORKSPACE,
        segment_id=segment_id,
        definition=json_format.ParseDict({"condition": condition}, segment_pb2.SegmentDefinition()),
    )


async def test_a_crash_in_the_middle_of_a_recompute(config: SegmentConfig, clock: FakeClock, broker: Broker) -> None:
    """A page is evaluated and its transitions are not published, then everything is gone."""
    people = [f"p{number:02}" for number in range(25)]
    async with running(config, clock, broker) as world:
        await world.tell(*(purchase(person, f"e-{person}", START) for person in people))
        await world.settled()
    async with opened(config) as store, replica(store, clock) as (servicer, _, profiles, registry):
        await servicer.PublishSegment(publication("buyers", BUYER), None)
        publisher = Publisher(broker, "segment")
        publisher.publish = _crash  # type: ignore[method-assign]
        recompute = Recompute(
            store,
            registry,
            profiles,
            Outbox(store, publisher),
            clock,
            PARTITIONS,
            lambda: range(PARTITIONS),
            page=10,
        )
        with pytest.raises(Crash):
            await recompute.step(WORKSPACE, registry.rules(WORKSPACE).edition)
    async with running(config, clock, broker) as world:
        segment = await world.ready("buyers")
        assert segment.member_count == 25
        transitions = await world.published()
        assert sorted(said(transitions)) == [(person, "buyers", True, MEMBERSHIP_CAUSE_EDIT) for person in people]
        assert await world.members("buyers", size=7) == people


async def test_what_was_written_and_not_published_is_published(
    config: SegmentConfig, clock: FakeClock, broker: Broker
) -> None:
    """A crash between the write and the relay."""
    async with opened(config) as store, replica(store, clock) as (servicer, intake, _, _):
        await servicer.PublishSegment(publication("buyers", BUYER), None)
        await intake.handle([purchase("ana", "e1", START)])
    async with running(config, clock, broker) as world:
        assert said(await world.ticking(1)) == [("ana", "buyers", True, MEMBERSHIP_CAUSE_EVENT)]
        assert await world.members("buyers") == ["ana"]


async def test_a_replica_that_has_not_heard_of_a_version(config: SegmentConfig, clock: FakeClock) -> None:
    """It meets a profile that another one has evaluated by a newer version, and evaluates by that, too."""
    async with (
        opened(config) as store,
        replica(store, clock) as (servicer, ahead, profiles, _),
        replica(store, clock) as (_, behind, _, old),
    ):
        await servicer.PublishSegment(publication("loyal", LOYAL), None)
        await ahead.handle([purchase("ana", f"a{n}", START - n) for n in range(2)])
        await behind.handle([purchase("bo", "b0", START)])
        first = old.rules(WORKSPACE).edition
        await servicer.PublishSegment(publication("loyal", TWICE), None)
        await profiles.record([f"{WORKSPACE}/ana"])
        # Also one who is new, and so is evaluated by what this replica knows.
        await behind.handle([purchase("cleo", f"c{n}", START - n) for n in range(2)])
        assert old.rules(WORKSPACE).edition == first
        await behind.handle([purchase("ana", "a2", START)])
        second = old.rules(WORKSPACE).edition
        assert second > first
        left = await store.facts.query("by_edition", WORKSPACE, below=second, limit=10)
        assert [document.id for document in left.documents] == [f"{WORKSPACE}/bo", f"{WORKSPACE}/cleo"]
        found = await store.facts.get([f"{WORKSPACE}/ana"])
        [transition] = convert.transitions_of(found[f"{WORKSPACE}/ana"].body)
        assert (transition.sequence, transition.version, transition.cause) == (1, 2, Cause.EDIT)


async def test_a_profile_left_by_a_deletion_that_was_broken_off_holds_up_nobody(
    config: SegmentConfig, clock: FakeClock
) -> None:
    """The catalogue is gone and the profile isn't; others come in the same batch, and so do new definitions later."""
    async with opened(config) as store, replica(store, clock) as (servicer, intake, profiles, registry):
        await servicer.PublishSegment(publication("buyers", BUYER), None)
        await intake.handle([purchase("ana", "a1", START)])
        await store.catalogues.delete([WORKSPACE])
        registry.forget(WORKSPACE)
        assert await intake.handle([purchase("ana", "a2", START + 1), purchase("bo", "b1", START)]) == {}
        found = await store.facts.get([f"{WORKSPACE}/ana", f"{WORKSPACE}/bo"])
        assert [len(found[f"{WORKSPACE}/{who}"].body["events"]["shop.purchase"][0]) for who in ("ana", "bo")] == [2, 1]
        clock.advance(SECOND)
        await servicer.PublishSegment(publication("twice", TWICE), None)
        await profiles.record(found)
        found = await store.facts.get(found)
        assert [found[f"{WORKSPACE}/{who}"].body["memberships"].get("twice", [False])[0] for who in ("ana", "bo")] == [
            True,
            False,
        ]


async def test_a_timer_of_a_profile_that_is_deleted_meanwhile_brings_nothing_back(
    config: SegmentConfig, clock: FakeClock
) -> None:
    async with opened(config) as store, replica(store, clock) as (servicer, intake, profiles, _):
        await servicer.PublishSegment(publication("recent", RECENT), None)
        await intake.handle([purchase("ana", "a1", START)])
        due = await store.facts.get([f"{WORKSPACE}/ana"])
        clock.advance(2 * DAY)
        await store.facts.delete(due)
        assert await profiles.record(due, known=due) == []
        assert await store.facts.get(due) == {}


async def test_a_catalogue_that_another_replica_deletes_is_forgotten(config: SegmentConfig, clock: FakeClock) -> None:
    """And so it is if that publishes anew before the next look, though the revision may be lower then."""
    async with (
        opened(config) as store,
        replica(store, clock) as (servicer, _, _, _),
        replica(store, clock) as (_, _, _, other),
    ):
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
        async with replica(store, clock) as (fresh, _, _, _):
            await fresh.PublishSegment(publication("twice", TWICE), None)
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
