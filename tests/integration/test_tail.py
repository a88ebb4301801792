"""Reading a log stream from any place on, at a real broker that goes away meanwhile."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from structlog.testing import capture_logs

from cli.ports import free_port
from services.chassis.broker import Broker, StreamSpec
from services.chassis.clock import DAY, HOUR, SECOND
from services.chassis.errors import BrokerUnavailable, CursorExpired
from services.chassis.events import Outgoing, Publisher, subject_of
from services.chassis.tail import Read, Tail
from services.chassis.testing import FakeClock, eventually
from tests.servers import NatsServer, nats_server

SPEC = StreamSpec("CAMINO_SEGMENT", (MembershipChanged,), "log", max_age_s=7 * 24 * 3600, tailed=True)


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    broker = await Broker.connect(nats.url, "segment")
    await broker.declare([SPEC], [])
    try:
        yield broker
    finally:
        await broker.jetstream.delete_stream(SPEC.name)
        await broker.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tail(broker: Broker, clock: FakeClock) -> Tail[MembershipChanged]:
    return Tail(broker, SPEC, MembershipChanged, clock)


_numbers = count()


async def store(broker: Broker, workspace_id: str, *profile_ids: str) -> None:
    await Publisher(broker, "segment").publish(
        [
            Outgoing(
                subject_of(MembershipChanged, workspace_id, 1, profile_id),
                MembershipChanged(workspace_id=workspace_id, profile_id=profile_id),
                f"test-{next(_numbers)}",
            )
            for profile_id in profile_ids
        ]
    )


def read_of(read: Read[MembershipChanged]) -> Sequence[str]:
    return [one.message.profile_id for one in read.messages]


async def test_a_workspace_is_read_page_by_page_and_what_is_gone_is_passed_over(
    broker: Broker, tail: Tail[MembershipChanged], clock: FakeClock
) -> None:
    begin = await tail.newest()
    assert begin.sequence == 0
    assert read_of(await tail.read("shop", begin, 10)) == []
    await store(broker, "shop", "ana", "bo", "cy", "dee", "ana")
    await store(broker, "other", "bo")
    first = await tail.read("shop", begin, 2)
    assert (read_of(first), first.through.sequence) == (["ana", "bo"], 2)
    second = await tail.read("shop", first.through, 3)
    assert (read_of(second), second.through.sequence) == (["cy", "dee", "ana"], 5)
    # It's known that nothing follows, also where there are others'.
    assert (await tail.read("shop", second.through, 3)).through[:3] == (begin.made_at, 6, clock.now())
    await broker.purge(SPEC, "shop", "ana")
    assert read_of(await tail.read("shop", begin, 10)) == ["bo", "cy", "dee"]
    await broker.purge(SPEC, "shop")
    nothing = await tail.read("shop", first.through, 10)
    assert (read_of(nothing), nothing.through.sequence) == ([], 6)
    # No loss to anybody: who read up to there a while ago goes on.
    await store(broker, "shop", "eve")
    clock.advance(6 * DAY)
    assert read_of(await tail.read("shop", begin, 10)) == ["eve"]
    clock.advance(DAY)
    with pytest.raises(CursorExpired):
        await tail.read("shop", begin, 10)
    with pytest.raises(CursorExpired):
        await tail.read("shop", begin._replace(sequence=100, read_at=clock.now()), 10)


async def test_a_stream_that_has_lost_its_end_gives_nobody_less_than_all(tmp_path: Path, clock: FakeClock) -> None:
    """As by a power cut, or when a backup is restored: what comes then has sequences that others had."""
    now, backup = tmp_path / "now", tmp_path / "backup"
    now.mkdir()
    with ExitStack() as held:
        server = NatsServer(now, None, free_port(held))
        held.callback(server.kill)

        @asynccontextmanager
        async def alive() -> AsyncIterator[tuple[Broker, Tail[MembershipChanged]]]:
            server.start()
            broker = await Broker.connect(server.url, "segment")
            yield broker, Tail(broker, SPEC, MembershipChanged, clock)
            await broker.close()
            server.kill()

        async with alive() as (broker, tail):
            await broker.declare([SPEC], [])
            await store(broker, "shop", "ana")
            early = await tail.newest()
        shutil.copytree(now, backup)
        async with alive() as (broker, tail):
            await store(broker, "shop", "bo")
            late = (await tail.read("shop", early, 10)).through
            await store(broker, "other", "bo")
            quiet = (await tail.read("shop", late, 10)).through
        shutil.rmtree(now)
        backup.rename(now)
        async with alive() as (broker, tail):
            await store(broker, "shop", "cy", "dee", "eve")
            assert read_of(await tail.read("shop", early, 10)) == ["cy", "dee", "eve"]
            for place in (late, quiet):
                with pytest.raises(CursorExpired):
                    await tail.read("shop", place, 10)


async def test_what_cannot_be_decoded_is_passed_over(broker: Broker, tail: Tail[MembershipChanged]) -> None:
    begin = await tail.newest()
    await broker.jetstream.publish(subject_of(MembershipChanged, "shop", 1, "ana"), b"\xff")
    await store(broker, "shop", "bo")
    with capture_logs() as logs:
        read = await tail.read("shop", begin, 10)
    assert (read_of(read), read.through.sequence) == (["bo"], 2)
    assert [(line["event"], line["sequence"]) for line in logs] == [("message can't be decoded", 1)]


async def test_many_readers_at_one_place_are_one_to_the_broker(
    broker: Broker, tail: Tail[MembershipChanged], clock: FakeClock
) -> None:
    begin = await tail.newest()
    seen = [0] * 100

    async def follow(reader: int) -> None:
        place = begin
        while seen[reader] < 20:
            read = await tail.read("shop", place, 500)
            place = read.through
            seen[reader] += len(read.messages)
            if not read.messages:
                await tail.arrived("shop", place, clock.now() + HOUR)

    async with asyncio.TaskGroup() as readers:
        for reader in range(len(seen)):
            readers.create_task(follow(reader))
        for number in range(20):
            await store(broker, "shop", f"p{number}")
    assert seen == [20] * 100
    # 20 are those that were published.
    assert broker.client.stats["out_msgs"] < 20 + 200


async def test_a_reader_is_woken_and_goes_on_after_an_outage(
    broker: Broker, tail: Tail[MembershipChanged], clock: FakeClock, nats: NatsServer
) -> None:
    place = await tail.newest()
    waiting = asyncio.create_task(tail.arrived("shop", place, clock.now() + SECOND))
    await store(broker, "other", "bo")
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done(), "it isn't theirs"
    clock.advance(SECOND)
    await waiting
    waiting = asyncio.create_task(tail.arrived("shop", place, clock.now() + HOUR))
    await store(broker, "shop", "ana")
    await waiting
    first = await tail.read("shop", place, 10)
    assert read_of(first) == ["ana"]
    waiting = asyncio.create_task(tail.arrived("shop", first.through, clock.now() + HOUR))
    nats.kill()

    async def away() -> bool:
        return not broker.connected

    await eventually(away)
    with pytest.raises(BrokerUnavailable):
        await tail.read("shop", first.through, 10)
    nats.start()

    async def back() -> bool:
        return broker.connected

    await eventually(back)
    await store(broker, "shop", "bo")
    await waiting
    assert read_of(await tail.read("shop", first.through, 10)) == ["bo"]
    await broker.jetstream.delete_stream(SPEC.name)
    with pytest.raises(BrokerUnavailable):
        await tail.read("shop", first.through, 10)
    await broker.declare([SPEC], [])
    with pytest.raises(CursorExpired):
        await tail.read("shop", first.through, 10)
