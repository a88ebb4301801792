"""The asyncio flavour of the client: one object with a typed stub for each of Camino's APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
from camino.channels.v1.message_service_pb2_grpc import MessageServiceStub
from camino.channels.v1.template_service_pb2_grpc import TemplateServiceStub
from camino.client.channel import open_channel
from camino.client.connection import TIMEOUT_S, Connection, Service
from camino.client.following import Following, Told, follow
from camino.client.ingestion import Ingestion, Pace, unary
from camino.client.ingestion.streamed import StreamedSender
from camino.client.tls import Credentials
from camino.ops.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub
from camino.ops.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from camino.orchestrator.v1.campaign_service_pb2_grpc import CampaignServiceStub
from camino.orchestrator.v1.decision_service_pb2_grpc import DecisionServiceStub
from camino.orchestrator.v1.journey_service_pb2_grpc import JourneyServiceStub
from camino.profile.v1.operation_service_pb2_grpc import OperationServiceStub
from camino.profile.v1.profile_rules_service_pb2_grpc import ProfileRulesServiceStub
from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from camino.segment.v1.membership_webhook_service_pb2_grpc import MembershipWebhookServiceStub
from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceStub

if TYPE_CHECKING:
    from camino.channels.v1.message_service_pb2_grpc import MessageServiceAsyncStub
    from camino.channels.v1.template_service_pb2_grpc import TemplateServiceAsyncStub
    from camino.ops.v1.dead_letter_service_pb2_grpc import DeadLetterServiceAsyncStub
    from camino.ops.v1.workspace_service_pb2_grpc import WorkspaceServiceAsyncStub
    from camino.orchestrator.v1.campaign_service_pb2_grpc import CampaignServiceAsyncStub
    from camino.orchestrator.v1.decision_service_pb2_grpc import DecisionServiceAsyncStub
    from camino.orchestrator.v1.journey_service_pb2_grpc import JourneyServiceAsyncStub
    from camino.profile.v1.operation_service_pb2_grpc import OperationServiceAsyncStub
    from camino.profile.v1.profile_rules_service_pb2_grpc import ProfileRulesServiceAsyncStub
    from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceAsyncStub
    from camino.segment.v1.membership_webhook_service_pb2_grpc import MembershipWebhookServiceAsyncStub
    from camino.segment.v1.segment_service_pb2_grpc import SegmentServiceAsyncStub


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
    """A client, to be used as `async with connect() as client:`. Nothing is opened before the first call.

    Each service is where its argument says, or else `target` (one address that serves all), or else the environment's
    `CAMINO_PROFILE_TARGET` and its like, or else where `camino up` has it: 127.0.0.1, ports 50051 to 50054.

    `token`: who calls; the token itself, or the path of a file with it, which is read again when it changes. By default
    the environment's `CAMINO_TOKEN` or `CAMINO_TOKEN_FILE`; an empty text sends none.

    `credentials`: for TLS, `TlsFiles` or gRPC's own; by default the files that the environment's `CAMINO_TLS_CA_FILE`,
    `CAMINO_TLS_CERT_FILE` and `CAMINO_TLS_KEY_FILE` name, and plaintext without the first. `timeout_s`: how long a call
    may take that doesn't say so itself.

    Raises ValueError for a token that can't be sent or TLS files that don't fit together, OSError for a file that can't
    be read.
    """
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
    """Stubs of Camino's APIs. Each method takes a request and is awaited for its reply; failed calls raise
    `CaminoError`. Use it in the event loop that it's closed in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what was opened; calls under way are cancelled."""
        self._closed = True
        while self._channels:
            _, channel = self._channels.popitem()
            await channel.close()

    def channel(self, service: Service) -> grpc.aio.Channel:
        """The channel to a service, for stubs that aren't here, such as the health check's. Raises RuntimeError when
        the client is closed."""
        target = self._connection.targets[service]
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
    def profiles(self) -> ProfileServiceAsyncStub:
        return ProfileServiceStub(self.channel("profile"))

    @cached_property
    def profile_rules(self) -> ProfileRulesServiceAsyncStub:
        return ProfileRulesServiceStub(self.channel("profile"))

    @cached_property
    def operations(self) -> OperationServiceAsyncStub:
        return OperationServiceStub(self.channel("profile"))

    @cached_property
    def segments(self) -> SegmentServiceAsyncStub:
        return SegmentServiceStub(self.channel("segment"))

    @cached_property
    def membership_webhooks(self) -> MembershipWebhookServiceAsyncStub:
        return MembershipWebhookServiceStub(self.channel("segment"))

    @cached_property
    def journeys(self) -> JourneyServiceAsyncStub:
        return JourneyServiceStub(self.channel("orchestrator"))

    @cached_property
    def campaigns(self) -> CampaignServiceAsyncStub:
        return CampaignServiceStub(self.channel("orchestrator"))

    @cached_property
    def decisions(self) -> DecisionServiceAsyncStub:
        return DecisionServiceStub(self.channel("orchestrator"))

    @cached_property
    def templates(self) -> TemplateServiceAsyncStub:
        return TemplateServiceStub(self.channel("channels"))

    @cached_property
    def messages(self) -> MessageServiceAsyncStub:
        return MessageServiceStub(self.channel("channels"))

    def dead_letters(self, service: Service) -> DeadLetterServiceAsyncStub:
        """What a service could not handle: each has its own."""
        return DeadLetterServiceStub(self.channel(service))

    def workspaces(self, service: Service) -> WorkspaceServiceAsyncStub:
        """What a service holds of a workspace as a whole."""
        return WorkspaceServiceStub(self.channel(service))

    def watch_memberships(
        self, workspace_id: str, segment_ids: Iterable[str] = (), *, cursor: str = ""
    ) -> AsyncIterator[Told]:
        """Follow who is in these segments, or in all: `async for anew, response in client.watch_memberships("shop"):`.

        First everybody who is, then every change, for ever; or, with the `cursor` of a response that was told before,
        what came after it. When a stream ends, as each does after some minutes, or Camino is away, it goes on with the
        newest cursor by itself, after a pause; also in the midst of who is a member. `anew` says that it begins with
        everybody again instead: the first time without a cursor, when a stream was cut before it said where to go
        on, and when the cursor is too old. Then forget what you have been told. You're told as fast as you go on.

        Raises `CaminoError` for what doesn't pass, such as a segment that isn't there or a token that isn't known.
        """
        return follow(self.segments.WatchMemberships, Following(workspace_id, segment_ids, cursor))

    def ingestion(self, workspace_id: str, pace: Pace | None = None, *, streamed: bool = False) -> Ingestion:
        """Sends profiles and events in batches, as they come: `async with client.ingestion("shop") as ingestion:`.

        Each batch is a call, so that all replicas of the service get their share; or, `streamed`, a request of one
        stream, which stays with one replica for minutes and spares what a call costs besides.
        """
        if not streamed:
            return Ingestion(unary.sender(self.profiles, workspace_id), pace or Pace())
        sender = StreamedSender(self.profiles, workspace_id, self._connection.timeout_s)
        return Ingestion(sender, pace or Pace(), close=sender.close)
