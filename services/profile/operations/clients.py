"""Asking the other services for what they hold on a person, and to erase it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TypeVar

import grpc
from camino.client import from_rpc_error
from camino.ops.v1 import personal_data_service_pb2, personal_data_service_pb2_grpc
from camino.type.v1 import messaging_pb2

from services.profile.operations.obstacle import Obstacle
from services.profile.operations.operation import summed

Reply = TypeVar("Reply")

OTHERS = ("orchestrator", "segment", "channels")
"""In the order in which they're asked to erase: whoever decides first, so that nothing new is owed, and whoever sends
last."""

CHANNELS: Mapping[str, messaging_pb2.Channel] = {
    "email": messaging_pb2.CHANNEL_EMAIL,
    "phone": messaging_pb2.CHANNEL_SMS,
    "push_token": messaging_pb2.CHANNEL_PUSH,
    "webhook_url": messaging_pb2.CHANNEL_WEBHOOK,
}
"""The namespaces whose identities are where messages go."""

_IDS = 1_000
"""As many as one request may name."""
_TIMEOUT_S = 15.0
_PAGE = 100

_OF_THE_WORLD = frozenset(
    (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    )
)
"""The words of these can't quote what is held on anybody."""


def endpoints(identities: Iterable[Sequence[str]]) -> list[personal_data_service_pb2.Endpoint]:
    """Where messages to a person went, by their identities."""
    return [
        personal_data_service_pb2.Endpoint(channel=CHANNELS[namespace], endpoint=value)
        for namespace, value in identities
        if namespace in CHANNELS
    ]


class Others:
    """The services that hold something on people besides this one."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel]) -> None:
        """`channels` are those to each of `OTHERS`."""
        self._stubs = {
            name: personal_data_service_pb2_grpc.PersonalDataServiceStub(channel) for name, channel in channels.items()
        }

    async def erase(
        self,
        service: str,
        workspace_id: str,
        profile_ids: Sequence[str],
        where: Sequence[personal_data_service_pb2.Endpoint],
    ) -> dict[str, int]:
        """Have a service erase what it holds. How much of each kind there was. Raises `Obstacle`."""
        counts: dict[str, int] = {}
        for start in range(0, len(profile_ids), _IDS):
            request = personal_data_service_pb2.ErasePersonalDataRequest(
                workspace_id=workspace_id, profile_ids=profile_ids[start : start + _IDS], endpoints=where
            )
            reply = await _asked(service, self._stubs[service].ErasePersonalData(request, timeout=_TIMEOUT_S))
            counts = summed(counts, reply.counts)
        return counts

    async def page(
        self,
        service: str,
        workspace_id: str,
        profile_ids: Sequence[str],
        where: Sequence[personal_data_service_pb2.Endpoint],
        after: str,
    ) -> personal_data_service_pb2.ListPersonalDataResponse:
        """A page of what a service holds. Raises `Obstacle`."""
        request = personal_data_service_pb2.ListPersonalDataRequest(
            workspace_id=workspace_id, profile_ids=profile_ids, endpoints=where, page_size=_PAGE, page_token=after
        )
        return await _asked(service, self._stubs[service].ListPersonalData(request, timeout=_TIMEOUT_S))


async def _asked(service: str, call: Awaitable[Reply]) -> Reply:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        told = from_rpc_error(error)
        words = str(told) if told.status in _OF_THE_WORLD else f"{told.status.name} {told.reason_name}".strip()
        raise Obstacle(f"the {service} service: {words}") from error
