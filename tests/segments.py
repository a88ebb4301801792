"""The segment service on a real store and a real broker, with a clock that's moved by hand, for tests of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import grpc
from camino.ops.v1 import dead_letter_service_pb2_grpc, personal_data_service_pb2_grpc, workspace_service_pb2_grpc
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1 import (
    membership_webhook_service_pb2_grpc,
    segment_pb2,
    segment_service_pb2,
    segment_service_pb2_grpc,
)
from camino.segment.v1.segment_events_pb2 import MEMBERSHIP_CAUSE_ERASURE, EvaluationRequested, MembershipChanged
from camino.type.v1.value_pb2 import Value
from google.protobuf import json_format
from nats.js.errors import NotFoundError

from services.chassis.broker import Broker, StreamSpec
from services.chassis.clock import SECOND
from services.chassis.documents import Document
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import partition_of
from services.chassis.metrics import Metrics
from services.chassis.sqlite import SqliteDatabase
from services.chassis.stores import open_database
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually, serving
from services.segment import convert
from services.segment.app import SegmentConfig, build
from services.segment.domain import NEVER
from services.segment.estimating import Estimating
from services.segment.intake import Intake
from services.segment.measures import ERASED_FACTS, EVALUATION_ERRORS
from services.segment.merging import Merging
from services.segment.outbox import Outbox
from services.segment.profiles import Profiles
from services.segment.publishing import Publishing
from services.segment.registry import Registry
from services.segment.rollout import Rollout
from services.segment.service import SegmentServicer
from services.segment.shards import Shards
from services.segment.store import SCHEMAS, Store
from tests.servers import NatsServer

WORKSPACE = "shop"
PARTITIONS = 4
_MOST_LOOKS = 2_000
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
        self.webhooks = membership_webhook_service_pb2_grpc.MembershipWebhookServiceStub(channel)
        self.personal_data = personal_data_service_pb2_grpc.PersonalDataServiceStub(channel)
        self.dead_letters = dead_letter_service_pb2_grpc.DeadLetterServiceStub(channel)
        self.workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(channel)
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
            # Not by leaps: whoever holds a partition has to renew its lease on the way.
            self.clock.advance(SECOND // 5)
            found = await self.published()
            return found if len(found) >= number else None

        return await eventually(probe)

    async def published(self) -> list[MembershipChanged]:
        jetstream = self._broker.jetstream
        state = (await jetstream.stream_info("CAMINO_SEGMENT")).state
        found = []
        for number in range(state.first_seq, state.last_seq + 1) if state.messages else ():
            with suppress(NotFoundError):  # Purged.
                message = await jetstream.get_msg("CAMINO_SEGMENT", number)
                found.append(MembershipChanged.FromString(message.data))
        return found

    async def ever_published(self) -> int:
        """How many messages there have been, purged ones too."""
        return (await self._broker.jetstream.stream_info("CAMINO_SEGMENT")).state.last_seq

    async def settled(self) -> None:
        """Return when all that was told is handled: acknowledged on every partition."""

        jetstream = self._broker.jetstream
        last: dict[int, int] = {}
        for partition in range(PARTITIONS):
            with suppress(NotFoundError):  # Nothing was told there.
                told = f"{ProfileChanged.DESCRIPTOR.full_name}.*.{partition}.*"
                last[partition] = (await jetstream.get_last_msg("CAMINO_PROFILE", told)).seq

        async def probe() -> bool:
            for partition, sequence in last.items():
                # What is pending isn't asked: the broker counts a message a moment after it has taken it.
                info = await jetstream.consumer_info("CAMINO_PROFILE", f"segment-changes-{partition}")
                if info.ack_floor.stream_seq < sequence:
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

    async def check(
        self, profile_id: str, *segment_ids: str, after: str = "", context: Mapping[str, Value] = MappingProxyType({})
    ) -> segment_service_pb2.MembershipAnswer:
        query = segment_service_pb2.MembershipQuery(
            profile_id=profile_id, segment_ids=segment_ids, after_event_id=after, context=context
        )
        request = segment_service_pb2.CheckMembershipRequest(workspace_id=WORKSPACE, queries=[query])
        return (await self.stub.CheckMembership(request)).answers[0]

    async def explain(
        self,
        profile_id: str,
        segment_id: str,
        context: Mapping[str, Value] = MappingProxyType({}),
        *,
        at: int | None = None,
    ) -> segment_pb2.MembershipExplanation:
        request = segment_service_pb2.ExplainMembershipRequest(
            workspace_id=WORKSPACE, segment_id=segment_id, profile_id=profile_id, context=context
        )
        if at is not None:
            request.at.CopyFrom(convert.timestamp(at))
        return (await self.stub.ExplainMembership(request)).explanation

    async def history(self, profile_id: str, size: int = 0) -> list[MembershipChanged]:
        """A person's transitions, from the newest on."""
        found: list[MembershipChanged] = []
        token = ""
        while True:
            reply = await self.stub.ListTransitions(
                segment_service_pb2.ListTransitionsRequest(
                    workspace_id=WORKSPACE, profile_id=profile_id, page_size=size, page_token=token
                )
            )
            found += reply.transitions
            token = reply.next_page_token
            if not token:
                return found


def profile(
    profile_id: str, revision: int = 1, *, merged: Sequence[str] = (), **attributes: str | float
) -> ProfileChanged:
    change = ProfileChanged()
    change.profile.merged_profile_ids.extend(merged)
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


async def ana_and_bo(world: World) -> None:
    """Ana bought once and is Spanish, Bo bought twice; then it's told that Bo is Ana."""
    await world.tell(profile("ana", 1, address__country="ES"), purchase("ana", "a1", START - 3, address__country="ES"))
    await world.tell(purchase("bo", "b1", START - 2), purchase("bo", "b2", START - 1))
    await world.settled()
    await world.tell(profile("ana", 2, merged=["bo"], address__country="ES"))


def said(transitions: Sequence[MembershipChanged]) -> list[tuple[str, str, bool, int]]:
    return [(t.profile_id, t.segment_id, t.member, t.cause) for t in transitions]


@asynccontextmanager
async def profile_stream(nats: NatsServer) -> AsyncIterator[Broker]:
    """A broker with the profile service's stream, and nothing in it."""
    broker = await Broker.connect(nats.url, "test")
    await broker.declare([StreamSpec("CAMINO_PROFILE", (ProfileChanged,), "log", max_age_s=3600)], [])
    try:
        yield broker
    finally:
        for stream in ("CAMINO_PROFILE", "CAMINO_SEGMENT", "CAMINO_SEGMENT_WORK"):
            with suppress(NotFoundError):
                await broker.jetstream.delete_stream(stream)
        await broker.close()


@asynccontextmanager
async def running(
    config: SegmentConfig, clock: FakeClock, broker: Broker, telemetry: Telemetry | None = None
) -> AsyncIterator[World]:
    async with build(config, clock, telemetry=telemetry) as app, serving(app) as channel:
        yield World(config, clock, broker, channel)


@dataclass
class Replica:
    """The parts of a replica by hand, without loops: nothing is relayed but kept, and nothing refreshed by itself."""

    store: Store
    clock: FakeClock
    relayed: list[Document] = field(default_factory=list)
    published: Published = field(default_factory=lambda: Published())
    page: int = 200
    """How many profiles are evaluated at once after a publication."""

    def __post_init__(self) -> None:
        self.registry = Registry(self.store, self.clock)
        metrics = Metrics()
        errors = metrics.counter(EVALUATION_ERRORS)
        self.profiles = Profiles(self.store, self.registry, self.clock, PARTITIONS, errors)
        dropped = metrics.counter(ERASED_FACTS)
        self.merging = Merging(self.store, self.profiles, self.relayed.extend, dropped)
        self.intake = Intake(self.merging)
        self.servicer = SegmentServicer(
            self.store,
            self.registry,
            self.clock,
            PARTITIONS,
            errors,
            Publishing(self.store, self.registry, self.clock, PARTITIONS, lambda partition, at: None),
            Estimating(self.store, self.clock, PARTITIONS, errors),
            _unwatched,
        )
        self.outbox = Outbox(self.store, self.published)
        self.rollout = Rollout(
            self.store,
            self.registry,
            self.outbox,
            self.published,
            self.clock,
            PARTITIONS,
            lambda: range(PARTITIONS),
        )
        self.shards = Shards(
            self.store,
            self.registry,
            self.profiles,
            self.outbox,
            self.published,
            self.clock,
            lambda partition, at: None,
            page=self.page,
        )

    async def look_at_publications(self) -> bool:
        """Do what is due for what was published, and a page of what was asked for. Whether there was anything."""
        found = (await self.store.catalogues.scan(limit=100)).documents
        due = [document for document in found if document.body.get("compute_at", NEVER) <= self.clock.now()]
        await self.rollout.act(due)
        asked = list(self.published.asked)
        await self.shards.handle(asked)
        # Only now: what isn't handled comes again.
        del self.published.asked[: len(asked)]
        return bool(due or asked)

    async def roll_out(self) -> None:
        """Let what was published come to serve."""
        for _ in range(_MOST_LOOKS):
            if not await self.look_at_publications():
                return
        raise AssertionError("there is no end to what is to be done")


def _unwatched(_request: segment_service_pb2.WatchMembershipsRequest) -> NoReturn:
    raise AssertionError("without a broker there is nothing to follow")


class Published:
    """What the broker would hold. A published transition may come again, and is never another one."""

    def __init__(self) -> None:
        self.kept: list[MembershipChanged] = []
        self.asked: list[EvaluationRequested] = []
        self._seen: dict[str, list[MembershipChanged]] = {}

    async def publish(self, batch: Sequence[Outgoing]) -> None:
        for item in batch:
            if isinstance(item.message, EvaluationRequested):
                self.asked.append(item.message)
                continue
            assert isinstance(item.message, MembershipChanged)
            self.kept.append(item.message)
            seen = self._seen.setdefault(item.message.profile_id, [])
            if not seen or item.message.sequence > seen[-1].sequence:
                seen.append(item.message)

    def member_of(self, profile_id: str) -> set[str]:
        """What a profile is in by all that was ever published, for a consumer that goes by the sequence."""
        standing = {one.segment_id: one.member for one in self._seen.get(profile_id, ())}
        return {segment_id for segment_id, member in standing.items() if member}

    async def purge(self, workspace_id: str, profile_id: str) -> None:
        self.kept = [one for one in self.kept if one.profile_id != profile_id]

    def of(self, profile_id: str) -> list[MembershipChanged]:
        """A profile's, each once, as a consumer sees them."""
        found: dict[int, MembershipChanged] = {}
        for one in self.kept:
            if one.profile_id == profile_id:
                assert found.setdefault(one.sequence, one) == one
                assert one.sequence <= len(found) or one.cause == MEMBERSHIP_CAUSE_ERASURE, (
                    "the first copies come in order"
                )
        return list(found.values())


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


class Bench:
    """One store with the segments in it, in which each example has people of its own."""

    def __init__(self, path: Path, segments: Mapping[str, dict[str, Any]]) -> None:
        self.runner = asyncio.Runner()
        self.database = self.runner.run(SqliteDatabase.open(path))
        self.runner.run(self.database.migrate(SCHEMAS))
        self.store = Store.of(self.database)
        self.examples = 0
        self.runner.run(self._publish(segments))

    async def _publish(self, segments: Mapping[str, dict[str, Any]]) -> None:
        for name, condition in segments.items():
            await publish(Replica(self.store, FakeClock()), name, condition)

    def close(self) -> None:
        self.runner.run(self.database.close())
        self.runner.close()


async def publish(replica: Replica, segment_id: str, condition: dict[str, Any]) -> None:
    await replica.servicer.PublishSegment(publication(segment_id, condition), None)
