"""The calls that the demo makes, as any service that uses Camino would make them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import TypeVar

import grpc
from camino.channels.v1 import message_pb2, message_service_pb2, message_service_pb2_grpc
from camino.orchestrator.v1 import campaign_pb2, campaign_service_pb2, campaign_service_pb2_grpc
from camino.profile.v1 import profile_pb2, profile_service_pb2, profile_service_pb2_grpc
from camino.segment.v1 import segment_pb2, segment_service_pb2, segment_service_pb2_grpc
from camino.type.v1 import messaging_pb2

from cli.stack import Stack
from examples.demo.cohort import Customer, Purchase

WORKSPACE = "demo"
Item = TypeVar("Item")


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Api:
    def __init__(self, stack: Stack) -> None:
        def channel(service: str) -> grpc.Channel:
            return grpc.insecure_channel(
                stack.target(service), options=(("grpc.max_reconnect_backoff_ms", 500), ("grpc.enable_retries", 1))
            )

        self._profiles = profile_service_pb2_grpc.ProfileServiceStub(channel("profile"))
        self._segments = segment_service_pb2_grpc.SegmentServiceStub(channel("segment"))
        self._campaigns = campaign_service_pb2_grpc.CampaignServiceStub(channel("orchestrator"))
        self._messages = message_service_pb2_grpc.MessageServiceStub(channel("channels"))

    def ingest_profiles(self, customers: list[Customer]) -> list[str]:
        """Create or update people; their profile ids."""
        request = profile_service_pb2.IngestProfilesRequest(workspace_id=WORKSPACE)
        for customer in customers:
            item = request.profiles.add()
            item.identities.add(namespace="email", value=customer.email)
            item.attributes["first_name"].value.string_value = customer.first_name
            wants = profile_pb2.CONSENT_STATE_OPTED_IN if customer.wants_offers else profile_pb2.CONSENT_STATE_OPTED_OUT
            item.consents.add(channel=messaging_pb2.CHANNEL_EMAIL, topic="offers", state=wants, source="demo")
        return [result.profile_id for result in self._profiles.IngestProfiles(request, timeout=30).results]

    def ingest_purchases(self, purchases: list[tuple[Customer, Purchase]]) -> list[str]:
        """Send purchases; the outcome of each."""
        request = profile_service_pb2.IngestEventsRequest(workspace_id=WORKSPACE)
        for customer, purchase in purchases:
            event = request.events.add(event_id=purchase.event_id, type="purchase")
            event.identity.namespace, event.identity.value = "email", customer.email
            event.occurred_at.FromDatetime(purchase.at)
            event.properties["cds"].double_value = purchase.cds
            event.properties["value"].double_value = purchase.value
        results = self._profiles.IngestEvents(request, timeout=30).results
        return [profile_service_pb2.ItemOutcome.Name(result.outcome) for result in results]

    def segment(self, segment_id: str) -> segment_pb2.Segment:
        request = segment_service_pb2.GetSegmentRequest(workspace_id=WORKSPACE, segment_id=segment_id)
        return self._segments.GetSegment(request, timeout=10).segment

    def schedule_campaign(
        self, campaign_id: str, segment_id: str, template_id: str, at: datetime, rate: float
    ) -> campaign_pb2.Campaign:
        definition = campaign_pb2.CampaignDefinition(
            display_name="We miss you",
            segment_id=segment_id,
            send=messaging_pb2.SendSpec(
                channel=messaging_pb2.CHANNEL_EMAIL,
                template_id=template_id,
                topic="offers",
                purpose=messaging_pb2.PURPOSE_MARKETING,
            ),
            messages_per_second=rate,
        )
        definition.schedule.at.FromDatetime(at)
        request = campaign_service_pb2.ScheduleCampaignRequest(
            workspace_id=WORKSPACE, campaign_id=campaign_id, definition=definition
        )
        return self._campaigns.ScheduleCampaign(request, timeout=10).campaign

    def campaign(self, campaign_id: str) -> campaign_pb2.Campaign:
        request = campaign_service_pb2.GetCampaignRequest(workspace_id=WORKSPACE, campaign_id=campaign_id)
        return self._campaigns.GetCampaign(request, timeout=10, wait_for_ready=True).campaign

    def unknown_messages(self) -> list[message_pb2.Message]:
        """Messages that a provider may or may not have taken."""
        request = message_service_pb2.ListMessagesRequest(
            workspace_id=WORKSPACE, state=message_pb2.MESSAGE_STATE_UNKNOWN, page_size=1000
        )
        return list(self._messages.ListMessages(request, timeout=10, wait_for_ready=True).messages)

    def resolve(self, send_id: str, *, sent: bool) -> None:
        """Say what became of one, after a look into the inbox."""
        self._messages.ResolveMessage(
            message_service_pb2.ResolveMessageRequest(
                workspace_id=WORKSPACE,
                send_id=send_id,
                resolution=message_service_pb2.RESOLUTION_SENT if sent else message_service_pb2.RESOLUTION_SEND_AGAIN,
                note="the demo looked into the inbox",
            ),
            timeout=10,
        )
