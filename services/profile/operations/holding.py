"""What the profile service itself holds on a person, as the other services tell it of themselves."""

from __future__ import annotations

from collections.abc import Sequence

from camino.ops.v1 import personal_data_service_pb2
from camino.profile.v1 import profile_service_pb2
from google.protobuf.message import Message

from services.chassis.documents import Document
from services.chassis.engine import order, position, token
from services.chassis.personal_data import record
from services.profile import timeline
from services.profile.service import ProfileServicer
from services.profile.store import Store

IDENTITY_GRAPH, EVENTS, TIMELINE = "identity_graph", "events", "timeline"

_ORDER = order("holding")
_PAGE = 100
_FOLLOWING = {IDENTITY_GRAPH: EVENTS, EVENTS: TIMELINE}
_TOLD = (profile_service_pb2.TIMELINE_KIND_CONSENT, profile_service_pb2.TIMELINE_KIND_IDENTITY)
"""What a timeline has besides the events."""


class Holding:
    def __init__(self, store: Store, profiles: ProfileServicer) -> None:
        self._store = store
        self._profiles = profiles

    async def page(self, profile: Document, after: str) -> personal_data_service_pb2.ListPersonalDataResponse:
        """A page of it: how the identities are linked, the events, and the rest of the timeline."""
        kind, within = map(str, position(_ORDER, after, 2)) if after else (IDENTITY_GRAPH, "")
        things, following = await self._things(kind, profile, within)
        response = personal_data_service_pb2.ListPersonalDataResponse(records=[record(kind, thing) for thing in things])
        if following:
            response.next_page_token = token(_ORDER, [kind, following])
        elif kind in _FOLLOWING:
            response.next_page_token = token(_ORDER, [_FOLLOWING[kind], ""])
        return response

    async def _things(self, kind: str, profile: Document, after: str) -> tuple[Sequence[Message], str]:
        workspace_id, _, profile_id = profile.id.partition("/")
        if kind == EVENTS:
            events = await timeline.events(self._store, profile, _PAGE, after)
            return events.events, events.next_page_token
        if kind == TIMELINE:
            asked = profile_service_pb2.ListTimelineRequest(
                workspace_id=workspace_id, profile_id=profile_id, kinds=_TOLD, page_size=_PAGE, page_token=after
            )
            told = await timeline.entries(self._store, profile, asked)
            return told.entries, told.next_page_token
        graph = profile_service_pb2.GetIdentityGraphRequest(workspace_id=workspace_id, profile_id=profile_id)
        return [await self._profiles.GetIdentityGraph(graph, None)], ""
