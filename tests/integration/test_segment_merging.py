"""Segments of people who turn out to be one, over gRPC and on a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_MERGE,
)

from services.chassis.broker import Broker
from services.chassis.clock import DAY, SECOND
from services.chassis.telemetry import Telemetry
from services.chassis.testing import FakeClock, eventually
from services.segment.app import SegmentConfig
from services.segment.store import SCHEMAS, Store
from tests.segments import (
    BUYER,
    LOYAL,
    PARTITIONS,
    RECENT,
    SPANISH,
    START,
    WORKSPACE,
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
from tests.servers import NatsServer, nats_server
from tests.torn import Died, Life, Mortal


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


# --- merging ----------------------------------------------------------------------------------------------------------


async def test_one_stays_with_what_both_did(world: World) -> None:
    for name, condition in {"buyers": BUYER, "loyal": LOYAL, "spanish": SPANISH}.items():
        await world.publish(name, condition)
    await ana_and_bo(world)
    transitions = await world.transitions(5)
    assert sorted(said(transitions[3:])) == [
        ("ana", "loyal", True, MEMBERSHIP_CAUSE_MERGE),
        ("bo", "buyers", False, MEMBERSHIP_CAUSE_MERGE),
    ]
    assert {(t.profile_id, t.sequence) for t in transitions[3:]} == {("ana", 3), ("bo", 2)}
    for name in ("buyers", "loyal", "spanish"):
        assert await world.members(name) == ["ana"]


async def test_told_again_it_changes_nothing(world: World) -> None:
    await world.publish("buyers", BUYER)
    await world.publish("loyal", LOYAL)
    # First of all, and handled: in another partition an event of bo's might be before it, and let him in for a moment.
    await world.tell(profile("ana", 2, merged=["bo"]))
    await world.settled()
    for _ in range(3):
        await world.tell(
            profile("ana", 2, merged=["bo"]),
            purchase("bo", "b1", START, revision=9, address__country="ES"),
            purchase("ana", "a1", START),
            purchase("bo", "b2", START),
            profile("ana", 1, address__country="PT"),
        )
        await world.settled()
    assert sorted(t.sequence for t in await world.transitions(2)) == [1, 2]
    assert {name: await world.members(name) for name in ("buyers", "loyal")} == {"buyers": ["ana"], "loyal": ["ana"]}
    await world.publish("spanish", {"attribute": {"name": "address.country", "exists": True}})
    assert await world.members("spanish") == [], "attributes are those that the one who stays is told with"


async def test_a_late_fact_goes_to_whoever_it_is_now(world: World) -> None:
    await world.publish("loyal", LOYAL)
    await world.tell(purchase("bo", "b1", START))
    await world.tell(profile("ana", 2, merged=["bo"]), profile("cleo", 2, merged=["ana", "bo"]))
    await world.settled()
    await world.tell(purchase("ana", "a1", START), purchase("bo", "b2", START, revision=7))
    assert said(await world.transitions(1)) == [("cleo", "loyal", True, MEMBERSHIP_CAUSE_EVENT)]
    assert await world.members("loyal") == ["cleo"]


async def test_an_id_that_was_merged_answers_for_the_one_who_stays(world: World) -> None:
    await world.publish("loyal", LOYAL)
    await world.publish("spanish", SPANISH)
    await world.tell(*(purchase("bo", f"b{number}", START) for number in range(3)))
    await world.settled()
    await world.tell(profile("ana", 1, address__country="ES"), profile("ana", 2, merged=["bo"], address__country="ES"))
    await world.tell(profile("cleo", 2, merged=["ana", "bo"], address__country="ES"))
    await world.settled()
    for person in ("ana", "bo", "cleo"):
        answer = await world.check(person, "loyal", "spanish", after="b2")
        assert (list(answer.member_of), answer.behind) == (["loyal", "spanish"], False)
        assert (await world.check(person, "loyal", after="c1")).behind
    await world.tell(purchase("cleo", "c1", START))
    await world.settled()
    assert not (await world.check("bo", "loyal", after="c1")).behind


async def test_the_merged_are_neither_evaluated_nor_counted(world: World) -> None:
    await world.publish("recent", RECENT)
    await ana_and_bo_unlisted(world)
    segment = await world.publish("buyers", BUYER)
    assert (await world.ready("buyers")).computed_count == 1
    assert await world.members("buyers") == ["ana"]
    assert segment.version == 1
    before = len(await world.published())
    world.clock.advance(2 * DAY)
    assert [(t.profile_id, t.member) for t in (await world.ticking(before + 1))[before:]] == [("ana", False)]


async def ana_and_bo_unlisted(world: World) -> None:
    await world.tell(purchase("ana", "a1", START), purchase("bo", "b1", START))
    await world.settled()
    await world.tell(profile("ana", 2, merged=["bo"]))
    await world.settled()


@pytest.mark.parametrize("written", [1, 2])
async def test_a_crash_in_the_middle_of_a_merge(
    config: SegmentConfig, clock: FakeClock, broker: Broker, written: int
) -> None:
    """When the grave is there, or the survivor too; and what told of it never comes again."""
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("loyal", LOYAL), None)
        await here.servicer.PublishSegment(publication("buyers", BUYER), None)
        await here.intake.handle(
            [purchase("ana", "a1", START), purchase("bo", "b1", START), purchase("bo", "b2", START)]
        )
        with pytest.raises(Died):
            await dying(store, clock, written).intake.handle([profile("ana", 2, merged=["bo"])])
    telemetry = Telemetry()
    async with running(config, clock, broker, telemetry) as world:
        found = await world.ticking(4)
        assert sorted((t.profile_id, t.segment_id, t.member, t.sequence) for t in found) == [
            ("ana", "buyers", True, 1),
            ("ana", "loyal", True, 2),
            ("bo", "buyers", False, 2),
            ("bo", "buyers", True, 1),
        ]
        assert await world.members("loyal") == ["ana"]

        async def finished() -> bool:
            clock.advance(SECOND)
            labels = {"loop": "membership-timers"}
            return bool(telemetry.metrics.registry.get_sample_value("camino_timer_lateness_seconds_count", labels))

        await eventually(finished)
    async with opened(config) as store:
        grave = (await store.facts.get([f"{WORKSPACE}/bo"]))[f"{WORKSPACE}/bo"].body
        assert not grave.keys() & {"events", "wake_at", "outbox"}


def dying(store: Store, clock: FakeClock, written: int) -> Replica:
    """One that is killed when it has written so many documents."""
    life = Life(written)
    return Replica(Store(*(Mortal(getattr(store, schema.name), life) for schema in SCHEMAS)), clock)


async def test_crashes_leave_a_grave_that_leads_to_another(
    config: SegmentConfig, clock: FakeClock, broker: Broker
) -> None:
    """Bo became Ana, but Ana hadn't Bo's events yet when she became Cleo, who has those of neither."""
    async with opened(config) as store:
        here = Replica(store, clock)
        await here.servicer.PublishSegment(publication("loyal", LOYAL), None)
        await here.intake.handle([purchase("bo", f"b{n}", START) for n in range(2)] + [purchase("ana", "a1", START)])
        for merge in (profile("ana", 2, merged=["bo"]), profile("cleo", 2, merged=["ana", "bo"])):
            with pytest.raises(Died):
                await dying(store, clock, 1).intake.handle([merge])
    async with running(config, clock, broker) as world:
        [entered] = await world.ticking(1)
        assert (entered.profile_id, entered.segment_id, entered.member) == ("cleo", "loyal", True)
