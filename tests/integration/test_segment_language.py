"""What a rule may ask of, told by the broker: each kind of fact moves the memberships that depend on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from camino.profile.v1 import profile_pb2
from camino.profile.v1.profile_events_pb2 import ProfileChanged
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EDIT,
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_PROFILE,
    MEMBERSHIP_CAUSE_TIME,
)
from camino.type.v1 import messaging_pb2

from services.chassis.clock import DAY, SECOND
from services.chassis.testing import FakeClock
from services.segment import convert
from services.segment.app import SegmentConfig
from tests.segments import BUYER, PARTITIONS, START, TWICE, World, profile, profile_stream, purchase, running, said
from tests.servers import NatsServer, nats_server

NEWS = {"consent": {"channel": "CHANNEL_EMAIL", "topic": "news", "standing": "CONSENT_STANDING_OPTED_IN"}}
RENEWS = {"date": {"attribute": "renewal", "inDays": {"atLeast": 0, "atMost": 0}, "timeZone": "Europe/Madrid"}}
LAST_WAS_BIG = {
    "event": {"eventType": "shop.purchase", "last": {"property": {"name": "amount", "number": {"above": 50}}}}
}
AGAIN = {
    "sequence": {
        "steps": [{"eventType": "shop.purchase"}, {"eventType": "shop.purchase"}],
        "within": "86400s",
        "fromFirst": True,
    }
}


@pytest.fixture(scope="module")
def nats() -> Iterator[NatsServer]:
    with nats_server() as server:
        yield server


@pytest.fixture
async def world(nats: NatsServer, tmp_path: Path) -> AsyncIterator[World]:
    config = SegmentConfig(
        nats_url=nats.url, data_dir=tmp_path, partitions=PARTITIONS, migrate_on_start=True, mongodb_uri=""
    )
    async with profile_stream(nats) as broker, running(config, FakeClock(START), broker) as world:
        yield world


def consenting(change: ProfileChanged, topic: str, state: int) -> ProfileChanged:
    change.profile.consents.add(channel=messaging_pb2.CHANNEL_EMAIL, topic=topic, state=state)
    return change


def living_in(change: ProfileChanged, time_zone: str) -> ProfileChanged:
    change.profile.time_zone = time_zone
    return change


async def test_consents(world: World) -> None:
    await world.publish("readers", NEWS)
    await world.publish("others", {"not": NEWS})
    agreed, refused = profile_pb2.CONSENT_STATE_OPTED_IN, profile_pb2.CONSENT_STATE_OPTED_OUT
    await world.tell(consenting(profile("ana"), "offers", agreed))
    assert said(await world.transitions(1)) == [("ana", "others", True, MEMBERSHIP_CAUSE_PROFILE)]
    await world.tell(consenting(profile("ana", 2), "news", agreed))
    assert sorted(said(await world.transitions(3))[1:]) == [
        ("ana", "others", False, MEMBERSHIP_CAUSE_PROFILE),
        ("ana", "readers", True, MEMBERSHIP_CAUSE_PROFILE),
    ]
    await world.tell(consenting(profile("ana", 3), "news", refused))
    assert len(await world.transitions(5)) == 5
    assert await world.members("others") == ["ana"]


async def test_a_date_in_the_zone_of_the_profile(world: World) -> None:
    await world.publish("renewing", RENEWS)
    now = datetime.fromtimestamp(START // SECOND, UTC)
    day = int(now.replace(hour=0, minute=0, second=0).timestamp()) + 2 * 86_400
    renewal = f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}"
    await world.tell(profile("ana", renewal=renewal), living_in(profile("bo", renewal=renewal), "Asia/Tokyo"))
    await world.settled()
    # Madrid is 2 hours ahead of UTC in June, Tokyo 9.
    world.clock.advance(day * SECOND - START)
    found = await world.ticking(2)
    at = {change.profile_id: convert.instant(change.effective_at) // SECOND for change in found}
    assert {change.cause for change in found} == {MEMBERSHIP_CAUSE_TIME}
    assert at == {"ana": day - 2 * 3_600, "bo": day - 9 * 3_600}
    await world.tell(living_in(profile("ana", 2, renewal=renewal), "Pacific/Honolulu"))
    assert said(await world.transitions(3))[2] == ("ana", "renewing", False, MEMBERSHIP_CAUSE_PROFILE)


async def test_the_last_event_and_the_second_after_the_first(world: World) -> None:
    await world.publish("big", LAST_WAS_BIG)
    await world.publish("again", AGAIN)
    await world.tell(purchase("ana", "e2", START - 10, 60.0))
    assert said(await world.transitions(1)) == [("ana", "big", True, MEMBERSHIP_CAUSE_EVENT)]
    # Late, and before what was first until now: two days before, so it takes the sequence's place.
    await world.tell(purchase("ana", "e1", START - 2 * DAY, 5.0))
    await world.tell(purchase("ana", "e3", START - 5, 5.0))
    assert said(await world.transitions(2))[1] == ("ana", "big", False, MEMBERSHIP_CAUSE_EVENT)
    assert await world.members("again") == []
    await world.tell(purchase("bo", "b1", START - 10), purchase("bo", "b2", START - 9))
    assert said(await world.transitions(3))[2] == ("bo", "again", True, MEMBERSHIP_CAUSE_EVENT)


async def test_another_segment_counts_as_its_rule_does_also_when_it_is_edited(world: World) -> None:
    await world.publish("buyers", BUYER)
    await world.publish("strangers", {"not": {"inSegment": "buyers"}})
    await world.publish("no-strangers", {"not": {"inSegment": "strangers"}})
    await world.tell(profile("ana"))
    assert said(await world.transitions(1)) == [("ana", "strangers", True, MEMBERSHIP_CAUSE_PROFILE)]
    await world.tell(purchase("ana", "e1", START - 1))
    assert sorted(said(await world.transitions(4))[1:]) == [
        ("ana", "buyers", True, MEMBERSHIP_CAUSE_EVENT),
        ("ana", "no-strangers", True, MEMBERSHIP_CAUSE_EVENT),
        ("ana", "strangers", False, MEMBERSHIP_CAUSE_EVENT),
    ]
    before = await world.segment("no-strangers")
    await world.publish("buyers", TWICE)
    for segment_id in ("strangers", "no-strangers"):
        await world.ready(segment_id)
    assert sorted(said(await world.transitions(7))[4:]) == [
        ("ana", "buyers", False, MEMBERSHIP_CAUSE_EDIT),
        ("ana", "no-strangers", False, MEMBERSHIP_CAUSE_EDIT),
        ("ana", "strangers", True, MEMBERSHIP_CAUSE_EDIT),
    ]
    after = await world.segment("no-strangers")
    assert (after.version, after.etag) == (before.version, before.etag)
    assert await world.members("strangers") == ["ana"]


async def test_segments_that_would_ask_each_other_in_a_circle_are_refused(world: World) -> None:
    await world.publish("one", BUYER)
    await world.publish("two", {"inSegment": "one"})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.publish("one", {"any": {"conditions": [BUYER, {"inSegment": "two"}, {"inSegment": "nobody"}]}})
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = refused.value.details() or ""
    assert (
        "definition.condition.any.conditions[1].in_segment: comes back to this segment: one asks two asks one"
        in details
    )
    assert "definition.condition.any.conditions[2].in_segment: there is no segment 'nobody'" in details
