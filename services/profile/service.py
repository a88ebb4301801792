"""`camino.profile.v1.ProfileService`."""

from __future__ import annotations

from typing import Any

from camino.profile.v1 import profile_pb2, profile_service_pb2, profile_service_pb2_grpc

from services.chassis.errors import NotFound
from services.chassis.server import Mounted
from services.chassis.tracing import Tracing
from services.chassis.validation import item_violations
from services.profile import convert, normalise
from services.profile.gathering import Gathering
from services.profile.ingest import Ingest
from services.profile.store import Store

_PROFILES, _EVENTS = 500, 1_000
"""Items in a batch of several requests: as many as one request may have."""


class ProfileServicer(profile_service_pb2_grpc.ProfileServiceServicer):  # type: ignore[misc]
    def __init__(self, store: Store, ingest: Ingest, tracing: Tracing) -> None:
        self._store = store
        self._take_profiles = Gathering(ingest.profiles, tracing, most=_PROFILES)
        self._take_events = Gathering(ingest.events, tracing, most=_EVENTS)

    async def IngestProfiles(self, request: Any, context: object) -> profile_service_pb2.IngestProfilesResponse:
        results = await self._take_profiles(request.workspace_id, request.profiles, item_violations())
        return profile_service_pb2.IngestProfilesResponse(results=results)

    async def IngestEvents(self, request: Any, context: object) -> profile_service_pb2.IngestEventsResponse:
        results = await self._take_events(request.workspace_id, request.events, item_violations())
        return profile_service_pb2.IngestEventsResponse(results=results)

    async def GetProfile(self, request: Any, context: object) -> profile_service_pb2.GetProfileResponse:
        profile_id = request.profile_id
        if not profile_id:
            identity = normalise.identity(request.identity.namespace, request.identity.value, "identity.value")
            key = convert.identity_key(request.workspace_id, identity)
            owner = (await self._store.identities.get([key])).get(key)
            if owner is None:
                raise NotFound(
                    f"there is no profile with this {identity[0]!r} identity in this workspace",
                    resource="profile",
                    name=identity[0],
                )
            profile_id = owner.body["profile_id"]
        key = f"{request.workspace_id}/{profile_id}"
        found = (await self._store.profiles.get([key])).get(key)
        if found is None or convert.joined({key: found}):
            raise NotFound.of("profile", profile_id)
        return profile_service_pb2.GetProfileResponse(profile=_wire(request.workspace_id, profile_id, found.body))

    async def BatchGetProfiles(self, request: Any, context: object) -> profile_service_pb2.BatchGetProfilesResponse:
        found = await self._store.profiles.get([f"{request.workspace_id}/{id_}" for id_ in request.profile_ids])
        response = profile_service_pb2.BatchGetProfilesResponse()
        graves = convert.joined(found)
        for key, document in found.items():
            if key.partition("/")[2] in graves:
                continue
            convert.fill_profile(response.profiles.add(), request.workspace_id, key.partition("/")[2], document.body)
        return response

    async def ListProfiles(self, request: Any, context: object) -> profile_service_pb2.ListProfilesResponse:
        page = await self._store.profiles.query(
            "by_workspace", request.workspace_id, limit=request.page_size or 100, after=request.page_token
        )
        response = profile_service_pb2.ListProfilesResponse(
            next_page_token=page.next,
            total_size=await self._store.profiles.count("by_workspace", request.workspace_id),
        )
        for document in page.documents:
            profile_id = document.id.partition("/")[2]
            convert.fill_profile(response.profiles.add(), request.workspace_id, profile_id, document.body)
        return response

    async def ListEvents(self, request: Any, context: object) -> profile_service_pb2.ListEventsResponse:
        key = f"{request.workspace_id}/{request.profile_id}"
        if not await self._store.profiles.get([key]):
            raise NotFound.of("profile", request.profile_id)
        page = await self._store.events.query(
            "by_profile", key, limit=request.page_size or 100, after=request.page_token, descending=True
        )
        response = profile_service_pb2.ListEventsResponse(next_page_token=page.next)
        for document in page.documents:
            event_id = document.id.partition("/")[2]
            convert.fill_event(response.events.add(), request.workspace_id, event_id, document.body)
        return response


def _wire(workspace_id: str, profile_id: str, body: convert.Body) -> profile_pb2.Profile:
    wire = profile_pb2.Profile()
    convert.fill_profile(wire, workspace_id, profile_id, body)
    return wire


def mounted(servicer: ProfileServicer) -> Mounted:
    return Mounted(
        profile_service_pb2_grpc.add_ProfileServiceServicer_to_server, servicer, "camino.profile.v1.ProfileService"
    )
