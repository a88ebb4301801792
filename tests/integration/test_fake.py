"""The fake as the tests of a consumer use it: over gRPC, through the client."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from camino.channels.v1 import message_pb2, message_service_pb2, template_service_pb2
from camino.client import CaminoError, Client, Pace, connect, failed_items
from camino.client.sync import connect as connect_sync
from camino.errors.v1 import reason_pb2
from camino.ops.v1 import dead_letter_service_pb2, workspace_service_pb2
from camino.orchestrator.v1 import campaign_pb2, campaign_service_pb2, journey_pb2, journey_service_pb2
from camino.profile.v1 import profile_service_pb2
from camino.segment.v1 import segment_service_pb2
from camino.testing.fake import Caller, FakeCamino
from camino.testing.fixtures import camino_fake  # noqa: F401 - the fixture, as a consumer's conftest has it
from google.protobuf.json_format import ParseDict

SHOP = "shop"
INGEST = "camino.profile.v1.ProfileService/IngestEvents"
STREAM = "camino.profile.v1.ProfileService/StreamEvents"
GET = "camino.profile.v1.ProfileService/GetProfile"
LATE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def fake() -> AsyncIterator[FakeCamino]:
    async with FakeCamino() as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeCamino) -> AsyncIterator[Client]:
    async with connect(target=fake.target, token="") as client:
        yield client


def purchase(*event_ids: str, user: str = "1") -> profile_service_pb2.IngestEventsRequest:
    request = profile_service_pb2.IngestEventsRequest(workspace_id=SHOP)
    for event_id in event_ids:
        event = request.events.add(event_id=event_id, type="purchase")
        event.identity.namespace, event.identity.value = "user", user
        event.properties["amount"].double_value = 30
    return request


def get(profile_id: str) -> profile_service_pb2.GetProfileRequest:
    return profile_service_pb2.GetProfileRequest(workspace_id=SHOP, profile_id=profile_id)


async def publish_template(client: Client, text: str = "Hello") -> None:
    request = template_service_pb2.PublishTemplateRequest(workspace_id=SHOP, template_id="hello")
    request.content.email.subject = "Hi"
    request.content.email.text = text
    await client.templates.PublishTemplate(request)


async def publish_segment(client: Client) -> None:
    definition = {"condition": {"attribute": {"name": "city", "exists": True}}}
    request = {"workspace_id": SHOP, "segment_id": "loyal", "definition": definition}
    await client.segments.PublishSegment(ParseDict(request, segment_service_pb2.PublishSegmentRequest()))


async def publish_journey(client: Client, **entry: object) -> None:
    send = {"channel": "CHANNEL_EMAIL", "template_id": "hello", "topic": "news", "purpose": "PURPOSE_MARKETING"}
    steps = [{"id": "thank", "send": send}]
    definition = {"entry": {"event_type": "purchase", **entry}, "steps": steps}
    request = {"workspace_id": SHOP, "journey_id": "thanks", "definition": definition}
    await client.journeys.PublishJourney(ParseDict(request, journey_service_pb2.PublishJourneyRequest()))


def runs(fake: FakeCamino) -> list[journey_pb2.Run]:
    return fake.resources(journey_pb2.Run, SHOP)


async def test_a_test_sees_what_the_code_under_test_did(fake: FakeCamino, client: Client) -> None:
    await client.profiles.IngestEvents(purchase("e1", "e2"))
    assert [event.event_id for event in fake.events(SHOP)] == ["e1", "e2"]
    [profile] = fake.profiles(SHOP)
    assert profile.identities[0].value == "1"
    assert fake.requests(INGEST) == (purchase("e1", "e2"),)
    assert fake.events("elsewhere") == []
    fake.events(SHOP)[0].type = "theirs"  # what a test is given is its own
    assert fake.events(SHOP)[0].type == "purchase"


async def test_what_is_put_takes_the_place_of_what_was(fake: FakeCamino, client: Client) -> None:
    [first] = (await client.profiles.IngestEvents(purchase("e1"))).results
    [profile] = fake.profiles(SHOP)
    profile.identities[0].value = "2"
    fake.put(profile)
    [one, two] = [(await client.profiles.IngestEvents(purchase(f"e{user}0", user=user))).results[0] for user in "12"]
    assert one.profile_id != first.profile_id == two.profile_id


async def test_scripted_failures_come_as_camino_has_them_and_then_pass(fake: FakeCamino, client: Client) -> None:
    fake.fail_next(GET, reason=reason_pb2.REASON_INTERNAL, times=2)
    for _ in range(2):
        with pytest.raises(CaminoError) as failed:
            await client.profiles.GetProfile(get("nobody"))
        assert (failed.value.reason, failed.value.status) == (reason_pb2.REASON_INTERNAL, grpc.StatusCode.INTERNAL)
    with pytest.raises(CaminoError) as failed:
        await client.profiles.GetProfile(get("nobody"))
    assert failed.value.reason == reason_pb2.REASON_NOT_FOUND


async def test_a_call_that_is_refused_has_done_nothing_and_the_client_tries_again(
    fake: FakeCamino, client: Client
) -> None:
    fake.fail_next(INGEST, reason=reason_pb2.REASON_STORE_UNAVAILABLE)
    [result] = (await client.profiles.IngestEvents(purchase("e1"))).results
    assert result.outcome == profile_service_pb2.ITEM_OUTCOME_OK
    assert len(fake.requests(INGEST)) == 2


async def test_a_lost_reply_leaves_what_was_done(fake: FakeCamino, client: Client) -> None:
    fake.fail_next(INGEST, reason=reason_pb2.REASON_STORE_UNAVAILABLE, done=True)
    [result] = (await client.profiles.IngestEvents(purchase("e1"))).results
    assert result.outcome == profile_service_pb2.ITEM_OUTCOME_DUPLICATE
    assert len(fake.events(SHOP)) == 1


async def test_a_stream_fails_at_the_request_that_is_to_fail(fake: FakeCamino, client: Client) -> None:
    async with client.ingestion(SHOP, Pace(batch_items=1, linger_s=0), streamed=True) as ingestion:
        events = [purchase(f"e{number}", user=f"u{number}").events[0] for number in range(6)]
        assert (await (await ingestion.event(events[0]))).outcome == profile_service_pb2.ITEM_OUTCOME_OK
        fake.fail_next(STREAM, reason=reason_pb2.REASON_STORE_UNAVAILABLE, done=True)
        results = await asyncio.gather(*[await ingestion.event(event) for event in events[1:]])
    assert [result.outcome for result in results].count(profile_service_pb2.ITEM_OUTCOME_DUPLICATE) == 1
    assert {event.event_id for event in fake.events(SHOP)} == {event.event_id for event in events}
    # Those behind it in the stream were never let in.
    assert len(fake.requests(STREAM)) == 7


def test_only_what_the_contract_has_can_be_scripted() -> None:
    fake = FakeCamino()
    with pytest.raises(ValueError, match="never fails for ETAG_MISMATCH"):
        fake.fail_next(INGEST, reason=reason_pb2.REASON_ETAG_MISMATCH)
    with pytest.raises(ValueError, match="there is no method"):
        fake.fail_next("ProfileService/Ingest", reason=reason_pb2.REASON_INTERNAL)
    with pytest.raises(ValueError, match="breaks its own rules"):
        fake.put_message(SHOP, send_id="")
    with pytest.raises(ValueError, match="no resource"):
        fake.put(purchase("e1"))


async def test_a_method_can_hang_until_its_callers_give_up(fake: FakeCamino, client: Client) -> None:
    with fake.hold(INGEST) as held:
        with pytest.raises(CaminoError) as late:
            await client.profiles.IngestEvents(purchase("e1"), timeout=0.2)
        await asyncio.to_thread(held.wait_cancelled)
    assert held.entered()
    assert late.value.status == grpc.StatusCode.DEADLINE_EXCEEDED
    assert fake.events(SHOP) == []
    await client.profiles.IngestEvents(purchase("e1"))


async def test_callers_are_known_by_their_tokens() -> None:
    callers = [Caller("shop", "secret", scopes=("events.*",), workspaces=(SHOP, "test-*")), Caller("ops", "all")]
    async with FakeCamino(tokens=callers) as fake:

        async def reason(token: str, workspace_id: str = SHOP) -> int:
            request = purchase("e1")
            request.workspace_id = workspace_id
            async with connect(target=fake.target, token=token) as client:
                try:
                    await client.profiles.IngestEvents(request)
                    await client.profiles.GetProfile(get("nobody"))
                except CaminoError as error:
                    return error.reason
            raise AssertionError("nobody's profile was found")

        assert await reason("") == reason_pb2.REASON_UNAUTHENTICATED
        assert await reason("guess") == reason_pb2.REASON_UNAUTHENTICATED
        assert fake.requests(INGEST) == ()
        # The event is taken; reading a profile isn't in the scopes.
        assert await reason("secret") == reason_pb2.REASON_PERMISSION_DENIED
        assert len(fake.events(SHOP)) == 1
        assert await reason("secret", "elsewhere") == reason_pb2.REASON_PERMISSION_DENIED
        assert fake.events("elsewhere") == []
        assert await reason("all") == reason_pb2.REASON_NOT_FOUND
        async with connect(target=fake.target, token="secret") as client:
            with pytest.raises(CaminoError) as denied:
                await client.dead_letters("profile").ListDeadLetters(dead_letter_service_pb2.ListDeadLettersRequest())
        assert denied.value.metadata == {"scope": "ops.read"}


@pytest.mark.parametrize(
    ("entry", "begun"),
    [
        ({}, 2),
        ({"reentry": "REENTRY_ONCE"}, 1),
        ({"event_type": "refund"}, 0),
        ({"where": [{"name": "amount", "number": {"at_least": 30}}]}, 2),
        ({"where": [{"name": "amount", "number": {"above": 30}}]}, 0),
        ({"where": [{"name": "amount", "equals": {"double_value": 30}}, {"name": "shop", "exists": False}]}, 2),
        ({"where": [{"name": "amount", "in": {"values": [{"string_value": "30"}]}}]}, 0),
    ],
)
async def test_an_event_begins_the_runs_that_it_triggers(
    fake: FakeCamino, client: Client, entry: dict[str, object], begun: int
) -> None:
    await publish_template(client)
    await publish_journey(client, **entry)
    await client.profiles.IngestEvents(purchase("e1", "e2", "e1"))
    assert len(runs(fake)) == begun
    for run in runs(fake):
        assert (run.state, run.step_id) == (journey_pb2.RUN_STATE_ACTIVE, "thank")
        request = journey_service_pb2.GetRunRequest(workspace_id=SHOP, run_id=run.run_id)
        assert (await client.journeys.GetRun(request)).run == run


async def test_a_closed_journey_takes_nobody_in_nor_an_old_event(fake: FakeCamino, client: Client) -> None:
    await publish_template(client)
    await publish_journey(client)
    old = purchase("old")
    old.events[0].occurred_at.FromDatetime(datetime.now(UTC) - timedelta(hours=25))
    await client.profiles.IngestEvents(old)
    closed = journey_service_pb2.SetJourneyStateRequest(
        workspace_id=SHOP, journey_id="thanks", state=journey_pb2.JOURNEY_STATE_CLOSED
    )
    await client.journeys.SetJourneyState(closed)
    await client.profiles.IngestEvents(purchase("e1"))
    assert runs(fake) == []


async def test_segments_have_the_members_they_are_given(fake: FakeCamino, client: Client) -> None:
    with pytest.raises(ValueError, match="no segment"):
        fake.put_member(SHOP, "loyal", "p1")
    await publish_segment(client)
    [result] = (await client.profiles.IngestEvents(purchase("e1"))).results
    fake.put_member(SHOP, "loyal", result.profile_id)
    fake.put_member(SHOP, "loyal", "left", member=False)
    query = {"profile_id": result.profile_id, "segment_ids": ["loyal"], "after_event_id": "e1"}
    check = {"workspace_id": SHOP, "queries": [query, {"profile_id": "left", "segment_ids": ["loyal"]}]}
    answers = (
        await client.segments.CheckMembership(ParseDict(check, segment_service_pb2.CheckMembershipRequest()))
    ).answers
    assert [list(answer.member_of) for answer in answers] == [["loyal"], []]
    members = segment_service_pb2.ListMembersRequest(workspace_id=SHOP, segment_id="loyal")
    assert list((await client.segments.ListMembers(members)).profile_ids) == [result.profile_id]
    segment = segment_service_pb2.GetSegmentRequest(workspace_id=SHOP, segment_id="loyal")
    assert (await client.segments.GetSegment(segment)).segment.member_count == 1


async def test_unknown_messages_are_resolved(fake: FakeCamino, client: Client) -> None:
    def resolve(send_id: str, resolution: int) -> message_service_pb2.ResolveMessageRequest:
        return message_service_pb2.ResolveMessageRequest(workspace_id=SHOP, send_id=send_id, resolution=resolution)

    ends = {
        message_service_pb2.RESOLUTION_SENT: message_pb2.MESSAGE_STATE_SENT,
        message_service_pb2.RESOLUTION_FAILED: message_pb2.MESSAGE_STATE_FAILED,
        message_service_pb2.RESOLUTION_SEND_AGAIN: message_pb2.MESSAGE_STATE_RETRY,
    }
    for resolution, state in ends.items():
        send_id = fake.put_message(SHOP, state=message_pb2.MESSAGE_STATE_UNKNOWN).send_id
        first = await client.messages.ResolveMessage(resolve(send_id, resolution))
        assert first.message.state == state
        assert len(first.message.history) == 1
        assert await client.messages.ResolveMessage(resolve(send_id, resolution)) == first
        for other in ends.keys() - {resolution}:
            with pytest.raises(CaminoError) as wrong:
                await client.messages.ResolveMessage(resolve(send_id, other))
            assert wrong.value.reason == reason_pb2.REASON_WRONG_STATE
    waiting = fake.put_message(SHOP, state=message_pb2.MESSAGE_STATE_RETRY).send_id
    with pytest.raises(CaminoError) as wrong:
        await client.messages.ResolveMessage(resolve(waiting, message_service_pb2.RESOLUTION_SEND_AGAIN))
    assert wrong.value.reason == reason_pb2.REASON_WRONG_STATE
    counted = await client.messages.CountMessages(message_service_pb2.CountMessagesRequest(workspace_id=SHOP))
    counts = {count.state: count.count for count in counted.counts if count.count}
    assert counts == {**dict.fromkeys(ends.values(), 1), message_pb2.MESSAGE_STATE_RETRY: 2}


async def test_a_campaign_that_runs_is_paused_and_goes_on(fake: FakeCamino, client: Client) -> None:
    await publish_template(client)
    await publish_segment(client)
    send = {"channel": "CHANNEL_EMAIL", "template_id": "hello", "topic": "news", "purpose": "PURPOSE_MARKETING"}
    definition = {"segment_id": "loyal", "send": send, "schedule": {"at": "2100-01-01T00:00:00Z"}}
    request = {"workspace_id": SHOP, "campaign_id": "autumn", "definition": definition}
    schedule = ParseDict(request, campaign_service_pb2.ScheduleCampaignRequest())
    campaign = (await client.campaigns.ScheduleCampaign(schedule)).campaign
    campaign.state = campaign_pb2.CAMPAIGN_STATE_RUNNING
    campaign.occurrence.occurrence_id = "first"
    campaign.occurrence.nominal_time.CopyFrom(campaign.definition.schedule.at)
    fake.put(campaign)
    named = {"workspace_id": SHOP, "campaign_id": "autumn"}
    paused = await client.campaigns.PauseCampaign(campaign_service_pb2.PauseCampaignRequest(**named))
    assert paused.campaign.state == campaign_pb2.CAMPAIGN_STATE_PAUSED
    resumed = await client.campaigns.ResumeCampaign(campaign_service_pb2.ResumeCampaignRequest(**named))
    assert resumed.campaign.state == campaign_pb2.CAMPAIGN_STATE_RUNNING


async def test_a_template_that_does_not_render_says_where(fake: FakeCamino, client: Client) -> None:
    await publish_template(client, "Hello,\n{{ profile.first_name }}")
    request = template_service_pb2.RenderTemplateRequest(workspace_id=SHOP, template_id="hello")
    with pytest.raises(CaminoError) as failed:
        await client.templates.RenderTemplate(request)
    assert failed.value.reason == reason_pb2.REASON_TEMPLATE_RENDER_FAILED
    assert [(found.field, found.description[:7]) for found in failed.value.violations] == [("text", "line 2:")]


async def test_dead_letters_are_redriven(fake: FakeCamino, client: Client) -> None:
    stuck, mended = fake.put_dead_letter(SHOP), fake.put_dead_letter(SHOP, handled=True)
    letters = client.dead_letters("segment")
    for letter in (stuck, mended):
        request = dead_letter_service_pb2.RedriveDeadLetterRequest(dead_letter_id=letter.dead_letter_id)
        assert (await letters.RedriveDeadLetter(request)).handled == (letter is mended)
    [left] = (await letters.ListDeadLetters(dead_letter_service_pb2.ListDeadLettersRequest())).dead_letters
    assert (left.dead_letter_id, left.redrive_count) == (stuck.dead_letter_id, 1)


async def test_a_workspace_is_deleted_as_a_whole_and_begins_anew() -> None:
    async with FakeCamino(deletable=SHOP) as fake, connect(target=fake.target, token="") as client:
        before = fake.state()
        await publish_template(client)
        await publish_segment(client)
        await publish_journey(client)
        await client.profiles.IngestEvents(purchase("e1"))
        fake.put_dead_letter(SHOP)
        request = workspace_service_pb2.DeleteWorkspaceRequest(workspace_id=SHOP)
        assert (await client.workspaces("profile").DeleteWorkspace(request)).deleted_documents
        assert fake.state() == before
        [again] = (await client.profiles.IngestEvents(purchase("e1"))).results
        assert again.outcome == profile_service_pb2.ITEM_OUTCOME_OK


async def test_the_clock_is_the_tests_own() -> None:
    async with FakeCamino(now=lambda: LATE) as fake, connect(target=fake.target, token="") as client:
        request = purchase("e1", "e2")
        request.events[1].occurred_at.FromDatetime(LATE + timedelta(minutes=16))
        reply = await client.profiles.IngestEvents(request)
        assert [failed.field for failed in failed_items(request, reply)] == ["occurred_at"]
        assert [event.occurred_at.ToDatetime(UTC) for event in fake.events(SHOP)] == [LATE]


def test_a_test_without_an_event_loop_has_it_too(camino_fake: FakeCamino) -> None:  # noqa: F811
    with connect_sync(target=camino_fake.target, token="") as client:
        client.profiles.IngestEvents(purchase("e1"))
    assert len(camino_fake.events(SHOP)) == 1


def test_a_taken_address_is_an_error_of_the_start(camino_fake: FakeCamino) -> None:  # noqa: F811
    with pytest.raises(OSError, match="can't listen"), FakeCamino(listen=camino_fake.target):
        pass


def test_other_languages_start_it_as_a_program() -> None:
    command = [sys.executable, "-m", "camino.testing.fake", "--token", "secret"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            target = program.stdout.readline().split()[-1]
            with connect_sync(target=target, token="secret") as client:
                [result] = client.profiles.IngestEvents(purchase("e1")).results
            assert result.outcome == profile_service_pb2.ITEM_OUTCOME_OK
        finally:
            program.terminate()
        assert program.wait(10) == 0
