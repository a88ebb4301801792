"""kill -9 of the segment service while people act, time passes and a segment is edited: every entry and exit is told
once, in order, and none is missing; and so says the history."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from itertools import pairwise

from camino.profile.v1 import profile_service_pb2 as pb
from camino.segment.v1 import segment_pb2, segment_service_pb2
from camino.segment.v1.segment_events_pb2 import (
    MEMBERSHIP_CAUSE_EDIT,
    MEMBERSHIP_CAUSE_EVENT,
    MEMBERSHIP_CAUSE_TIME,
    MembershipChanged,
)
from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp

from bench.fixture import Measured, measured
from services.chassis.broker import Broker
from services.chassis.clock import SECOND
from services.chassis.testing import eventually
from tests.faults.retrying import retried

WORKSPACE = "edited"
PEOPLE, ROUNDS = 60, 4
WINDOW_S = 4


def visited(at_least: int, within: str = "") -> dict[str, object]:
    window = {"window": {"within": within}} if within else {}
    return {"event": {"eventType": "visit", "count": {"atLeast": at_least}, **window}}


async def publish(stack: Measured, segment_id: str, condition: dict[str, object]) -> None:
    request = ParseDict(
        {"workspaceId": WORKSPACE, "segmentId": segment_id, "definition": {"condition": condition}},
        segment_service_pb2.PublishSegmentRequest(),
    )
    await retried(lambda: stack.segments.PublishSegment(request))


class People:
    """Who acted when."""

    def __init__(self) -> None:
        self.visits: dict[str, dict[str, int]] = defaultdict(dict)
        self.ids: dict[int, str] = {}

    async def visit(self, stack: Measured, person: int, number: int) -> None:
        now = Timestamp()
        now.GetCurrentTime()
        request = pb.IngestEventsRequest(workspace_id=WORKSPACE)
        event = request.events.add(event_id=f"e-{person}-{number}", type="visit", occurred_at=now)
        event.identity.namespace, event.identity.value = "email", f"{person}@example.com"
        [result] = (await retried(lambda: stack.profiles.IngestEvents(request))).results
        self.ids[person] = result.profile_id
        self.visits[result.profile_id][event.event_id] = now.ToMicroseconds()


async def test_every_entry_and_exit_is_told_once() -> None:
    chance = random.Random(6)
    people = People()
    async with measured() as stack:
        broker = await Broker.connect(stack.stack.broker, "test")
        await publish(stack, "lately", visited(1, f"{WINDOW_S}s"))
        await publish(stack, "often", visited(1))

        async def acting() -> None:
            for number in range(5):
                for person in chance.sample(range(PEOPLE), PEOPLE * 2 // 3):
                    await people.visit(stack, person, number)

        async def editing() -> None:
            for at_least in (2, 4, 3):
                await asyncio.sleep(0.9)
                await publish(stack, "often", visited(at_least))

        async def killing() -> None:
            for _ in range(ROUNDS):
                await asyncio.sleep(0.7)
                stack.stack.kill("segment")
                stack.stack.start_one("segment")
                await asyncio.to_thread(stack.stack.wait_serving)

        await asyncio.gather(acting(), editing(), killing())
        expected = {id_ for id_, visits in people.visits.items() if len(visits) >= 3}

        async def settled() -> bool:
            found = {id_: await segment(stack, id_) for id_ in ("lately", "often")}
            return (
                found["lately"].member_count == 0
                and found["often"].member_count == len(expected)
                and all(one.state == segment_pb2.SEGMENT_STATE_READY for one in found.values())
            )

        await eventually(settled, within_s=60)
        assert (await segment(stack, "often")).serving_version == 4
        request = segment_service_pb2.ListMembersRequest(workspace_id=WORKSPACE, segment_id="often")
        assert set((await stack.segments.ListMembers(request)).profile_ids) == expected
        told = await published(broker)
        for profile_id, visits in people.visits.items():
            check(told[profile_id], visits)
            asked = segment_service_pb2.ListTransitionsRequest(workspace_id=WORKSPACE, profile_id=profile_id)
            kept = (await stack.segments.ListTransitions(asked)).transitions
            assert list(reversed(kept)) == told[profile_id]
        await broker.close()


def check(told: list[MembershipChanged], visits: dict[str, int]) -> None:
    """Hold what was told of somebody, each once, to what they did."""
    assert [one.sequence for one in told] == list(range(1, len(told) + 1))
    instants = [one.effective_at.ToMicroseconds() for one in told]
    assert instants == sorted(instants)
    for segment_id in ("lately", "often"):
        turns = [one for one in told if one.segment_id == segment_id]
        assert [one.member for one in turns] == [number % 2 == 0 for number in range(len(turns))], "by turns"
        versions = [one.segment_version for one in turns]
        assert versions == sorted(versions)
    lately = [one for one in told if one.segment_id == "lately"]
    for entry, exit_ in pairwise(lately):
        if not entry.member:
            continue
        assert (entry.cause, exit_.cause) == (MEMBERSHIP_CAUSE_EVENT, MEMBERSHIP_CAUSE_TIME)
        # Exactly when the last visit left the window, however late the timer was.
        assert exit_.effective_at.ToMicroseconds() - WINDOW_S * SECOND in visits.values()
    often = [one for one in told if one.segment_id == "often"]
    assert all(one.cause in (MEMBERSHIP_CAUSE_EVENT, MEMBERSHIP_CAUSE_EDIT) for one in often)
    assert bool(often and often[-1].member) is (len(visits) >= 3)


async def published(broker: Broker) -> dict[str, list[MembershipChanged]]:
    """What was told of each profile: copies are the same, and the first ones come in order."""
    found: dict[str, list[MembershipChanged]] = defaultdict(list)
    state = (await broker.jetstream.stream_info("CAMINO_SEGMENT")).state
    for number in range(state.first_seq, state.last_seq + 1):
        raw = await broker.jetstream.get_msg("CAMINO_SEGMENT", number)
        one = MembershipChanged.FromString(raw.data)
        seen = found[one.profile_id]
        if one.sequence <= len(seen):
            assert seen[one.sequence - 1] == one
        else:
            seen.append(one)
    return found


async def segment(stack: Measured, segment_id: str) -> segment_pb2.Segment:
    request = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id=segment_id)
    return (await retried(lambda: stack.segments.GetSegment(request))).segment
