"""Following who is in which segment, over gRPC and on a real broker: the copy that a reader makes of it ends as what
ListMembers says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client.errors import from_rpc_error
from camino.errors.v1 import reason_pb2
from camino.ops.v1 import personal_data_service_pb2
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_pb2 import SEGMENT_STATE_READY
from camino.segment.v1.segment_service_pb2 import WatchMembershipsRequest, WatchMembershipsResponse

from examples.audience.audience import Audience
from services.chassis.broker import Broker
from services.chassis.clock import DAY, SECOND
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.ids import partition_of
from services.chassis.metrics import Metrics
from services.chassis.stores import open_database
from services.chassis.tail import Tail
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually
from services.segment.app import MEMBERSHIPS, SegmentConfig
from services.segment.registry import Registry
from services.segment.store import SETTLE_AFTER, Store
from services.segment.watching import Watching
from tests.segments import (
    BUYER,
    LOYAL,
    PARTITIONS,
    SPANISH,
    START,
    TWICE,
    WORKSPACE,
    World,
    profile,
    profile_stream,
    purchase,
    running,
)
from tests.servers import NatsServer, nats_server, secantusd

PEOPLE = [f"p{number:02}" for number in range(24)]
ACTIVE = {"event": {"eventType": "shop.purchase", "count": {"atLeast": 1}, "window": {"within": "0.5s"}}}
SEGMENTS = {"buyers": BUYER, "active": ACTIVE, "loyal": LOYAL, "spanish": SPANISH}


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    async with profile_stream(nats) as broker:
        yield broker


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def config(nats: NatsServer, tmp_path: Path) -> Iterator[SegmentConfig]:
    # A store that two replicas can share.
    with secantusd() as uri:
        yield SegmentConfig(
            nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=uri
        )


@pytest.fixture
async def world(config: SegmentConfig, clock: FakeClock, broker: Broker, telemetry: Telemetry) -> AsyncIterator[World]:
    async with running(config, clock, broker, telemetry) as world:
        yield world


Watch = Callable[[WatchMembershipsRequest], AsyncGenerator[WatchMembershipsResponse, None]]


def over_grpc(world: World) -> Watch:
    async def watch(request: WatchMembershipsRequest) -> AsyncGenerator[WatchMembershipsResponse, None]:
        call = world.stub.WatchMemberships(request)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    return watch


@asynccontextmanager
async def in_small_parts(config: SegmentConfig, clock: FakeClock, broker: Broker) -> AsyncIterator[Watch]:
    """Another replica's, which tells few members at once, and reads nothing ahead."""
    database = await open_database(uri=config.mongodb_uri, path=config.data_dir, name="segment")
    store = Store.of(database)
    tail = Tail(broker, MEMBERSHIPS, MembershipChanged, clock)
    try:
        yield Watching(store, Registry(store, clock), tail, clock, Metrics(), members=2).watch
    finally:
        await database.close()


class Reader:
    """Somebody who follows, and the copy that they keep."""

    def __init__(self, watch: Watch, *segment_ids: str) -> None:
        self._watch = watch
        self._segment_ids = segment_ids
        self.audience = Audience(":memory:")
        self.taken = 0
        self.may_take = asyncio.Event()
        self.may_take.set()

    async def follow(self, cut: random.Random | None = None) -> None:
        """For ever, over one stream, or over many that are cut after a few responses."""
        while True:
            # Fewer than it takes to tell all members.
            left = cut.randint(1, 3) if cut else -1
            cursor = self.audience.cursor
            request = WatchMembershipsRequest(workspace_id=WORKSPACE, segment_ids=self._segment_ids, cursor=cursor)
            anew = not cursor
            async with aclosing(self._watch(request)) as told:
                async for response in told:
                    self.audience.take(anew, response)
                    anew = False
                    self.taken += 1
                    left -= 1
                    if not left:
                        break
                    await self.may_take.wait()

    def members(self) -> dict[str, set[str]]:
        held = {profile_id: self.audience.segments_of(profile_id) for profile_id in PEOPLE}
        return {
            segment_id: {profile_id for profile_id in PEOPLE if segment_id in held[profile_id]}
            for segment_id in self._segment_ids or SEGMENTS
        }


def watching(world: World, *segment_ids: str, cursor: str = "") -> Any:
    request = WatchMembershipsRequest(workspace_id=WORKSPACE, segment_ids=segment_ids, cursor=cursor)
    return aclosing(over_grpc(world)(request))


async def cursor_of(world: World, *segment_ids: str, cursor: str = "") -> str:
    """The first cursor that comes."""
    async with watching(world, *segment_ids, cursor=cursor) as told:
        async for response in told:
            if response.cursor:
                return str(response.cursor)
    raise AssertionError("no cursor came")


async def refused(world: World, *segment_ids: str, cursor: str = "") -> int:
    """The reason why."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await cursor_of(world, *segment_ids, cursor=cursor)
    return from_rpc_error(error.value).reason


async def live(world: World, clock: FakeClock, chance: random.Random) -> None:
    """Let things happen to people: facts, time, new versions of a segment, merges, erasures."""
    revisions = dict.fromkeys(PEOPLE, 0)
    alive = list(PEOPLE)
    for number in range(120):
        who = chance.choice(alive)
        revisions[who] += 1
        country = chance.choice(["ES", "PT"])
        match chance.randrange(20):
            case 0 if len(alive) > 12:
                other = alive.pop(alive.index(who))
                survivor = chance.choice(alive)
                revisions[survivor] += 1
                await world.tell(profile(survivor, revisions[survivor], merged=[other], address__country=country))
            case 1 if len(alive) > 12:
                alive.remove(who)
                await world.personal_data.ErasePersonalData(
                    personal_data_service_pb2.ErasePersonalDataRequest(workspace_id=WORKSPACE, profile_ids=[who])
                )
            case 2:
                await world.publish("loyal", chance.choice([LOYAL, TWICE]), ready=False)
            case 3 | 4 | 5 | 6:
                await world.tell(profile(who, revisions[who], address__country=country))
            case _:
                await world.tell(purchase(who, f"e{number}", clock.now(), revision=0))
        # So little that no lease ends, however slow the machine is.
        clock.advance(SECOND // 50)


def outdated(published: list[MembershipChanged]) -> MembershipChanged:
    """A change that isn't the newest of its kind, and would make a difference."""
    newest = {(one.profile_id, one.segment_id): one for one in published}
    return next(one for one in published if one.member != newest[one.profile_id, one.segment_id].member)


async def tell_again(broker: Broker, change: MembershipChanged) -> None:
    subject = subject_of(MembershipChanged, WORKSPACE, partition_of(change.profile_id, PARTITIONS), change.profile_id)
    await Publisher(broker, "segment").publish([Outgoing(subject, change, "again")])


async def test_a_copy_ends_as_what_is_so(
    world: World, config: SegmentConfig, clock: FakeClock, broker: Broker, telemetry: Telemetry
) -> None:
    for segment_id, condition in SEGMENTS.items():
        await world.publish(segment_id, condition)
    await world.tell(*(purchase(who, f"{who}-0", START - 2 * SECOND) for who in PEOPLE[::2]))
    await world.settled()
    async with in_small_parts(config, clock, broker) as parts, asyncio.TaskGroup() as following:
        steady, some = Reader(over_grpc(world)), Reader(over_grpc(world), "loyal", "spanish")
        cut, slow = Reader(parts), Reader(parts)
        slow.may_take.clear()
        readers = [
            following.create_task(steady.follow()),
            following.create_task(some.follow(random.Random(8))),
            following.create_task(cut.follow(random.Random(7))),
            following.create_task(slow.follow()),
        ]
        await live(world, clock, random.Random(5))
        await world.settled()

        async def ready() -> bool:
            clock.advance(SECOND // 4)
            states = [(await world.segment(segment_id)).state for segment_id in SEGMENTS]
            return all(state == SEGMENT_STATE_READY for state in states)

        await eventually(ready)
        # Until then somebody may tell of an erased person what they had in hand.
        clock.advance(SETTLE_AFTER)

        async def so() -> dict[str, set[str]]:
            return {segment_id: set(await world.members(segment_id)) for segment_id in SEGMENTS}

        async def ended(reader: Reader) -> None:
            async def probe() -> bool:
                clock.advance(SECOND)
                return reader.members().items() <= (await so()).items()

            await eventually(probe)

        for reader in (steady, some, cut):
            await ended(reader)
        in_the_end = await so()
        assert in_the_end["buyers"]
        assert in_the_end["spanish"]
        # Who has been told two members so far held up nobody, and catches up.
        assert slow.taken == 1
        slow.may_take.set()
        await ended(slow)
        # What somebody tells once more, however late, is told, and changes nothing.
        taken = steady.taken
        await tell_again(broker, outdated(await world.published()))

        async def told_again() -> bool:
            return steady.taken > taken

        await eventually(told_again)
        await ended(steady)
        for task in readers:
            task.cancel()
    told = telemetry.metrics.registry.get_sample_value("camino_segment_told_changes_total")
    assert told is not None
    assert told > 100


async def test_cursors(world: World, clock: FakeClock, broker: Broker) -> None:
    await world.publish("loyal", TWICE)
    await world.publish("spanish", SPANISH)
    assert await refused(world, "loyal", "unheard-of") == reason_pb2.REASON_NOT_FOUND
    begin = await cursor_of(world, "spanish", "loyal")
    for other in (("loyal",), ()):
        assert await refused(world, *other, cursor=begin) == reason_pb2.REASON_INVALID_FIELD
    for broken in ("hello", begin[:-4], "é", begin[:-1] + ("A" if begin[-1] != "A" else "B")):
        assert await refused(world, "loyal", "spanish", cursor=broken) == reason_pb2.REASON_INVALID_FIELD
    await world.tell(purchase("ana", "e1", START), purchase("ana", "e2", START), profile("bo", address__country="ES"))
    await world.transitions(2)
    # In whatever order they're named, and as often as one likes.
    for _ in range(2):
        async with watching(world, "loyal", "spanish", cursor=begin) as told:
            response = await anext(aiter(told))
            assert {(one.profile_id, one.segment_id) for one in response.changes} == {
                ("ana", "loyal"),
                ("bo", "spanish"),
            }
    async with watching(world, "loyal", "spanish", cursor=response.cursor) as told:
        follow = aiter(told)
        assert not (await anext(follow)).changes
        # Nothing happens, and that is told.
        quiet = asyncio.ensure_future(anext(follow))
        while not quiet.done():
            clock.advance(15 * SECOND)
            await asyncio.wait([quiet], timeout=0.02)
        assert not quiet.result().changes
        newest = quiet.result().cursor
    clock.advance(int(6.99 * DAY))
    assert await cursor_of(world, "loyal", "spanish", cursor=newest)
    clock.advance(DAY // 10)
    assert await refused(world, "loyal", "spanish", cursor=begin) == reason_pb2.REASON_CURSOR_EXPIRED
    # Of a stream that is no more, though the new one comes as far.
    fresh = await cursor_of(world, "loyal", "spanish")
    await broker.jetstream.delete_stream(MEMBERSHIPS.name)
    await broker.declare([MEMBERSHIPS], [])
    assert await refused(world, "loyal", "spanish", cursor=fresh) == reason_pb2.REASON_CURSOR_EXPIRED
    assert await cursor_of(world, "loyal", "spanish")
