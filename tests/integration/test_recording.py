"""Recording calls of a real service, and replaying them without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from camino.client import CaminoError, Client, connect, from_rpc_error
from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_service_pb2
from camino.segment.v1 import segment_service_pb2
from camino.testing.fake import Caller, FakeCamino
from camino.testing.recording import Recorder, Replay
from google.protobuf.json_format import ParseDict

from tests.house import house

SHOP = "shop"


def purchase(event_id: str) -> profile_service_pb2.IngestEventsRequest:
    request = profile_service_pb2.IngestEventsRequest(workspace_id=SHOP)
    event = request.events.add(event_id=event_id, type="purchase")
    event.identity.namespace, event.identity.value = "email", "ana@example.com"
    return request


async def shopping(client: Client) -> list[Any]:
    """Takes an event twice, and asks for nobody: what came of it."""

    async def outcome(call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except CaminoError as error:
            return error.status, error.reason, error.message, error.violations, error.metadata

    nobody = profile_service_pb2.GetProfileRequest(workspace_id=SHOP, profile_id="nobody")
    invalid = profile_service_pb2.GetProfileRequest(workspace_id=SHOP)
    return [
        await outcome(lambda: client.profiles.IngestEvents(purchase("e1"))),
        await outcome(lambda: client.profiles.IngestEvents(purchase("e1"))),
        await outcome(lambda: client.profiles.GetProfile(nobody)),
        await outcome(lambda: client.profiles.GetProfile(invalid)),
    ]


async def test_what_was_recorded_is_answered_alike(tmp_path: Path) -> None:
    recording = tmp_path / "shopping.jsonl"
    (tmp_path / "house").mkdir()
    async with (
        house(tmp_path / "house") as services,
        Recorder(recording, services.addresses) as recorder,
        connect(target=recorder.target, token="") as client,
    ):
        recorded = await shopping(client)
    assert [result.outcome for reply in recorded[:2] for result in reply.results] == [1, 2]
    async with Replay(recording) as replay, connect(target=replay.target, token="") as client:
        assert await shopping(client) == recorded
        # The last answer to a request stands.
        assert await client.profiles.IngestEvents(purchase("e1")) == recorded[1]


def viewing(sequence: int, event_id: str) -> profile_service_pb2.StreamEventsRequest:
    events = purchase(event_id).events
    return profile_service_pb2.StreamEventsRequest(workspace_id=SHOP, sequence=sequence, events=events)


async def streaming(client: Client, *requests: profile_service_pb2.StreamEventsRequest) -> list[Any]:
    """What each is answered with over one stream, and how that ends."""
    call = client.profiles.StreamEvents()
    for request in requests:
        await call.write(request)
    await call.done_writing()
    answers: list[Any] = []
    try:
        while (reply := await call.read()) is not grpc.aio.EOF:
            answers.append(reply)
    except grpc.aio.AioRpcError as error:
        told = from_rpc_error(error)
        answers.append((told.status, told.reason, told.message, told.violations))
    return answers


async def test_a_stream_is_recorded_request_by_request(tmp_path: Path) -> None:
    recording = tmp_path / "streaming.jsonl"
    invalid = profile_service_pb2.StreamEventsRequest(workspace_id=SHOP)
    async with (
        FakeCamino() as fake,
        Recorder(recording, fake.target) as recorder,
        connect(target=recorder.target, token="") as client,
    ):
        whole = await streaming(client, viewing(1, "e1"), viewing(2, "e1"), viewing(3, "e2"))
        broken = await streaming(client, viewing(1, "e1"), invalid, viewing(2, "e3"))
    assert [reply.sequence for reply in whole] == [1, 2, 3]
    assert [result.outcome for reply in whole for result in reply.results] == [1, 2, 1]
    assert broken[0].sequence == 1
    assert broken[1][:2] == (grpc.StatusCode.INVALID_ARGUMENT, reason_pb2.REASON_INVALID_FIELD)
    assert len(recording.read_text().splitlines()) == 5
    async with Replay(recording) as replay, connect(target=replay.target, token="") as client:
        assert await streaming(client, viewing(1, "e1"), viewing(2, "e1"), viewing(3, "e2")) == whole
        assert await streaming(client, viewing(1, "e1"), invalid, viewing(2, "e3")) == broken
        [unknown] = await streaming(client, viewing(1, "e9"))
        assert unknown[0] == grpc.StatusCode.UNIMPLEMENTED


async def watching(client: Client, count: int) -> list[Any]:
    """So many responses of what is told of memberships, or how it fails before."""
    found: list[Any] = []
    try:
        async for told in client.watch_memberships(SHOP, ["loyal"]):
            found.append(told)
            if len(found) == count:
                break
    except CaminoError as error:
        found.append((error.status, error.reason, error.message))
    return found


async def test_what_is_told_is_recorded_as_far_as_it_came(tmp_path: Path) -> None:
    recording = tmp_path / "telling.jsonl"
    definition = {"condition": {"attribute": {"name": "city", "exists": True}}}
    segment = {"workspace_id": SHOP, "segment_id": "loyal", "definition": definition}
    async with (
        FakeCamino() as fake,
        Recorder(recording, fake.target) as recorder,
        connect(target=recorder.target, token="") as client,
    ):
        refused = await watching(client, 1)
        await client.segments.PublishSegment(ParseDict(segment, segment_service_pb2.PublishSegmentRequest()))
        fake.put_member(SHOP, "loyal", "ana")
        told = await watching(client, 2)
    assert [status for status, *_ in refused] == [grpc.StatusCode.NOT_FOUND]
    assert [list(response.members.profile_ids) for _, response in told] == [["ana"], []]
    async with Replay(recording) as replay, connect(target=replay.target, token="") as client:
        assert await watching(client, 1) == refused
        assert await watching(client, 2) == told


async def test_what_was_not_recorded_says_what_was(tmp_path: Path) -> None:
    recording = tmp_path / "shopping.jsonl"
    async with (
        FakeCamino() as fake,
        Recorder(recording, fake.target) as recorder,
        connect(target=recorder.target, token="") as client,
    ):
        await client.profiles.IngestEvents(purchase("e1"))
    async with Replay(recording) as replay, connect(target=replay.target, token="") as client:
        with pytest.raises(CaminoError) as unknown:
            await client.profiles.IngestEvents(purchase("e2"))
        assert unknown.value.status == grpc.StatusCode.UNIMPLEMENTED
        assert "ProfileService/IngestEvents was not recorded" in unknown.value.message
        assert '"event_id": "e1"' in unknown.value.message
        with pytest.raises(CaminoError, match="no call of the method was"):
            await client.profiles.ListProfiles(profile_service_pb2.ListProfilesRequest(workspace_id=SHOP))


async def test_tokens_are_passed_on_and_not_written_down(tmp_path: Path) -> None:
    recording = tmp_path / "shopping.jsonl"
    async with (
        FakeCamino(tokens=[Caller("shop", "secret-token")]) as fake,
        Recorder(recording, fake.target) as recorder,
    ):
        async with connect(target=recorder.target, token="secret-token") as client:
            await client.profiles.IngestEvents(purchase("e1"))
        async with connect(target=recorder.target, token="") as client:
            with pytest.raises(CaminoError) as refused:
                await client.profiles.IngestEvents(purchase("e1"))
    assert refused.value.reason == reason_pb2.REASON_UNAUTHENTICATED
    assert "secret-token" not in recording.read_text()
    assert len(recording.read_text().splitlines()) == 2


async def test_what_camino_did_not_answer_is_not_recorded(tmp_path: Path) -> None:
    recording = tmp_path / "shopping.jsonl"
    async with FakeCamino() as fake:
        gone = fake.target
    async with Recorder(recording, gone) as recorder, connect(target=recorder.target, token="") as client:
        with pytest.raises(CaminoError) as failed:
            await client.profiles.IngestEvents(purchase("e1"))
    assert failed.value.status == grpc.StatusCode.UNAVAILABLE
    assert recording.read_text() == ""
