"""`camino.profile.v1.ProfileService`: people and events, taken and kept as Camino does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.testing.fake.absorbing import absorbed, check_value, date, sound
from camino.testing.fake.identities import normalised
from camino.testing.fake.items import fail
from camino.testing.fake.methods import method
from camino.testing.fake.reading import listing
from camino.testing.fake.refusal import Refusal, invalid_field, not_found
from camino.testing.fake.values import kept, timestamp, value_of
from camino.testing.fake.world import World

_MAX_EVENT_BYTES = 64 * 1024

Taken = Callable[[profile_pb2.Event], None]
"""Told of each event that was taken, once."""


class Profiles:
    def __init__(self, world: World, taken: Taken) -> None:
        self._world = world
        self._taken = taken

    def IngestProfiles(self, request: pb.IngestProfilesRequest) -> pb.IngestProfilesResponse:
        results = [_result(self._take_profile, request.workspace_id, item) for item in request.profiles]
        return pb.IngestProfilesResponse(results=results)

    def IngestEvents(self, request: pb.IngestEventsRequest) -> pb.IngestEventsResponse:
        results = [_result(self._take_event, request.workspace_id, item) for item in request.events]
        return pb.IngestEventsResponse(results=results)

    def GetProfile(self, request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        if request.WhichOneof("by") == "profile_id":
            return pb.GetProfileResponse(profile=self._known(request.workspace_id, request.profile_id))
        identity = normalised(request.identity, "identity.value")
        found = self._world.owner(request.workspace_id, identity)
        if found is None:
            raise not_found("profile", identity.namespace)
        return pb.GetProfileResponse(profile=found)

    def BatchGetProfiles(self, request: pb.BatchGetProfilesRequest) -> pb.BatchGetProfilesResponse:
        ids = dict.fromkeys(request.profile_ids)
        found = (self._world.get(profile_pb2.Profile, request.workspace_id, id_) for id_ in ids)
        return pb.BatchGetProfilesResponse(profiles=filter(None, found))

    def ListEvents(self, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
        self._known(request.workspace_id, request.profile_id)
        reply: pb.ListEventsResponse = listing(
            self._world, method("camino.profile.v1.ProfileService/ListEvents"), request
        )
        return reply

    def _take_profile(self, workspace_id: str, item: pb.ProfileInput) -> pb.ItemResult:
        now = self._world.now()
        said = sound(item, now)
        owners = [found for identity in said.identities if (found := self._world.owner(workspace_id, identity))]
        if len({owner.profile_id for owner in owners}) > 1:
            message = "identities: they belong to different profiles; send the facts of each with its own identities"
            raise Refusal(reason_pb2.REASON_IDENTITY_CONFLICT, message)
        before = owners[0] if owners else self._new(workspace_id, now)
        profile = absorbed(before, said, now)
        self._world.put(workspace_id, profile.profile_id, profile)
        return pb.ItemResult(outcome=pb.ITEM_OUTCOME_OK, profile_id=profile.profile_id)

    def _take_event(self, workspace_id: str, item: pb.EventInput) -> pb.ItemResult:
        now = self._world.now()
        event = _event(workspace_id, item, now)
        identity = normalised(item.identity, "identity.value") if item.HasField("identity") else None
        if identity is None:
            self._known(workspace_id, item.profile_id)
        taken = self._world.get(profile_pb2.Event, workspace_id, item.event_id)
        if taken:
            return pb.ItemResult(outcome=pb.ITEM_OUTCOME_DUPLICATE, profile_id=taken.profile_id)
        event.profile_id = self._owner(workspace_id, identity, now) if identity else item.profile_id
        self._world.put(workspace_id, event.event_id, event)
        self._taken(event)
        return pb.ItemResult(outcome=pb.ITEM_OUTCOME_OK, profile_id=event.profile_id)

    def _owner(self, workspace_id: str, identity: profile_pb2.Identity, now: int) -> str:
        """The profile that the identity belongs to, which is made if there is none."""
        profile = self._world.owner(workspace_id, identity)
        if profile is None:
            profile = absorbed(self._new(workspace_id, now), pb.ProfileInput(identities=[identity]), now)
            self._world.put(workspace_id, profile.profile_id, profile)
        return profile.profile_id

    def _known(self, workspace_id: str, profile_id: str) -> profile_pb2.Profile:
        found = self._world.get(profile_pb2.Profile, workspace_id, profile_id)
        if found is None:
            raise not_found("profile", profile_id)
        return found

    def _new(self, workspace_id: str, now: int) -> profile_pb2.Profile:
        """A profile before its first revision."""
        return profile_pb2.Profile(
            workspace_id=workspace_id, profile_id=self._world.new_id(), create_time=timestamp(now)
        )


def _result(take: Callable[[str, Any], pb.ItemResult], workspace_id: str, item: Any) -> pb.ItemResult:
    try:
        return take(workspace_id, item)
    except Refusal as refusal:
        result = pb.ItemResult()
        fail(result, refusal)
        return result


def _event(workspace_id: str, item: pb.EventInput, now: int) -> profile_pb2.Event:
    """As it's kept, but for its profile. Raises `Refusal` naming the field."""
    event = profile_pb2.Event(workspace_id=workspace_id, event_id=item.event_id, type=item.type)
    event.occurred_at.CopyFrom(item.occurred_at)
    date(event.occurred_at, item.HasField("occurred_at"), now, "occurred_at")
    if "\0" in item.event_id:
        raise invalid_field("event_id", "can't hold the character U+0000")
    if (size := item.ByteSize()) > _MAX_EVENT_BYTES:
        message = f"the event has {size} bytes, at most {_MAX_EVENT_BYTES} are taken"
        raise invalid_field("properties", message, reason_pb2.REASON_EVENT_TOO_LARGE)
    for name, value in item.properties.items():
        check_value(name, value_of(value), "properties")
        event.properties[name].CopyFrom(kept(value))
    event.receive_time.CopyFrom(timestamp(now))
    return event
