"""A batch as one call: `IngestEvents` or `IngestProfiles`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from camino.client.ingestion.waiting import Input
from camino.profile.v1.profile_service_pb2 import (
    EventInput,
    IngestEventsRequest,
    IngestProfilesRequest,
    ItemResult,
    ProfileInput,
)

if TYPE_CHECKING:
    from camino.profile.v1.profile_service_pb2_grpc import ProfileServiceAsyncStub

Send = Callable[[Sequence[Input]], Awaitable[Sequence[ItemResult]]]
"""Sends items, all of one kind; one result for each, in order. Raises `CaminoError`."""


def sender(profiles: ProfileServiceAsyncStub, workspace_id: str) -> Send:
    async def send(inputs: Sequence[Input]) -> Sequence[ItemResult]:
        if isinstance(inputs[0], EventInput):
            events = [input for input in inputs if isinstance(input, EventInput)]
            request = IngestEventsRequest(workspace_id=workspace_id, events=events)
            return (await profiles.IngestEvents(request)).results
        people = [input for input in inputs if isinstance(input, ProfileInput)]
        return (
            await profiles.IngestProfiles(IngestProfilesRequest(workspace_id=workspace_id, profiles=people))
        ).results

    return send
