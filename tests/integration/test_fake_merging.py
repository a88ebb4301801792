"""The fake's people as the tests of a consumer meet them: merged, put there, erased and exported."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from camino.channels.v1 import message_pb2
from camino.client import CaminoError, Client, connect, failed_items
from camino.errors.v1 import reason_pb2
from camino.orchestrator.v1 import journey_pb2
from camino.profile.v1 import operation_pb2, profile_pb2
from camino.profile.v1 import operation_service_pb2 as operations
from camino.profile.v1 import profile_service_pb2 as pb
from camino.segment.v1 import segment_service_pb2
from camino.testing.fake import FakeCamino
from google.protobuf.json_format import ParseDict

SHOP = "shop"


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fake(clock: Clock) -> AsyncIterator[FakeCamino]:
    async with FakeCamino(now=clock) as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeCamino) -> AsyncIterator[Client]:
    async with connect(target=fake.target, token="") as client:
        yield client


def names(identities: str) -> list[dict[str, str]]:
    return [dict(zip(("namespace", "value"), text.split(":"), strict=True)) for text in identities.split()]


async def told(client: Client, identities: str, day: int = 1, **more: Any) -> str:
    """Whose it is that these are told of."""
    item = {"identities": names(identities), "observed_at": f"2025-12-{day:02}T00:00:00Z", **more}
    request = ParseDict({"workspace_id": SHOP, "profiles": [item]}, pb.IngestProfilesRequest())
    [result] = (await client.profiles.IngestProfiles(request)).results
    assert result.outcome == pb.ITEM_OUTCOME_OK, result
    return result.profile_id


def city(name: str) -> dict[str, Any]:
    return {"attributes": {"city": {"value": {"string_value": name}}}}


async def merged(client: Client) -> tuple[str, str]:
    """Two profiles that turned out to be one person: the one that stays, and the other."""
    stays = await told(client, "email:ana@example.com")
    other = await told(client, "phone:+34911234567")
    assert await told(client, "phone:+34911234567 email:ana@example.com", 2) == stays
    return stays, other


async def test_the_id_of_a_merged_profile_means_the_one_that_stays_everywhere(fake: FakeCamino, client: Client) -> None:
    definition = {"condition": {"attribute": {"name": "city", "exists": True}}}
    segment = {"workspace_id": SHOP, "segment_id": "loyal", "definition": definition}
    await client.segments.PublishSegment(ParseDict(segment, segment_service_pb2.PublishSegmentRequest()))
    other = await told(client, "phone:+34911234567")
    fake.put_member(SHOP, "loyal", other)
    stays = await told(client, "email:ana@example.com")
    await told(client, "phone:+34911234567 email:ana@example.com", 2)
    # The older one stays.
    [profile] = fake.profiles(SHOP)
    assert (profile.profile_id, list(profile.merged_profile_ids)) == (other, [stays])
    for id_ in (stays, other):
        asked = segment_service_pb2.CheckMembershipRequest(workspace_id=SHOP)
        asked.queries.add(profile_id=id_, segment_ids=["loyal"])
        [answer] = (await client.segments.CheckMembership(asked)).answers
        assert list(answer.member_of) == ["loyal"]
        found = await client.profiles.GetProfile(pb.GetProfileRequest(workspace_id=SHOP, profile_id=id_))
        assert found.profile == profile


async def test_a_profile_that_was_put_goes_on_like_any_other(fake: FakeCamino, client: Client) -> None:
    profile_id = await told(client, "email:ana@example.com", **city("Madrid"))
    [profile] = fake.profiles(SHOP)
    profile.attributes["city"].value.string_value = "Rome"
    profile.attributes["city"].observed_at.FromDatetime(datetime(2025, 12, 20, tzinfo=UTC))
    profile.identities.add(namespace="phone", value="+34911234567")
    profile.revision = 9
    fake.put(profile)
    assert await told(client, "phone:+34911234567", 19, **city("Lima")) == profile_id
    assert fake.profiles(SHOP) == [profile]
    assert await told(client, "phone:+34911234567", 21, **city("Oslo")) == profile_id
    [after] = fake.profiles(SHOP)
    assert (after.revision, after.attributes["city"].value.string_value) == (10, "Oslo")


async def test_a_profile_that_was_put_has_its_identities_and_no_other_does(fake: FakeCamino, client: Client) -> None:
    await told(client, "email:ana@example.com device_id:tablet")
    [profile] = fake.profiles(SHOP)
    another = profile_pb2.Profile()
    another.CopyFrom(profile)
    another.profile_id = "another"
    del another.identities[0]
    fake.put(another)
    assert await told(client, "device_id:tablet", 2) == "another"
    assert await told(client, "email:ana@example.com", 2) == profile.profile_id


async def test_an_erasure_is_done_at_once_and_leaves_nobody(fake: FakeCamino, client: Client) -> None:
    stays, other = await merged(client)
    fake.put_message(SHOP, profile_id=other)
    kept = fake.put_message(SHOP, profile_id="somebody")
    run = {
        "workspace_id": SHOP,
        "run_id": "run",
        "journey_id": "welcome",
        "journey_version": 1,
        "profile_id": stays,
        "state": "RUN_STATE_ACTIVE",
        "step_id": "wait",
        "create_time": "2026-01-01T00:00:00Z",
    }
    fake.put(ParseDict(run, journey_pb2.Run()))
    request = operations.EraseProfileRequest(workspace_id=SHOP, profile_id=other)
    operation = (await client.operations.EraseProfile(request)).operation
    assert operation.state == operation_pb2.OPERATION_STATE_DONE
    counts = [(receipt.service, dict(receipt.counts)) for receipt in operation.receipts]
    assert counts == [
        ("orchestrator", {"runs": 1}),
        ("segment", {}),
        ("channels", {"messages": 1}),
        ("profile", {"records": 1, "identities": 2, "profiles": 2}),
    ]
    assert fake.profiles(SHOP) == []
    assert fake.resources(message_pb2.Message, SHOP) == [kept]
    [left] = fake.resources(journey_pb2.Run, SHOP)
    assert (left.state, left.step_id) == (journey_pb2.RUN_STATE_ERASED, "")
    for id_ in (stays, other):
        again = operations.EraseProfileRequest(workspace_id=SHOP, profile_id=id_)
        assert (await client.operations.EraseProfile(again)).operation == operation
    assert await told(client, "email:ana@example.com", 3) not in (stays, other)


async def export(client: Client, profile_id: str) -> operation_pb2.Operation:
    request = operations.ExportProfileRequest(workspace_id=SHOP, profile_id=profile_id, request_id="mine")
    return (await client.operations.ExportProfile(request)).operation


async def parts(client: Client, operation_id: str) -> list[bytes]:
    request = operations.ReadExportRequest(workspace_id=SHOP, operation_id=operation_id)
    found = []
    while True:
        reply = await client.operations.ReadExport(request)
        found.append(reply.part)
        request.page_token = reply.next_page_token
        if not request.page_token:
            return found


async def test_an_export_is_read_in_parts_and_for_seven_days(fake: FakeCamino, client: Client, clock: Clock) -> None:
    profile_id = await told(client, "email:ana@example.com")
    events = pb.IngestEventsRequest(workspace_id=SHOP)
    for number in range(10):
        event = events.events.add(event_id=f"e{number}", type="view", profile_id=profile_id)
        for name in "abcdefghij":
            event.properties[name].string_value = "é" * 2_000
    assert not failed_items(events, await client.profiles.IngestEvents(events))
    operation = await export(client, profile_id)
    read = await parts(client, operation.operation_id)
    assert len(read) > 1
    document = json.loads(b"".join(read))
    assert len(document["profile_service"]["events"]) == 10
    assert document["profile"]["identities"] == [{"namespace": "email", "value": "ana@example.com"}]
    clock.at += timedelta(days=7)
    with pytest.raises(CaminoError) as late:
        await parts(client, operation.operation_id)
    assert late.value.reason == reason_pb2.REASON_WRONG_STATE
    request = operations.GetOperationRequest(workspace_id=SHOP, operation_id=operation.operation_id)
    expired = (await client.operations.GetOperation(request)).operation
    assert expired.state == operation_pb2.OPERATION_STATE_EXPIRED
