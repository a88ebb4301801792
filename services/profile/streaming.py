"""Profiles and events over streams: each request is answered as one of the unary methods would be, under its
`sequence`. Those that are under way together are taken together."""

from __future__ import annotations

from typing import Any

from camino.profile.v1 import profile_service_pb2

from services.chassis.validation import item_violations
from services.profile.gathering import Gathering

ItemResult = profile_service_pb2.ItemResult


class StreamedIngestion:
    """The methods of `ProfileService` that stream. Reading ahead, order and the stream's end are the chassis's."""

    _take_profiles: Gathering[profile_service_pb2.ProfileInput, ItemResult]
    _take_events: Gathering[profile_service_pb2.EventInput, ItemResult]

    async def StreamProfiles(self, request: Any, context: object) -> profile_service_pb2.StreamProfilesResponse:
        results = await self._take_profiles(request.workspace_id, request.profiles, item_violations())
        return profile_service_pb2.StreamProfilesResponse(sequence=request.sequence, results=results)

    async def StreamEvents(self, request: Any, context: object) -> profile_service_pb2.StreamEventsResponse:
        results = await self._take_events(request.workspace_id, request.events, item_violations())
        return profile_service_pb2.StreamEventsResponse(sequence=request.sequence, results=results)
