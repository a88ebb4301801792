"""The blocking flavour of the client, for programs without an event loop. It may be used by several threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

import grpc
from camino.channels.v1.message_service_pb2_grpc import MessageServiceStub
from camino.channels.v1.template_service_pb2_grpc import TemplateServiceStub
from camino.client.connection import TIMEOUT_S, Connection, Service
from camino.client.following import Following, Told
from camino.client.ingestion.pace import Pace
from camino.client.sync.channel import open_channel
from camino.client.sync.following import follow
from camino.client.sync.sending import Outcome, send_all
from camino.client.sync.streaming import Open, Stream
from camino.client.tls import Credentials
from camino.ops.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub
from camino.ops.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from camino.orchestrator.v1.campaign_service_pb2_grpc import CampaignServiceStub
from camino.orchestrator.v1.decision_service_pb2_grpc import DecisionServiceStub
from camino.orchestrator.v1.journey_service_pb2_grpc import JourneyServiceStub
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub
from camino.profile.v1.profile_rules_service_pb2_grpc import ProfileRulesServiceStub
from camino.profile.v1.profile_service_pb2 import (
    EventInput,
    IngestEventsRequest,
    IngestProfilesRequest,
    ProfileInput,
    StreamEventsRequest,
    StreamProfilesRequest,
)
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from camino.segment.v1.membership_webhook_service_pb2_grpc import MembershipWebhookServiceStub
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub


def connect(
    *,
    profile: str | None = None,
    segment: str | None = None,
    orchestrator: str | None = None,
    channels: str | None = None,
    target: str | None = None,
    token: str | Path | None = None,
    credentials: Credentials | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Client:
    """A client, to be used as `with connect() as client:`. The arguments are those of `camino.client.connect`."""
    return Client(
        Connection.of(
            {"profile": profile, "segment": segment, "orchestrator": orchestrator, "channels": channels},
            target=target,
            token=token,
            credentials=credentials,
            timeout_s=timeout_s,
        )
    )


class Client:
    """Stubs of Camino's APIs. Each method takes a request and returns its reply; failed calls raise `CaminoError`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channels: dict[str, grpc.Channel] = {}
        self._opening = Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened; calls under way are cancelled."""
        with self._opening:
            self._closed = True
            while self._channels:
                _, channel = self._channels.popitem()
                channel.close()

    def channel(self, service: Service) -> grpc.Channel:
        """The channel to a service, for stubs that aren't here, such as the health check's. Raises RuntimeError when
        the client is closed."""
        target = self._connection.targets[service]
        with self._opening:
            if self._closed:
                raise RuntimeError("the client is closed")
            if target not in self._channels:
                self._channels[target] = open_channel(
                    target,
                    credentials=self._connection.credentials,
                    token=self._connection.token,
                    timeout_s=self._connection.timeout_s,
                )
            return self._channels[target]

    @cached_property
    def profiles(self) -> ProfileServiceStub:
        return ProfileServiceStub(self.channel("profile"))

    @cached_property
    def profile_rules(self) -> ProfileRulesServiceStub:
        return ProfileRulesServiceStub(self.channel("profile"))

    @cached_property
    def operations(self) -> OperationServiceStub:
        return OperationServiceStub(self.channel("profile"))

    @cached_property
    def segments(self) -> SegmentServiceStub:
        return SegmentServiceStub(self.channel("segment"))

    @cached_property
    def membership_webhooks(self) -> MembershipWebhookServiceStub:
        return MembershipWebhookServiceStub(self.channel("segment"))

    @cached_property
    def journeys(self) -> JourneyServiceStub:
        return JourneyServiceStub(self.channel("orchestrator"))

    @cached_property
    def campaigns(self) -> CampaignServiceStub:
        return CampaignServiceStub(self.channel("orchestrator"))

    @cached_property
    def decisions(self) -> DecisionServiceStub:
        return DecisionServiceStub(self.channel("orchestrator"))

    @cached_property
    def templates(self) -> TemplateServiceStub:
        return TemplateServiceStub(self.channel("channels"))

    @cached_property
    def messages(self) -> MessageServiceStub:
        return MessageServiceStub(self.channel("channels"))

    def dead_letters(self, service: Service) -> DeadLetterServiceStub:
        """What a service could not handle: each has its own."""
        return DeadLetterServiceStub(self.channel(service))

    def workspaces(self, service: Service) -> WorkspaceServiceStub:
        """What a service holds of a workspace as a whole."""
        return WorkspaceServiceStub(self.channel(service))

    def watch_memberships(
        self, workspace_id: str, segment_ids: Iterable[str] = (), *, cursor: str = ""
    ) -> Iterator[Told]:
        """Follow who is in these segments, or in all, as the asyncio flavour does, with a plain `for`."""
        return follow(self.segments.WatchMemberships, Following(workspace_id, segment_ids, cursor))

    def send_events(
        self, workspace_id: str, events: Iterable[EventInput], pace: Pace | None = None
    ) -> Iterator[Outcome]:
        """Send them all, over a stream, and tell of each in its turn what became of it: an `ItemResult`, or an
        `ItemFailed` if it was refused. It's read on in `events` as the outcomes are, a few thousand ahead of them.

        What is away or under contention is tried again, with the same ids, until there was no answer for
        `Pace.give_up_s`; then `CaminoError` is raised. Raises ValueError for an event of more than 4 MiB.
        """
        return self._send_all(
            events,
            pace or Pace(),
            self.profiles.StreamEvents,
            lambda batch: StreamEventsRequest(workspace_id=workspace_id, events=batch),
            lambda batch: self.profiles.IngestEvents(IngestEventsRequest(workspace_id=workspace_id, events=batch)),
        )

    def send_profiles(
        self, workspace_id: str, profiles: Iterable[ProfileInput], pace: Pace | None = None
    ) -> Iterator[Outcome]:
        """Send them all, as `send_events` does events."""
        return self._send_all(
            profiles,
            pace or Pace(),
            self.profiles.StreamProfiles,
            lambda batch: StreamProfilesRequest(workspace_id=workspace_id, profiles=batch),
            lambda batch: self.profiles.IngestProfiles(
                IngestProfilesRequest(workspace_id=workspace_id, profiles=batch)
            ),
        )

    def _send_all(
        self,
        items: Iterable[Any],
        pace: Pace,
        open_: Open,
        request_of: Callable[[Sequence[Any]], Any],
        send_again: Callable[[Sequence[Any]], Any],
    ) -> Iterator[Outcome]:
        stream = Stream(open_, timeout_s=self._connection.timeout_s, give_up_s=pace.give_up_s)
        return send_all(items, pace, stream, request_of, send_again)
