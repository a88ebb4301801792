"""Scheduled sends through all four services, on a clock that's moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from camino.orchestrator.v1 import campaign_pb2, campaign_service_pb2

from services.chassis.clock import HOUR, MINUTE, SECOND
from tests.house import WORKSPACE, House, house

PEOPLE = 12
EVERYONE = {"attribute": {"name": "first_name", "exists": True}}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as opened:
        await opened.template()
        for number in range(PEOPLE):
            await opened.person(f"p{number}", first_name="Ana")
        await opened.segment("all", EVERYONE, PEOPLE)
        yield opened


async def test_it_starts_at_its_instant_and_everyone_gets_it_once(home: House) -> None:
    at = home.clock.now() + HOUR
    await home.campaign(at)
    await home.campaign(at)  # again is a no-op
    home.clock.advance(HOUR - SECOND)
    assert (await home.campaign_now()).state == campaign_pb2.CAMPAIGN_STATE_SCHEDULED
    home.clock.advance(SECOND)
    campaign = await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_COMPLETED)
    assert sorted(home.sent()) == sorted(f"p{number}@example.com" for number in range(PEOPLE))
    occurrence = campaign.occurrence
    assert (occurrence.total, occurrence.decided, occurrence.owed, dict(occurrence.ended)) == (
        PEOPLE,
        PEOPLE,
        PEOPLE,
        {"sent": PEOPLE},
    )


async def test_launch_freezes_the_audience_but_consent_is_read_when_it_is_decided(home: House) -> None:
    await home.campaign(home.clock.now(), rate=1)
    await home.all_sent(1)
    await home.person("late", first_name="Too late")
    await home.person("p0", opted="CONSENT_STATE_OPTED_OUT")
    await home.person("p11", opted="CONSENT_STATE_OPTED_OUT")
    home.clock.advance(2 * PEOPLE * SECOND)
    campaign = await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_COMPLETED)
    occurrence = campaign.occurrence
    assert occurrence.total == PEOPLE
    assert occurrence.owed + occurrence.dropped["consent"] == PEOPLE
    assert occurrence.dropped["consent"] >= 1
    assert len(home.sent()) == occurrence.owed


async def test_a_throttle_paces_it_and_a_pause_stops_the_pace_too(home: House) -> None:
    await home.campaign(home.clock.now(), rate=1)
    await home.all_sent(1)
    home.clock.advance(3 * SECOND)
    await home.all_sent(4)
    await home.campaigns.PauseCampaign(
        campaign_service_pb2.PauseCampaignRequest(workspace_id=WORKSPACE, campaign_id="news")
    )
    sent = len(home.sent())
    assert sent < PEOPLE
    home.clock.advance(MINUTE)
    paused = await home.campaign_now()
    assert paused.state == campaign_pb2.CAMPAIGN_STATE_PAUSED
    assert len(home.sent()) == sent
    await home.campaigns.ResumeCampaign(
        campaign_service_pb2.ResumeCampaignRequest(workspace_id=WORKSPACE, campaign_id="news")
    )
    await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_RUNNING)
    assert len(home.sent()) <= sent + 3
    home.clock.advance(2 * PEOPLE * SECOND)
    await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_COMPLETED)
    assert sorted(home.sent()) == sorted(f"p{number}@example.com" for number in range(PEOPLE))


async def test_cancelled_on_the_way_the_rest_gets_nothing(home: House) -> None:
    await home.campaign(home.clock.now(), rate=1)
    await home.all_sent(2)
    request = campaign_service_pb2.CancelCampaignRequest(workspace_id=WORKSPACE, campaign_id="news")
    await home.campaigns.CancelCampaign(request)
    again = (await home.campaigns.CancelCampaign(request)).campaign
    assert again.state == campaign_pb2.CAMPAIGN_STATE_CANCELLED
    home.clock.advance(MINUTE)

    async def closed() -> bool:
        occurrence = (await home.campaign_now()).occurrence
        return bool(occurrence.decided == PEOPLE and sum(occurrence.ended.values()) == occurrence.owed)

    await home.until(closed)
    occurrence = (await home.campaign_now()).occurrence
    assert occurrence.owed + occurrence.dropped["cancelled"] == PEOPLE
    assert len(home.sent()) == occurrence.owed < PEOPLE
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await home.campaigns.ResumeCampaign(
            campaign_service_pb2.ResumeCampaignRequest(workspace_id=WORKSPACE, campaign_id="news")
        )
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_more_than_an_hour_late_it_is_missed(home: House) -> None:
    await home.campaign(home.clock.now() - HOUR - SECOND)
    await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_MISSED)
    assert home.sent() == []


async def test_what_has_begun_is_not_changed(home: House) -> None:
    await home.campaign(home.clock.now())
    await home.campaign_is(campaign_pb2.CAMPAIGN_STATE_COMPLETED)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await home.campaign(home.clock.now() + HOUR)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
