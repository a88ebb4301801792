"""The fake tells who is in which segment: everybody, then every change, and keeps each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from camino.client import CaminoError, Client, Reason, connect
from camino.client.following import Told
from camino.profile.v1 import operation_service_pb2, profile_service_pb2
from camino.segment.v1 import segment_events_pb2, segment_service_pb2
from camino.testing.fake import FakeCamino
from google.protobuf.json_format import ParseDict

SHOP = "test-shop"
IN_A_CITY = {"condition": {"attribute": {"name": "city", "exists": True}}}
MERGE, ERASURE = segment_events_pb2.MEMBERSHIP_CAUSE_MERGE, segment_events_pb2.MEMBERSHIP_CAUSE_ERASURE


@pytest.fixture
async def fake() -> AsyncIterator[FakeCamino]:
    async with FakeCamino() as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeCamino) -> AsyncIterator[Client]:
    async with connect(target=fake.target, token="") as client:
        for segment_id in ("loyal", "vips"):
            segment = {"workspace_id": SHOP, "segment_id": segment_id, "definition": IN_A_CITY}
            await client.segments.PublishSegment(ParseDict(segment, segment_service_pb2.PublishSegmentRequest()))
        yield client


class Copy:
    """Who is in a segment, by what is told."""

    def __init__(self, client: Client, *segment_ids: str, cursor: str = "") -> None:
        self._told = client.watch_memberships(SHOP, segment_ids, cursor=cursor)
        self.members: set[tuple[str, str]] = set()
        self.changes: list[Any] = []
        self.cursor = ""

    async def learn(self) -> Told:
        anew, response = told = await asyncio.wait_for(anext(self._told), 10)
        if anew:
            self.members.clear()
        self.members.update((response.members.segment_id, id_) for id_ in response.members.profile_ids)
        for change in response.changes:
            (self.members.add if change.member else self.members.discard)((change.segment_id, change.profile_id))
        self.changes.extend(response.changes)
        self.cursor = response.cursor
        return told

    async def learn_all(self) -> None:
        while not (await self.learn()).response.cursor:
            pass


async def person(client: Client, *identities: str) -> str:
    named = [dict(zip(("namespace", "value"), one.split(":"), strict=True)) for one in identities]
    request = {"workspace_id": SHOP, "profiles": [{"identities": named}]}
    reply = await client.profiles.IngestProfiles(ParseDict(request, profile_service_pb2.IngestProfilesRequest()))
    return reply.results[0].profile_id


async def history(client: Client, profile_id: str) -> list[tuple[str, str, bool, int]]:
    request = segment_service_pb2.ListTransitionsRequest(workspace_id=SHOP, profile_id=profile_id)
    found = (await client.segments.ListTransitions(request)).transitions
    return [(it.segment_id, it.profile_id, it.member, it.cause) for it in found]


async def test_members_are_told_and_then_changes(fake: FakeCamino, client: Client) -> None:
    for name in ("bob", "ana"):
        fake.put_member(SHOP, "vips", name)
    vips, everything = Copy(client, "vips"), Copy(client)
    members = (await vips.learn()).response.members
    assert (members.segment_id, list(members.profile_ids), list(members.sequences)) == ("vips", ["ana", "bob"], [1, 1])
    await vips.learn_all()
    await everything.learn_all()
    assert vips.members == everything.members == {("vips", "ana"), ("vips", "bob")}
    fake.put_member(SHOP, "loyal", "ana")
    fake.put_member(SHOP, "vips", "ana")  # Which changes nothing.
    fake.put_member(SHOP, "vips", "ana", member=False)
    while len(everything.changes) < 2:
        await everything.learn()
    await vips.learn()
    assert everything.members == {("loyal", "ana"), ("vips", "bob")}
    assert [(it.segment_id, it.member, it.sequence) for it in everything.changes] == [
        ("loyal", True, 2),
        ("vips", False, 3),
    ]
    assert vips.changes == everything.changes[1:]


async def test_one_goes_on_from_any_cursor(fake: FakeCamino, client: Client) -> None:
    first = Copy(client, "vips", "loyal")
    await first.learn_all()
    fake.put_member(SHOP, "vips", "ana")
    fake.put_member(SHOP, "vips", "bob")
    again = Copy(client, "loyal", "vips", cursor=first.cursor)
    while len(again.changes) < 2:
        assert not (await again.learn()).anew
    assert again.members == {("vips", "ana"), ("vips", "bob")}
    up_to_date = Copy(client, "loyal", "vips", cursor=again.cursor)
    await up_to_date.learn()
    assert up_to_date.cursor == again.cursor
    for segment_ids, cursor in ((["vips"], again.cursor), ([], again.cursor), (["vips"], "no cursor")):
        with pytest.raises(CaminoError) as refused:
            await Copy(client, *segment_ids, cursor=cursor).learn()
        assert refused.value.reason == Reason.REASON_INVALID_FIELD
        assert [violation.field for violation in refused.value.violations] == ["cursor"]


async def test_whoever_turns_out_to_be_somebody_else_leaves(fake: FakeCamino, client: Client) -> None:
    ana, other = await person(client, "email:ana@example.com"), await person(client, "phone:+34911234567")
    fake.put_member(SHOP, "vips", other)
    copy = Copy(client)
    await copy.learn_all()
    await person(client, "email:ana@example.com", "phone:+34911234567")
    while len(copy.changes) < 2:
        await copy.learn()
    assert copy.members == {("vips", ana)}
    told = [("vips", ana, True, MERGE), ("vips", other, False, MERGE)]
    first = ("vips", other, True, segment_events_pb2.MEMBERSHIP_CAUSE_PROFILE)
    assert await history(client, ana) == await history(client, other) == [*told, first]


async def test_of_an_erased_person_the_exit_is_told_and_nothing_kept(fake: FakeCamino, client: Client) -> None:
    ana = await person(client, "email:ana@example.com")
    fake.put_member(SHOP, "vips", ana)
    copy = Copy(client)
    await copy.learn_all()
    request = operation_service_pb2.EraseProfileRequest(workspace_id=SHOP, profile_id=ana)
    [receipt] = [
        receipt
        for receipt in (await client.operations.EraseProfile(request)).operation.receipts
        if receipt.service == "segment"
    ]
    assert dict(receipt.counts) == {"memberships": 1, "transitions": 1}
    await copy.learn()
    assert copy.members == set()
    assert [(it.member, it.cause, it.sequence) for it in copy.changes] == [(False, ERASURE, 2)]
    assert await history(client, ana) == []
    late = Copy(client)
    await late.learn_all()
    assert late.members == set()


async def test_an_estimate_is_of_those_who_are_there(fake: FakeCamino, client: Client) -> None:
    await person(client, "email:ana@example.com")
    for name in ("cyd", "bob"):
        fake.put_member(SHOP, "vips", name)
    request = {"workspace_id": SHOP, "segment_id": "vips", "definition": IN_A_CITY, "sample_size": 1}
    asked = ParseDict(request, segment_service_pb2.EstimateSegmentRequest())
    estimate = (await client.segments.EstimateSegment(asked)).estimate
    assert (estimate.profile_count, estimate.evaluated_count, estimate.member_count) == (3, 3, 2)
    assert (list(estimate.member_ids), estimate.entering_count, estimate.leaving_count) == (["bob"], 0, 0)
    asked.definition.condition.in_segment = "nowhere"
    with pytest.raises(CaminoError) as refused:
        await client.segments.EstimateSegment(asked)
    assert refused.value.reason == Reason.REASON_INVALID_DEFINITION
    [segment, _] = (
        await client.segments.ListSegments(segment_service_pb2.ListSegmentsRequest(workspace_id=SHOP))
    ).segments
    assert (segment.segment_id, segment.serving_version, segment.profile_count) == ("loyal", 1, 3)
