"""kill -9 of any service, or the broker, while events come in and a campaign is sent: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from camino.channels.v1 import message_pb2, message_service_pb2
from camino.orchestrator.v1 import campaign_pb2, campaign_service_pb2

from bench.fixture import Measured, measured
from services.chassis.testing import eventually
from tests.faults.retrying import retried

PEOPLE = 600
WORKSPACE = "crash"
# Short, so that what a killed process had in hand is soon taken over.
SHORT = {
    "CAMINO_PROVIDER_TIMEOUT_SECONDS": "1",
    "CAMINO_LEASE_SECONDS": "2",
    "CAMINO_ACK_WAIT_SECONDS": "2",
}


def accepted(stack: Measured) -> Counter[str]:
    """How often the provider took each message, by send_id."""
    return Counter(message["send_id"] for message in stack.taken())


def per_address(stack: Measured) -> Counter[str]:
    return Counter(message["to"] for message in stack.taken())


@pytest.mark.parametrize("victim", ["profile", "segment", "orchestrator", "channels", "nats"])
async def test_everyone_gets_each_message_exactly_once(victim: str) -> None:
    async with measured(**SHORT) as stack:
        await stack.people(WORKSPACE, PEOPLE)
        await stack.publish(WORKSPACE)
        await stack.events(WORKSPACE, "p", range(PEOPLE), "purchase")
        await stack.members(WORKSPACE, PEOPLE)
        await stack.campaign(WORKSPACE, rate=300)

        async def signups() -> None:
            for start in range(0, PEOPLE, 50):
                people = range(start, start + 50)
                await retried(lambda people=people: stack.events(WORKSPACE, "s", people, "signup"))

        coming = asyncio.create_task(signups())
        await eventually(lambda: _some(stack, PEOPLE // 3), within_s=30)
        stack.stack.kill(victim)
        stack.stack.start_one(victim)
        await asyncio.to_thread(stack.stack.wait_serving)
        await coming

        async def done() -> bool:
            await _resolve_unknown(stack)
            request = campaign_service_pb2.GetCampaignRequest(workspace_id=WORKSPACE, campaign_id="news")
            campaign = (await retried(lambda: stack.campaigns.GetCampaign(request))).campaign
            finished = campaign.state == campaign_pb2.CAMPAIGN_STATE_COMPLETED
            return finished and sum(accepted(stack).values()) >= 2 * PEOPLE

        try:
            await eventually(done, within_s=60, every_s=0.1)
        except TimeoutError:
            pytest.fail(f"{sum(accepted(stack).values())} of {2 * PEOPLE} messages; {stack.stack.last_words(victim)}")
        assert max(accepted(stack).values()) == 1
        assert per_address(stack) == Counter({f"{WORKSPACE}-{number}@example.com": 2 for number in range(PEOPLE)})


async def _some(stack: Measured, count: int) -> bool:
    return sum(accepted(stack).values()) >= count


async def _resolve_unknown(stack: Measured) -> None:
    """What an operator does with parked messages: ask the provider, whose record is the file."""
    request = message_service_pb2.ListMessagesRequest(
        workspace_id=WORKSPACE, state=message_pb2.MESSAGE_STATE_UNKNOWN, page_size=1000
    )
    parked = (await retried(lambda: stack.messages.ListMessages(request))).messages
    taken = accepted(stack)
    for message in parked:
        resolution = (
            message_service_pb2.RESOLUTION_SENT
            if message.send_id in taken
            else message_service_pb2.RESOLUTION_SEND_AGAIN
        )
        resolve = message_service_pb2.ResolveMessageRequest(
            workspace_id=WORKSPACE, send_id=message.send_id, resolution=resolution
        )
        await retried(lambda resolve=resolve: stack.messages.ResolveMessage(resolve))
