"""What there is to read of people: their events, their timeline, and how their identities are linked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from camino.profile.v1 import profile_pb2
from camino.profile.v1 import profile_service_pb2 as pb
from camino.testing.fake.identities import normalised
from camino.testing.fake.pages import page
from camino.testing.fake.people import Link, Pair
from camino.testing.fake.profile_rules import rules_of
from camino.testing.fake.refusal import not_found
from camino.testing.fake.rules import Rules
from camino.testing.fake.timeline import wire
from camino.testing.fake.values import instant, timestamp
from camino.testing.fake.world import World

_KINDS = {"event": pb.TIMELINE_KIND_EVENT, "consent": pb.TIMELINE_KIND_CONSENT}


class Histories:
    def __init__(self, world: World) -> None:
        self._world = world

    def ListEvents(self, request: pb.ListEventsRequest) -> pb.ListEventsResponse:
        profile = self._known(request.workspace_id, request.profile_id)
        events = (((instant(event.occurred_at), event.event_id), event) for event in self._events(profile))
        chosen, token = page(request, events, newest_first=True)
        return pb.ListEventsResponse(events=chosen, next_page_token=token)

    def ListTimeline(self, request: pb.ListTimelineRequest) -> pb.ListTimelineResponse:
        profile = self._known(request.workspace_id, request.profile_id)
        entries = [
            (event.event_id, pb.TimelineEntry(at=event.occurred_at, event=event)) for event in self._events(profile)
        ]
        entries += self._world.ledger(request.workspace_id).timeline.of(ids_of(profile))
        asked = (((instant(entry.at), id_), entry) for id_, entry in entries if _asked(entry, request))
        chosen, token = page(request, asked, newest_first=True)
        return pb.ListTimelineResponse(entries=chosen, next_page_token=token)

    def GetIdentityGraph(self, request: pb.GetIdentityGraphRequest) -> pb.GetIdentityGraphResponse:
        return self._graph(self._named(request))

    def _graph(self, profile: profile_pb2.Profile) -> pb.GetIdentityGraphResponse:
        rules = rules_of(self._world, profile.workspace_id)
        links, refused = self._world.ledger(profile.workspace_id).links(profile.profile_id)
        return pb.GetIdentityGraphResponse(
            profile_id=profile.profile_id,
            identities=profile.identities,
            links=_shown(links.items(), rules),
            refused_links=_shown(refused.items(), rules),
            merged_profile_ids=profile.merged_profile_ids,
        )

    def _named(self, request: Any) -> profile_pb2.Profile:
        """The profile that a request names by id or identity. Raises `Refusal` (NOT_FOUND)."""
        if request.HasField("profile_id"):
            return self._known(request.workspace_id, request.profile_id)
        identity = normalised(request.identity, "identity.value", rules_of(self._world, request.workspace_id))
        found = self._world.ledger(request.workspace_id).owner((identity.namespace, identity.value))
        if found is None:
            raise not_found("profile", identity.namespace)
        return found

    def _known(self, workspace_id: str, profile_id: str) -> profile_pb2.Profile:
        """The profile that an id means. Raises `Refusal` (NOT_FOUND)."""
        found = self._world.ledger(workspace_id).profile(profile_id)
        if found is None:
            raise not_found("profile", profile_id)
        return found

    def _events(self, profile: profile_pb2.Profile) -> Iterator[profile_pb2.Event]:
        """A profile's, and those of the ones that were merged into it."""
        ids = ids_of(profile)
        for _, event in self._world.all(profile_pb2.Event, profile.workspace_id):
            if event.profile_id in ids:
                shown = profile_pb2.Event()
                shown.CopyFrom(event)
                shown.profile_id = profile.profile_id
                yield shown


def ids_of(profile: profile_pb2.Profile) -> set[str]:
    """All ids that mean a profile."""
    return {profile.profile_id, *profile.merged_profile_ids}


def _asked(entry: pb.TimelineEntry, request: pb.ListTimelineRequest) -> bool:
    kind = _KINDS.get(entry.WhichOneof("what") or "", pb.TIMELINE_KIND_IDENTITY)
    of_type = not request.event_types or not entry.HasField("event") or entry.event.type in request.event_types
    return of_type and (not request.kinds or kind in request.kinds)


def _shown(links: Iterable[tuple[Pair, Link]], rules: Rules) -> Iterator[pb.IdentityLink]:
    """Those that were seen last come first."""
    for ends, link in sorted(links, key=lambda it: (-it[1].last, it[0])):
        one, other = sorted(ends, key=rules.rank)
        yield pb.IdentityLink(
            identity=wire(one),
            other=wire(other),
            first_observed_at=timestamp(link.first),
            last_observed_at=timestamp(link.last),
        )
