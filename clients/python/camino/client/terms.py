"""What every call of a channel is given, and the options of the channel itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from camino.channels.v1 import message_service_pb2, template_service_pb2
from camino.client.retries import service_config
from camino.client.tokens import Token
from camino.client.traces import place
from camino.ops.v1 import dead_letter_service_pb2, personal_data_service_pb2, workspace_service_pb2
from camino.orchestrator.v1 import campaign_service_pb2, decision_service_pb2, journey_service_pb2
from camino.profile.v1 import operation_service_pb2, profile_rules_service_pb2, profile_service_pb2
from camino.segment.v1 import membership_webhook_service_pb2, segment_service_pb2

_FILES = (
    profile_service_pb2,
    profile_rules_service_pb2,
    operation_service_pb2,
    segment_service_pb2,
    membership_webhook_service_pb2,
    journey_service_pb2,
    campaign_service_pb2,
    decision_service_pb2,
    template_service_pb2,
    message_service_pb2,
    dead_letter_service_pb2,
    workspace_service_pb2,
    personal_data_service_pb2,
)
_MAX_MESSAGE = 16 * 1024 * 1024

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    (
        "grpc.service_config",
        service_config(service for file in _FILES for service in file.DESCRIPTOR.services_by_name.values()),
    ),
    ("grpc.enable_retries", 1),
    # Camino allows a ping every 10 seconds.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_send_message_length", _MAX_MESSAGE),
)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms calls are made: within which time, and as whom."""

    timeout_s: float
    token: Token | None

    def timeout(self, given: float | None) -> float:
        """Every call has a deadline, in seconds: its own, or else this."""
        return self.timeout_s if given is None else given

    def metadata(self, given: Iterable[tuple[str, str | bytes]] | None) -> list[tuple[str, str | bytes]]:
        """With the caller's token (RFC 6750), and its place in the caller's trace."""
        metadata = [*(given or ()), *place()]
        # A call that says itself who makes it is taken at its word.
        if self.token is not None and not any(name == "authorization" for name, _ in metadata):
            metadata.append(("authorization", f"Bearer {self.token.current()}"))
        return metadata
