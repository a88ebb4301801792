"""`camino.profile.v1.ProfileService`: people and events, taken and kept as Camino does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.testing.fake.histories import Histories
from camino.testing.fake.identities import normalised
from camino.testing.fake.inputs import check_one_person, check_value, date, date_consents, identities_of, sound
from camino.testing.fake.items import fail
from camino.testing.fake.ledger import Taken
from camino.testing.fake.profile_rules import rules_of
from camino.testing.fake.refusal import Refusal, invalid_field
from camino.testing.fake.timeline import wire
from camino.testing.fake.values import instant, kept, timestamp, value_of
from camino.testing.fake.world import World

_MAX_EVENT_BYTES = 64 * 1024

Told = Callable[[profile_pb2.Event], None]
"""Told of each event that was taken, once."""
Merged = Callable[[str], None]
"""Told of a workspace in which profiles turned out to be one person."""


class Profiles(Histories):
    def __init__(self, world: World, told: Told, merged: Merged) -> None:
        super().__init__(world)
        self._told = told
        self._merged = merged

    def IngestProfiles(self, request: pb.IngestProfilesRequest) -> pb.IngestProfilesResponse:
        results = [_result(self._take_profile, request.workspace_id, item) for item in request.profiles]
        return pb.IngestProfilesResponse(results=results)

    def IngestEvents(self, request: pb.IngestEventsRequest) -> pb.IngestEventsResponse:
        results = [_result(self._take_event, request.workspace_id, item) for item in request.events]
        return pb.IngestEventsResponse(results=results)

    def LinkIdentities(self, request: pb.LinkIdentitiesRequest) -> pb.LinkIdentitiesResponse:
        rules, now = rules_of(self._world, request.workspace_id), self._world.now()
        said = pb.ProfileInput(identities=identities_of(request.identities, rules), observed_at=request.observed_at)
        date(said.observed_at, request.HasField("observed_at"), now, now, "observed_at")
        check_one_person(said.identities, rules)
        taken = self._take(request.workspace_id, said)
        profile = self._known(request.workspace_id, taken.profile_id)
        return pb.LinkIdentitiesResponse(profile=profile, not_linked=map(wire, taken.not_linked))

    def UnlinkIdentity(self, request: pb.UnlinkIdentityRequest) -> pb.UnlinkIdentityResponse:
        workspace_id, now = request.workspace_id, self._world.now()
        rules = rules_of(self._world, workspace_id)
        identity = normalised(request.identity, "identity.value", rules)
        date(request.observed_at, request.HasField("observed_at"), now, now, "observed_at")
        profile_id = self._known(workspace_id, request.profile_id).profile_id
        name, at = (identity.namespace, identity.value), instant(request.observed_at)
        self._world.ledger(workspace_id).unlink(profile_id, name, at, rules, now)
        return pb.UnlinkIdentityResponse(profile=self._known(workspace_id, profile_id))

    def RecordConsents(self, request: pb.RecordConsentsRequest) -> pb.RecordConsentsResponse:
        workspace_id, now = request.workspace_id, self._world.now()
        if request.HasField("identity"):
            told_of = normalised(request.identity, "identity.value", rules_of(self._world, workspace_id))
        else:
            told_of = self._known(workspace_id, request.profile_id).identities[0]
        date_consents(request.consents, now, now)
        said = pb.ProfileInput(identities=[told_of], consents=request.consents, observed_at=timestamp(now))
        taken = self._take(workspace_id, said)
        return pb.RecordConsentsResponse(profile=self._known(workspace_id, taken.profile_id))

    def GetProfile(self, request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        return pb.GetProfileResponse(profile=self._named(request))

    def BatchGetProfiles(self, request: pb.BatchGetProfilesRequest) -> pb.BatchGetProfilesResponse:
        ledger, rules = self._world.ledger(request.workspace_id), rules_of(self._world, request.workspace_id)
        reply = pb.BatchGetProfilesResponse()
        found = dict[str, profile_pb2.Profile]()
        for id_ in request.profile_ids:
            if profile := ledger.profile(id_):
                found[profile.profile_id] = profile
                if id_ != profile.profile_id:
                    reply.merged_into[id_] = profile.profile_id
        for index, asked in enumerate(request.identities):
            identity = normalised(asked, f"identities[{index}].value", rules)
            profile = ledger.owner((identity.namespace, identity.value))
            if profile:
                found[profile.profile_id] = profile
                owner = pb.IdentityOwner(identity=asked, profile_id=profile.profile_id)
                if owner not in reply.owners:
                    reply.owners.append(owner)
        reply.profiles.extend(found.values())
        return reply

    def _take_profile(self, workspace_id: str, item: pb.ProfileInput) -> pb.ItemResult:
        taken = self._take(workspace_id, sound(item, rules_of(self._world, workspace_id), self._world.now()))
        not_linked = map(wire, taken.not_linked)
        return pb.ItemResult(outcome=pb.ITEM_OUTCOME_OK, profile_id=taken.profile_id, not_linked=not_linked)

    def _take_event(self, workspace_id: str, item: pb.EventInput) -> pb.ItemResult:
        now, ledger = self._world.now(), self._world.ledger(workspace_id)
        event = _event(workspace_id, item, now)
        identity = None
        if item.HasField("identity"):
            identity = normalised(item.identity, "identity.value", rules_of(self._world, workspace_id))
        else:
            self._known(workspace_id, item.profile_id)
        taken = self._world.get(profile_pb2.Event, workspace_id, item.event_id)
        if taken:
            return pb.ItemResult(outcome=pb.ITEM_OUTCOME_DUPLICATE, profile_id=ledger.meant(taken.profile_id))
        event.profile_id = self._owner(workspace_id, identity, now) if identity else ledger.meant(item.profile_id)
        self._world.put(workspace_id, event.event_id, event)
        self._told(event)
        return pb.ItemResult(outcome=pb.ITEM_OUTCOME_OK, profile_id=event.profile_id)

    def _owner(self, workspace_id: str, identity: profile_pb2.Identity, now: int) -> str:
        """The profile that the identity belongs to, which is made if there is none."""
        profile = self._world.ledger(workspace_id).owner((identity.namespace, identity.value))
        if profile:
            return profile.profile_id
        return self._take(workspace_id, pb.ProfileInput(identities=[identity], observed_at=timestamp(now))).profile_id

    def _take(self, workspace_id: str, said: pb.ProfileInput) -> Taken:
        ledger, rules = self._world.ledger(workspace_id), rules_of(self._world, workspace_id)
        merges = ledger.merges
        taken = ledger.take(said, rules, self._world.now())
        if ledger.merges > merges:
            self._merged(workspace_id)
        return taken


def _result(take: Callable[[str, Any], pb.ItemResult], workspace_id: str, item: Any) -> pb.ItemResult:
    try:
        return take(workspace_id, item)
    except Refusal as refusal:
        result = pb.ItemResult()
        fail(result, refusal)
        return result


def _event(workspace_id: str, item: pb.EventInput, now: int) -> profile_pb2.Event:
    """As it's kept, but for its profile. Raises `Refusal` naming the field."""
    if item.type.startswith("camino."):
        raise invalid_field("type", "only Camino tells events of types that begin with camino.; choose another")
    event = profile_pb2.Event(workspace_id=workspace_id, event_id=item.event_id, type=item.type)
    event.occurred_at.CopyFrom(item.occurred_at)
    date(event.occurred_at, item.HasField("occurred_at"), now, now, "occurred_at")
    if (size := item.ByteSize()) > _MAX_EVENT_BYTES:
        message = f"the event has {size} bytes, at most {_MAX_EVENT_BYTES} are taken"
        raise invalid_field("properties", message, reason_pb2.REASON_EVENT_TOO_LARGE)
    for name, value in item.properties.items():
        check_value(name, value_of(value), "properties")
        event.properties[name].CopyFrom(kept(value))
    event.receive_time.CopyFrom(timestamp(now))
    return event
