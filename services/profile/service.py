"""`camino.profile.v1.ProfileService`."""

from __future__ import annotations

from typing import Any

from camino.profile.v1 import profile_pb2, profile_service_pb2, profile_service_pb2_grpc

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import CaminoError, NotFound
from services.chassis.server import Mounted
from services.chassis.tracing import Tracing
from services.chassis.validation import item_violations
from services.chassis.wire import timestamp
from services.profile import convert, finding, normalise, timeline
from services.profile.absorbing import Taken
from services.profile.domain import links
from services.profile.domain.profile import Facts
from services.profile.event_intake import EventIntake
from services.profile.gathering import Gathering
from services.profile.profile_intake import ProfileIntake, Said, told_apart
from services.profile.rules import Registry
from services.profile.store import Store
from services.profile.streaming import StreamedIngestion
from services.profile.unlinking import Unlinking

_PROFILES, _EVENTS = 500, 1_000
"""Items in a batch of several requests: as many as one request may have."""


class ProfileServicer(StreamedIngestion, profile_service_pb2_grpc.ProfileServiceServicer):
    def __init__(
        self,
        store: Store,
        rules: Registry,
        profile_intake: ProfileIntake,
        event_intake: EventIntake,
        unlinking: Unlinking,
        clock: Clock,
        tracing: Tracing,
    ) -> None:
        self._store = store
        self._rules = rules
        self._intake = profile_intake
        self._unlinking = unlinking
        self._clock = clock
        self._take_profiles = Gathering(profile_intake.profiles, tracing, most=_PROFILES)
        self._take_events = Gathering(event_intake.events, tracing, most=_EVENTS)

    async def IngestProfiles(self, request: Any, context: object) -> profile_service_pb2.IngestProfilesResponse:
        results = await self._take_profiles(request.workspace_id, request.profiles, item_violations())
        return profile_service_pb2.IngestProfilesResponse(results=results)

    async def IngestEvents(self, request: Any, context: object) -> profile_service_pb2.IngestEventsResponse:
        results = await self._take_events(request.workspace_id, request.events, item_violations())
        return profile_service_pb2.IngestEventsResponse(results=results)

    async def LinkIdentities(self, request: Any, context: object) -> profile_service_pb2.LinkIdentitiesResponse:
        rules = self._rules.rules(request.workspace_id)
        now = self._clock.now()
        identities = convert.identities_of(request.identities, rules)
        facts = Facts(identities, convert.told_at(request, "observed_at", now, now, "observed_at"))
        taken = await self._take(request.workspace_id, Said(told_apart(facts, rules), request))
        response = profile_service_pb2.LinkIdentitiesResponse(
            not_linked=[convert.identity_wire(identity) for identity in taken.not_linked]
        )
        await self._show(response.profile, request.workspace_id, taken.profile_id)
        return response

    async def UnlinkIdentity(self, request: Any, context: object) -> profile_service_pb2.UnlinkIdentityResponse:
        workspace_id, now = request.workspace_id, self._clock.now()
        wire = request.identity
        identity = normalise.identity(wire.namespace, wire.value, "identity.value", self._rules.rules(workspace_id))
        at = convert.told_at(request, "observed_at", now, now, "observed_at")
        await self._find(workspace_id, request.profile_id)
        await self._unlinking.take_away(workspace_id, request.profile_id, identity, at, request)
        response = profile_service_pb2.UnlinkIdentityResponse()
        await self._show(response.profile, workspace_id, request.profile_id)
        return response

    async def RecordConsents(self, request: Any, context: object) -> profile_service_pb2.RecordConsentsResponse:
        workspace_id, now = request.workspace_id, self._clock.now()
        rules = self._rules.rules(workspace_id)
        if request.WhichOneof("subject") == "profile_id":
            profile = await self._find(workspace_id, request.profile_id)
            told_of = links.head([(ns, value) for ns, value in profile.body["identities"]], rules)
        else:
            wire = request.identity
            told_of = normalise.identity(wire.namespace, wire.value, "identity.value", rules)
        consents = convert.consents_of(request.consents, told_of, now, now)
        taken = await self._take(workspace_id, Said(Facts((told_of,), now, consents=consents), request))
        response = profile_service_pb2.RecordConsentsResponse()
        await self._show(response.profile, workspace_id, taken.profile_id)
        return response

    async def GetProfile(self, request: Any, context: object) -> profile_service_pb2.GetProfileResponse:
        profile = await self._named(request)
        response = profile_service_pb2.GetProfileResponse()
        _fill(response.profile, profile)
        return response

    async def BatchGetProfiles(self, request: Any, context: object) -> profile_service_pb2.BatchGetProfilesResponse:
        workspace_id = request.workspace_id
        rules = self._rules.rules(workspace_id)
        asked = {
            (wire.namespace, wire.value): normalise.identity(
                wire.namespace, wire.value, f"identities[{index}].value", rules
            )
            for index, wire in enumerate(request.identities)
        }
        by_id = await finding.profiles(self._store, workspace_id, request.profile_ids)
        by_identity = await finding.by_identity(self._store, workspace_id, set(asked.values())) if asked else {}
        response = profile_service_pb2.BatchGetProfilesResponse()
        for profile in {profile.id: profile for profile in (*by_id.values(), *by_identity.values())}.values():
            _fill(response.profiles.add(), profile)
        for id_, profile in by_id.items():
            if (now := _id_of(profile)) != id_:
                response.merged_into[id_] = now
        for spelled, identity in asked.items():
            if identity in by_identity:
                response.owners.add(identity=convert.identity_wire(spelled), profile_id=_id_of(by_identity[identity]))
        return response

    async def ListProfiles(self, request: Any, context: object) -> profile_service_pb2.ListProfilesResponse:
        page = await self._store.profiles.query(
            "by_workspace", request.workspace_id, limit=request.page_size or 100, after=request.page_token
        )
        response = profile_service_pb2.ListProfilesResponse(
            next_page_token=page.next,
            total_size=await self._store.profiles.count("by_workspace", request.workspace_id),
        )
        for profile in page.documents:
            _fill(response.profiles.add(), profile)
        return response

    async def ListEvents(self, request: Any, context: object) -> profile_service_pb2.ListEventsResponse:
        profile = await self._find(request.workspace_id, request.profile_id)
        return await timeline.events(self._store, profile, request.page_size or 100, request.page_token)

    async def ListTimeline(self, request: Any, context: object) -> profile_service_pb2.ListTimelineResponse:
        profile = await self._find(request.workspace_id, request.profile_id)
        return await timeline.entries(self._store, profile, request)

    async def GetIdentityGraph(self, request: Any, context: object) -> profile_service_pb2.GetIdentityGraphResponse:
        profile = await self._named(request)
        rules = self._rules.rules(request.workspace_id)
        held = convert.profile_of(_id_of(profile), profile.body)
        response = profile_service_pb2.GetIdentityGraphResponse(
            profile_id=held.profile_id, merged_profile_ids=held.merged
        )
        response.identities.extend(convert.identity_wire(identity) for identity in profile.body["identities"])
        for ends, seen in sorted(held.links.items(), key=lambda link: (-link[1].last, link[0])):
            one, other = sorted(ends, key=lambda identity: links.rank(identity, rules))
            (response.links if held.identities.issuperset(ends) else response.refused_links).add(
                identity=convert.identity_wire(one),
                other=convert.identity_wire(other),
                first_observed_at=timestamp(seen.first),
                last_observed_at=timestamp(seen.last),
            )
        return response

    async def _take(self, workspace_id: str, said: Said) -> Taken:
        """Take one thing that is said. Raises what it's refused for."""
        outcome = (await self._intake.take(workspace_id, {0: said}))[0]
        if isinstance(outcome, CaminoError):
            raise outcome
        return outcome

    async def _named(self, request: Any) -> Document:
        """The profile that a request names by id or identity. Raises `NotFound`."""
        if request.WhichOneof("by") == "profile_id":
            return await self._find(request.workspace_id, request.profile_id)
        wire = request.identity
        rules = self._rules.rules(request.workspace_id)
        identity = normalise.identity(wire.namespace, wire.value, "identity.value", rules)
        found = await finding.by_identity(self._store, request.workspace_id, [identity])
        if identity not in found:
            raise NotFound(
                f"there is no profile with this {identity[0]!r} identity in this workspace",
                resource="profile",
                name=identity[0],
            )
        return found[identity]

    async def _find(self, workspace_id: str, profile_id: str) -> Document:
        """The profile that an id means. Raises `NotFound`."""
        found = (await finding.profiles(self._store, workspace_id, [profile_id])).get(profile_id)
        if found is None:
            raise NotFound.of("profile", profile_id)
        return found

    async def _show(self, wire: profile_pb2.Profile, workspace_id: str, profile_id: str) -> None:
        _fill(wire, await self._find(workspace_id, profile_id))


def _fill(wire: profile_pb2.Profile, profile: Document) -> None:
    workspace_id, _, profile_id = profile.id.partition("/")
    convert.fill_profile(wire, workspace_id, profile_id, profile.body)


def _id_of(profile: Document) -> str:
    return profile.id.partition("/")[2]


def mounted(servicer: ProfileServicer) -> Mounted:
    return Mounted(
        profile_service_pb2_grpc.add_ProfileServiceServicer_to_server, servicer, "camino.profile.v1.ProfileService"
    )
