"""Triggered sends through all four services, on a clock that's moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from camino.channels.v1 import message_service_pb2
from camino.orchestrator.v1 import decision_pb2, journey_pb2
from camino.type.v1 import messaging_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.chassis.clock import DAY, HOUR, MINUTE, SECOND
from tests.house import SEND, WORKSPACE, House, house

HELLO = {"id": "hello", "send": SEND}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as opened:
        await opened.template()
        yield opened


async def test_a_wait_ends_at_its_instant_and_the_run_learns_what_became_of_its_message(home: House) -> None:
    await home.journey([{"id": "settle", "wait": {"duration": "172800s"}, "next": "hello"}, HELLO])
    await home.person("ana")
    began = home.clock.now()
    await home.event("ana", "signup")
    run = await home.run_at("settle")
    assert run.wake_time.ToMicroseconds() - began < 2 * DAY + MINUTE
    home.clock.advance(run.wake_time.ToMicroseconds() - home.clock.now() - SECOND)
    assert home.sent() == []
    home.clock.advance(SECOND)
    assert await home.all_sent(1) == ["ana@example.com"]
    run = await home.run_outcomes(["sent"])
    assert run.state == journey_pb2.RUN_STATE_COMPLETED


async def test_a_condition_knows_the_event_that_led_to_it(home: House) -> None:
    """The third purchase makes her loyal, and the journey that it triggers sees that at once."""
    await home.segment("loyal", {"event": {"eventType": "signup", "count": {"atLeast": 3}}}, 0)
    await home.template("loyal", "You again")
    loyal = {"id": "loyal", "send": {**SEND, "templateId": "loyal"}}
    branches = {"branches": [{"inSegment": "loyal", "next": "loyal"}], "otherwise": "hello"}
    await home.journey([{"id": "which", "condition": branches}, HELLO, loyal])
    await home.person("ana")
    for number in range(3):
        await home.event("ana", "signup")
        await home.all_sent(number + 1)
    steps = sorted(send.step_id for run in await home.runs() for send in run.sends)
    assert steps == ["hello", "hello", "loyal"]


async def test_quiet_hours_hold_a_message_until_they_end_where_she_is(home: House) -> None:
    await home.journey([{"id": "hello", "send": {**SEND, "quietHours": {"start": "21:00", "end": "09:00"}}}])
    ana = await home.person("ana", zone="Europe/Madrid")
    home.clock.advance(22 * HOUR)  # 23:00 in Madrid
    await home.event("ana", "signup")
    run = await home.run_at("hello")
    assert run.wake_time.ToJsonString() == "2026-01-02T08:00:00Z"
    home.clock.advance(10 * HOUR)
    assert await home.all_sent(1) == ["ana@example.com"]
    held, sent = await home.decided(ana)
    assert (held.verdict, sent.verdict) == (decision_pb2.VERDICT_HOLD, decision_pb2.VERDICT_SEND)
    assert [rule.rule for rule in held.rules] == ["state", "endpoint", "consent", "expiry", "quiet_hours"]
    assert held.hold_until == run.wake_time


async def test_without_consent_nothing_is_sent_and_the_record_says_why(home: House) -> None:
    await home.journey([HELLO])
    ben = await home.person("ben", opted="")
    await home.event("ben", "signup")
    run = await home.run_outcomes(["dropped: consent"])
    assert run.state == journey_pb2.RUN_STATE_COMPLETED
    [decision] = await home.decided(ben)
    assert decision.verdict == decision_pb2.VERDICT_DROP
    assert {rule.rule: rule.input for rule in decision.rules}["consent"] == "email/news: UNKNOWN"
    assert home.sent() == []


async def test_a_repeated_event_is_one_run_and_once_is_for_ever(home: House) -> None:
    await home.journey([HELLO], reentry="REENTRY_ONCE")
    await home.person("ana")
    event_id = await home.event("ana", "signup")
    await home.event("ana", "signup", event_id=event_id)
    await home.all_sent(1)
    home.clock.advance(400 * DAY)
    await home.event("ana", "signup")
    await home.person("ben")
    await home.event("ben", "signup")
    assert sorted(await home.all_sent(2)) == ["ana@example.com", "ben@example.com"]
    assert len(await home.runs()) == 2


async def test_old_events_and_others_than_asked_for_trigger_nothing(home: House) -> None:
    where = [{"name": "value", "number": {"atLeast": 10}}]
    await home.journey([HELLO], where=where, maxEventAge="3600s")
    await home.person("ana")
    await home.event("ana", "signup", at=home.clock.now() - 2 * HOUR, value=50)
    await home.event("ana", "signup", value=5)
    await home.event("ana", "login", value=50)
    await home.event("ana", "signup", value=10)
    await home.all_sent(1)
    assert len(await home.runs()) == 1


async def test_a_paused_journey_holds_sends_and_a_closed_one_takes_nobody_in(home: House) -> None:
    await home.journey([HELLO])
    await home.person("ana")
    await home.set_journey("JOURNEY_STATE_PAUSED")
    await home.event("ana", "signup")
    await home.run_at("hello")
    assert home.sent() == []
    await home.set_journey("JOURNEY_STATE_CLOSED")
    await home.event("ana", "signup")
    home.clock.advance(MINUTE)
    await home.all_sent(1)
    assert len(await home.runs()) == 1


async def test_a_suppressed_endpoint_ends_as_that(home: House) -> None:
    await home.journey([HELLO])
    await home.person("ana")
    await home.messages.SuppressEndpoint(
        message_service_pb2.SuppressEndpointRequest(
            workspace_id=WORKSPACE, channel=messaging_pb2.CHANNEL_EMAIL, endpoint="ana@example.com"
        )
    )
    await home.event("ana", "signup")
    await home.run_outcomes(["suppressed"])
    assert home.sent() == []


async def test_a_template_that_does_not_render_fails_that_message_with_the_reason(home: House) -> None:
    await home.template("hello", "Dear {{ profile.nickname }}")
    await home.journey([HELLO])
    await home.person("ana")
    await home.person("ben", nickname="Benny")
    await home.event("ana", "signup")
    await home.event("ben", "signup")
    assert await home.all_sent(1) == ["ben@example.com"]

    async def outcomes() -> bool:
        return sorted(send.outcome for run in await home.runs() for send in run.sends) == ["failed", "sent"]

    await home.until(outcomes)
    failed = next(send.send_id for run in await home.runs() for send in run.sends if send.outcome == "failed")
    request = message_service_pb2.GetMessageRequest(workspace_id=WORKSPACE, send_id=failed)
    message = (await home.messages.GetMessage(request)).message
    assert "nickname" in message.detail


async def test_a_published_version_stays_for_those_on_it(home: House) -> None:
    await home.journey([{"id": "settle", "wait": {"duration": "3600s"}, "next": "hello"}, HELLO])
    await home.person("ana")
    await home.event("ana", "signup")
    await home.run_at("settle")
    changed = await home.journey([{"id": "bye", "exit": {"label": "changed"}}])
    assert changed.version == 2
    home.clock.advance(HOUR)
    await home.all_sent(1)


async def test_everything_wrong_with_a_definition_is_said_at_once(home: House) -> None:
    steps = [
        {"id": "which", "condition": {"branches": [{"inSegment": "nobody", "next": "gone"}], "otherwise": "hello"}},
        {"id": "hello", "send": {**SEND, "templateId": "nothing"}, "next": "which"},
        {"id": "alone", "exit": {}},
    ]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await home.journey(steps)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    fields = _fields(refused.value)
    assert fields == {
        "definition.steps[0].condition.branches[0].next",
        "definition.steps[0].condition.branches[0].in_segment",
        "definition.steps[0]",
        "definition.steps[1]",
        "definition.steps[1].send.template_id",
        "definition.steps[2]",
    }


def _fields(error: grpc.aio.AioRpcError) -> set[str]:
    status = rpc_status.from_call(error)
    assert status is not None
    bad_request = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad_request) for detail in status.details)
    return {violation.field for violation in bad_request.field_violations}
