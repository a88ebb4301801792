"""A profile's timeline: its events, and what else there is to tell of it."""

from __future__ import annotations

from collections.abc import Sequence

from camino.profile.v1 import profile_service_pb2

from services.chassis.documents import Document
from services.profile import convert, records
from services.profile.history import Source, newest_first
from services.profile.store import Store

_RECORDS = {
    profile_service_pb2.TIMELINE_KIND_CONSENT: records.CONSENT,
    profile_service_pb2.TIMELINE_KIND_IDENTITY: records.IDENTITY,
}


async def events(store: Store, profile: Document, limit: int, after: str) -> profile_service_pb2.ListEventsResponse:
    """A page of a profile's events. Raises `InvalidPageToken`."""
    workspace_id, _, profile_id = profile.id.partition("/")
    found, following = await newest_first([Source(store.events)], _keys(profile), limit, after, "events")
    response = profile_service_pb2.ListEventsResponse(next_page_token=following)
    for document in found:
        convert.fill_event(
            response.events.add(), workspace_id, profile_id, document.id.partition("/")[2], document.body
        )
    return response


async def entries(
    store: Store, profile: Document, request: profile_service_pb2.ListTimelineRequest
) -> profile_service_pb2.ListTimelineResponse:
    """A page of a profile's timeline. Raises `InvalidPageToken`."""
    workspace_id, _, profile_id = profile.id.partition("/")
    kinds, types = sorted(set(request.kinds)), sorted(set(request.event_types))
    found, following = await newest_first(
        _sources(store, kinds, types),
        _keys(profile),
        request.page_size or 100,
        request.page_token,
        repr((kinds, types)),
    )
    response = profile_service_pb2.ListTimelineResponse(next_page_token=following)
    for document in found:
        entry = response.entries.add()
        if "kind" in document.body:
            records.fill(entry, document.body)
            continue
        event_id = document.id.partition("/")[2]
        convert.fill_event(entry.event, workspace_id, profile_id, event_id, document.body)
        entry.at.CopyFrom(entry.event.occurred_at)
    return response


def _sources(store: Store, kinds: Sequence[int], types: Sequence[str]) -> list[Source]:
    """Where the asked kinds of entries are; all kinds, when none is asked for."""
    sources = []
    if not kinds or profile_service_pb2.TIMELINE_KIND_EVENT in kinds:
        sources.append(Source(store.events, lambda event: not types or event.body["type"] in types))
    told = {name for kind, name in _RECORDS.items() if not kinds or kind in kinds}
    if told:
        sources.append(Source(store.records, lambda record: record.body["kind"] in told))
    return sources


def _keys(profile: Document) -> list[str]:
    workspace_id = profile.id.partition("/")[0]
    return [profile.id, *(f"{workspace_id}/{id_}" for id_ in profile.body["merged"])]
