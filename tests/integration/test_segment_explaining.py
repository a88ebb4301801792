"""Asking why, and asking with what is known only now, over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from camino.segment.v1 import segment_pb2
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_PROFILE,
    MEMBERSHIP_CAUSE_TIME,
)
from camino.segment.v1.segment_pb2 import (
    CONDITION_VERDICT_FALSE,
    CONDITION_VERDICT_TRUE,
    CONDITION_VERDICT_UNKNOWN,
    ExplainedCondition,
)
from camino.segment.v1.segment_service_pb2 import ListMembershipsRequest
from camino.type.v1.value_pb2 import Value

from services.chassis.clock import DAY, SECOND
from services.chassis.testing import FakeClock
from services.chassis.wire import instant
from services.segment.app import SegmentConfig
from tests.segments import (
    PARTITIONS,
    RECENT,
    SPANISH,
    START,
    WORKSPACE,
    World,
    profile,
    profile_stream,
    purchase,
    running,
)
from tests.servers import NatsServer, nats_server

FULL_CART = {"attribute": {"name": "cart_value", "number": {"atLeast": 100}}}
NEARLY = {"all": {"conditions": [RECENT, {"not": SPANISH}, FULL_CART]}}
EARLIEST, LATEST = -62_135_596_800 * SECOND, 253_402_300_799 * SECOND
"""Of what a Timestamp can say."""
ES, PT, FULL = Value(string_value="ES"), Value(string_value="PT"), Value(double_value=120)


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


def told(node: ExplainedCondition, depth: int = 0) -> list[tuple[int, str, str, int]]:
    inner = [row for child in node.conditions for row in told(child, depth + 1)]
    return [(depth, node.condition, node.looked_at, node.verdict), *inner]


async def test_each_condition_tells_what_it_looked_at_and_until_when(world: World) -> None:
    await world.publish("nearly", NEARLY)
    await world.tell(purchase("ana", "e1", START - DAY // 2, address__country="ES"))
    await world.settled()
    found = await world.explain("ana", "nearly", {"address.country": PT})
    whole, *parts = told(found.condition)
    assert whole[2:] == ("", CONDITION_VERDICT_UNKNOWN)
    assert [(depth, looked_at, verdict) for depth, _, looked_at, verdict in parts] == [
        (1, "1", CONDITION_VERDICT_TRUE),
        (1, "", CONDITION_VERDICT_TRUE),
        (2, '"PT"', CONDITION_VERDICT_FALSE),
        (1, "none", CONDITION_VERDICT_UNKNOWN),
    ]
    assert parts[2][1] == 'address.country = "ES"'
    assert instant(found.condition.conditions[0].until) == START + DAY // 2
    assert not found.condition.conditions[2].HasField("until")
    assert (found.member, found.missing, found.segment_version) == (False, segment_pb2.MISSING_FALSE, 1)
    assert instant(found.evaluate_time) == world.clock.now()
    assert not found.HasField("membership"), "she never was one"


async def test_why_it_entered_and_why_it_left(world: World) -> None:
    await world.publish("recent", RECENT)
    await world.tell(purchase("ana", "e1", START))
    await world.transitions(1)
    entered = await world.explain("ana", "recent")
    held = entered.membership
    assert (entered.member, held.member, held.cause, held.event_id) == (True, True, MEMBERSHIP_CAUSE_EVENT, "e1")
    assert (held.profile_id, held.segment_id, held.segment_version) == ("ana", "recent", 1)
    assert not held.HasField("exit_time")
    world.clock.advance(DAY)
    await world.ticking(2)
    left = await world.explain("ana", "recent")
    assert (left.member, left.membership.member) == (False, False)
    assert (left.membership.cause, left.membership.event_id) == (MEMBERSHIP_CAUSE_TIME, "")
    assert left.membership.enter_time == held.enter_time
    assert instant(left.membership.exit_time) == START + DAY


async def test_why_at_another_instant(world: World) -> None:
    """On the facts that are known now: what had happened by then, and what will be if nothing happens."""
    await world.publish("recent", RECENT)
    await world.publish("recent-spaniards", {"all": {"conditions": [{"inSegment": "recent"}, SPANISH]}})
    await world.publish("others", {"not": {"inSegment": "recent-spaniards"}})
    await world.tell(purchase("ana", "e1", START - DAY // 2, address__country="ES"))
    await world.settled()
    count, country = "count(shop.purchase within 1d) >= 1", 'address.country = "ES"'
    for at, looked_at, there in ((START - DAY, "0", False), (START, "1", True), (START + DAY // 2, "0", False)):
        found = await world.explain("ana", "others", at=at)
        assert (instant(found.evaluate_time), found.member) == (at, not there)
        verdict = CONDITION_VERDICT_TRUE if there else CONDITION_VERDICT_FALSE
        assert told(found.condition)[1:] == [
            (1, "in segment recent-spaniards", "", verdict),
            (2, f"in segment recent and {country}", "", verdict),
            (3, "in segment recent", "", verdict),
            (4, count, looked_at, verdict),
            (3, country, '"ES"', CONDITION_VERDICT_TRUE),
        ]
    assert (await world.explain("ana", "others")).membership == found.membership, "that is of now in any case"
    for at in (EARLIEST, LATEST):
        assert not (await world.explain("ana", "recent", at=at)).member
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.explain("ana", "recent", at=at + (SECOND if at > 0 else -SECOND))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_somebody_is_and_was_in(world: World) -> None:
    for segment_id, condition in (("recent", RECENT), ("spanish", SPANISH), ("nearly", NEARLY)):
        await world.publish(segment_id, condition)
    await world.tell(purchase("ana", "e1", START, address__country="ES"))
    await world.tell(profile("ana", 2, address__country="PT"))
    await world.transitions(3)
    listed = [held for page in (1, 2) for held in await memberships(world, "ana", page)]
    assert [(held.segment_id, held.member, held.cause, held.event_id) for held in listed] == [
        ("recent", True, MEMBERSHIP_CAUSE_EVENT, "e1"),
        ("spanish", False, MEMBERSHIP_CAUSE_PROFILE, ""),
    ] * 2
    assert listed[0] == (await world.explain("ana", "recent")).membership
    assert await memberships(world, "nobody", 1) == []


async def memberships(world: World, profile_id: str, size: int) -> list[segment_pb2.Membership]:
    found: list[segment_pb2.Membership] = []
    token = ""
    while True:
        request = ListMembershipsRequest(
            workspace_id=WORKSPACE, profile_id=profile_id, page_size=size, page_token=token
        )
        reply = await world.stub.ListMemberships(request)
        assert len(reply.memberships) <= size
        found += reply.memberships
        if not (token := reply.next_page_token):
            return found


async def test_an_id_that_she_had_is_explained_as_hers(world: World) -> None:
    await world.publish("recent", RECENT)
    await world.tell(purchase("bo", "b1", START))
    await world.settled()
    await world.tell(profile("ana", 2, merged=["bo"]))
    await world.transitions(3)
    assert (await world.explain("bo", "recent")).membership.profile_id == "ana"


async def test_who_is_not_known_is_explained_on_no_facts(world: World) -> None:
    await world.publish("not-spanish", {"not": SPANISH})
    found = await world.explain("nobody", "not-spanish")
    assert [row[2:] for row in told(found.condition)] == [
        ("", CONDITION_VERDICT_UNKNOWN),
        ("none", CONDITION_VERDICT_UNKNOWN),
    ]
    assert not found.HasField("membership")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await world.explain("nobody", "nothing")
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


async def test_what_holds_for_one_question_wins_and_is_not_kept(world: World) -> None:
    await world.publish("spanish", SPANISH)
    await world.publish("spanish-cart", {"all": {"conditions": [{"inSegment": "spanish"}, FULL_CART]}})
    await world.tell(profile("ana", address__country="PT"))
    await world.settled()
    asked = "spanish", "spanish-cart"
    assert (await world.check("ana", *asked)).member_of == []
    assert (await world.check("ana", *asked, context={"address.country": ES})).member_of == ["spanish"]
    assert (await world.check("ana", *asked, context={"address.country": ES, "cart_value": FULL})).member_of == [*asked]
    assert (await world.check("ana", *asked)).member_of == []
    assert await world.members("spanish") == []
    # A visitor that nobody knows yet is what they do now.
    assert (await world.check("visitor", *asked, context={"address.country": ES})).member_of == ["spanish"]
    assert (await world.check("visitor", *asked)).member_of == []
    assert (await world.check("visitor", *asked, after="e1", context={"address.country": ES})).behind
