"""`camino.segment.v1.SegmentService`."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from camino.segment.v1 import segment_pb2, segment_service_pb2, segment_service_pb2_grpc

from services.chassis.clock import Clock
from services.chassis.documents import Document
from services.chassis.errors import EtagMismatch, NotFound
from services.chassis.ids import partition_of
from services.chassis.server import Mounted
from services.segment import convert
from services.segment.convert import Body
from services.segment.registry import Registry
from services.segment.store import Store


class SegmentServicer(segment_service_pb2_grpc.SegmentServiceServicer):  # type: ignore[misc]
    """`start_after` is how long other replicas may take to know a new version: only then is it computed over those who
    don't stream in."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        partitions: int,
        *,
        start_after: int,
        hint: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self._start_after = start_after
        self._hint = hint

    async def PublishSegment(self, request: Any, context: object) -> segment_service_pb2.PublishSegmentResponse:
        convert.definition_of(request.definition)
        key = f"{request.workspace_id}/{request.segment_id}"
        definition = request.definition.SerializeToString(deterministic=True)
        etag = sha256(definition).hexdigest()[:16]
        found = (await self._store.segments.get([key])).get(key)
        if request.etag and request.etag != (found.body["etag"] if found else ""):
            raise EtagMismatch(found.body["etag"] if found else "")
        if found and found.body["etag"] == etag:
            return segment_service_pb2.PublishSegmentResponse(segment=await self._wire(found))
        now = self._clock.now()
        body: Body = {
            "workspace": request.workspace_id,
            "all": 1,
            "partition": partition_of(key, self._partitions),
            "definition": definition,
            "version": found.body["version"] + 1 if found else 1,
            "state": segment_pb2.SEGMENT_STATE_COMPUTING,
            "etag": etag,
            "created": found.body["created"] if found else now,
            "updated": now,
            "compute_at": now + self._start_after,
            "cursor": "",
            "computed": 0,
        }
        document = Document(key, body, found.rev if found else 0)
        if not (await self._store.segments.put([document])).saved:
            return await self.PublishSegment(request, context)
        self._registry.learn(document)
        self._hint(body["partition"], body["compute_at"])
        return segment_service_pb2.PublishSegmentResponse(segment=await self._wire(document))

    async def GetSegment(self, request: Any, context: object) -> segment_service_pb2.GetSegmentResponse:
        document = await self._get(request.workspace_id, request.segment_id)
        return segment_service_pb2.GetSegmentResponse(segment=await self._wire(document))

    async def ListSegments(self, request: Any, context: object) -> segment_service_pb2.ListSegmentsResponse:
        page = await self._store.segments.query(
            "by_workspace", request.workspace_id, limit=request.page_size or 100, after=request.page_token
        )
        return segment_service_pb2.ListSegmentsResponse(
            segments=[await self._wire(document) for document in page.documents], next_page_token=page.next
        )

    async def ListMembers(self, request: Any, context: object) -> segment_service_pb2.ListMembersResponse:
        document = await self._get(request.workspace_id, request.segment_id)
        page = await self._store.memberships.query(
            "members", document.id, limit=request.page_size or 1000, after=request.page_token
        )
        return segment_service_pb2.ListMembersResponse(
            profile_ids=[membership.body["profile"] for membership in page.documents], next_page_token=page.next
        )

    async def CheckMembership(self, request: Any, context: object) -> segment_service_pb2.CheckMembershipResponse:
        segments = self._registry.of(request.workspace_id)
        for query in request.queries:
            for segment_id in query.segment_ids:
                if segment_id not in segments:
                    await self._get(request.workspace_id, segment_id)
                    await self._registry.refresh()
        now = self._clock.now()
        keys = {f"{request.workspace_id}/{query.profile_id}" for query in request.queries}
        stored = await self._store.facts.get(keys)
        response = segment_service_pb2.CheckMembershipResponse()
        for query in request.queries:
            answer = response.answers.add()
            document = stored.get(f"{request.workspace_id}/{query.profile_id}")
            if document is None:
                answer.behind = bool(query.after_event_id)
                continue
            tracked = convert.tracked_of(document.body)
            if query.after_event_id and not tracked.knows_event(query.after_event_id):
                answer.behind = True
                continue
            facts = tracked.facts
            answer.member_of.extend(
                segment_id for segment_id in query.segment_ids if segments[segment_id].evaluate(facts, now).member
            )
        return response

    async def _get(self, workspace_id: str, segment_id: str) -> Document:
        key = f"{workspace_id}/{segment_id}"
        found = (await self._store.segments.get([key])).get(key)
        if found is None:
            raise NotFound.of("segment", segment_id)
        return found

    async def _wire(self, document: Document) -> segment_pb2.Segment:
        workspace_id, _, segment_id = document.id.partition("/")
        members = await self._store.memberships.count("members", document.id)
        return convert.wire_segment(workspace_id, segment_id, document.body, members)


def mounted(servicer: SegmentServicer) -> Mounted:
    return Mounted(
        segment_service_pb2_grpc.add_SegmentServiceServicer_to_server, servicer, "camino.segment.v1.SegmentService"
    )
