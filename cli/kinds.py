"""The kinds of things that are published, and which RPCs do it. Their order is the order they're published in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from camino.channels.v1 import template_service_pb2 as templates
from camino.channels.v1.template_service_pb2_grpc import TemplateServiceStub
from camino.client.sync import pages
from camino.orchestrator.v1 import campaign_service_pb2 as campaigns
from camino.orchestrator.v1 import journey_service_pb2 as journeys
from camino.orchestrator.v1.campaign_service_pb2_grpc import CampaignServiceStub
from camino.orchestrator.v1.journey_service_pb2_grpc import JourneyServiceStub
from camino.profile.v1 import profile_rules_service_pb2 as rules
from camino.profile.v1.profile_rules_service_pb2_grpc import ProfileRulesServiceStub
from camino.segment.v1 import membership_webhook_service_pb2 as webhooks
from camino.segment.v1 import segment_service_pb2 as segments
from camino.segment.v1.membership_webhook_service_pb2_grpc import MembershipWebhookServiceStub
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub
from google.protobuf.message import Message


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    service: str
    """Who serves it: a name of `Targets`."""
    verb: str
    """Begins the name of the RPC that publishes it."""
    body: str
    """The field of the request that `spec` is."""
    requests: Any
    stub: Callable[[Any], Any]
    single: bool = False
    """Whether a workspace has one, which goes by the workspace's id."""

    @property
    def noun(self) -> str:
        """Its name in fields of requests and responses."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()

    @property
    def words(self) -> str:
        """Its name in sentences."""
        return self.noun.replace("_", " ")

    @property
    def plural(self) -> str:
        word = self.noun.rpartition("_")[2]
        return word if self.single else f"{word}s"

    @property
    def id_field(self) -> str:
        return "workspace_id" if self.single else f"{self.noun}_id"

    def publish_request(self, workspace: str, id_: str) -> Message:
        request = getattr(self.requests, f"{self.verb}{self.name}Request")
        return request(**self._named(workspace, id_))

    def publish(self, channel: Any, request: Message) -> tuple[Message, str]:
        """The resource as it's now, and the secret that is told of it this once, if any. Raises grpc.RpcError."""
        reply = getattr(self.stub(channel), f"{self.verb}{self.name}")(request)
        return getattr(reply, self.noun), getattr(reply, "secret", "")

    def get(self, channel: Any, workspace: str, id_: str) -> Message:
        """Raises grpc.RpcError."""
        request = getattr(self.requests, f"Get{self.name}Request")(**self._named(workspace, id_))
        return getattr(getattr(self.stub(channel), f"Get{self.name}")(request), self.noun)

    def list(self, channel: Any, workspace: str) -> list[Message]:
        """All of the workspace's, in the order of their ids. Raises grpc.RpcError."""
        if self.single:
            return [self.get(channel, workspace, workspace)]
        request = getattr(self.requests, f"List{self.name}sRequest")(workspace_id=workspace)
        return list(pages(getattr(self.stub(channel), f"List{self.name}s"), request))

    def _named(self, workspace: str, id_: str) -> dict[str, str]:
        return {"workspace_id": workspace} if self.single else {"workspace_id": workspace, self.id_field: id_}


KINDS = (
    Kind("ProfileRules", "profile", "Publish", "definition", rules, ProfileRulesServiceStub, single=True),
    Kind("Template", "channels", "Publish", "content", templates, TemplateServiceStub),
    Kind("Segment", "segment", "Publish", "definition", segments, SegmentServiceStub),
    Kind("MembershipWebhook", "segment", "Put", "definition", webhooks, MembershipWebhookServiceStub),
    Kind("Journey", "orchestrator", "Publish", "definition", journeys, JourneyServiceStub),
    Kind("Campaign", "orchestrator", "Schedule", "definition", campaigns, CampaignServiceStub),
)
BY_NAME = {kind.name: kind for kind in KINDS}
BY_PLURAL = {kind.plural: kind for kind in KINDS}
