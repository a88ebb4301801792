"""`camino.segment.v1.SegmentService`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camino.segment.v1 import segment_pb2, segment_service_pb2, segment_service_pb2_grpc

from services.chassis import engine
from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document, change
from services.chassis.errors import InvalidDefinition, NotFound
from services.chassis.ids import partition_of
from services.chassis.server import Mounted
from services.segment import convert, definitions, finding
from services.segment.catalogue import Head
from services.segment.references import references
from services.segment.registry import Registry
from services.segment.rules import Published
from services.segment.store import Store


class SegmentServicer(segment_service_pb2_grpc.SegmentServiceServicer):  # type: ignore[misc]
    """`computing` is told of a workspace's partition and the instant from which there is something to compute."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        partitions: int,
        computing: Callable[[int, Instant], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self._computing = computing

    async def PublishSegment(self, request: Any, context: object) -> segment_service_pb2.PublishSegmentResponse:
        definition, violations = definitions.read(request.definition)
        wanted = references(definition.condition, "definition.condition")
        workspace_id, segment_id = request.workspace_id, request.segment_id
        data, etag = convert.serialized(request.definition)
        now = self._clock.now()
        partition = partition_of(workspace_id, self._partitions)

        def publish(_id: str, document: Document | None) -> dict[str, Any] | None:
            before = convert.catalogue_of(document.body if document else None)
            if violations:
                raise InvalidDefinition([*violations, *before.problems(segment_id, wanted)])
            after = before.with_published(segment_id, etag, request.etag, now, wanted)
            if after is before:
                return None
            return {**convert.catalogue_body(after, now), "partition": partition, "compute_at": now}

        known = await self._store.catalogues.get([workspace_id])
        if publish(workspace_id, known.get(workspace_id)):
            # Filed before it serves, so that a catalogue never names what isn't there.
            key = convert.definition_key(workspace_id, segment_id, etag)
            await self._store.definitions.put([Document(key, {"definition": data})])
        written = (await change(self._store.catalogues, [workspace_id], publish, known=known))[workspace_id]
        await self._registry.adopt(written)
        self._computing(partition, now)
        head = convert.catalogue_of(written.body).heads[segment_id]
        return segment_service_pb2.PublishSegmentResponse(segment=await self._segment(workspace_id, segment_id, head))

    async def GetSegment(self, request: Any, context: object) -> segment_service_pb2.GetSegmentResponse:
        catalogue = await self._registry.refresh(request.workspace_id)
        head = catalogue.heads.get(request.segment_id)
        if head is None:
            raise NotFound.of("segment", request.segment_id)
        return segment_service_pb2.GetSegmentResponse(
            segment=await self._segment(request.workspace_id, request.segment_id, head)
        )

    async def ListSegments(self, request: Any, context: object) -> segment_service_pb2.ListSegmentsResponse:
        order = engine.order("segments", request.workspace_id)
        after = engine.last_id(order, request.page_token) or ""
        size = request.page_size or 100
        catalogue = await self._registry.refresh(request.workspace_id)
        ids = sorted(segment_id for segment_id in catalogue.heads if segment_id > after)
        return segment_service_pb2.ListSegmentsResponse(
            segments=[
                await self._segment(request.workspace_id, segment_id, catalogue.heads[segment_id])
                for segment_id in ids[:size]
            ],
            next_page_token=engine.id_token(order, ids[size - 1]) if len(ids) > size else "",
        )

    async def ListMembers(self, request: Any, context: object) -> segment_service_pb2.ListMembersResponse:
        await self._published(request.workspace_id, [request.segment_id])
        page = await self._store.memberships.query(
            "members",
            convert.member_of(request.workspace_id, request.segment_id),
            limit=request.page_size or 1_000,
            after=request.page_token,
        )
        return segment_service_pb2.ListMembersResponse(
            profile_ids=[document.id.split("/", 2)[2] for document in page.documents], next_page_token=page.next
        )

    async def CheckMembership(self, request: Any, context: object) -> segment_service_pb2.CheckMembershipResponse:
        workspace_id = request.workspace_id
        asked = {segment_id for query in request.queries for segment_id in query.segment_ids}
        published = await self._published(workspace_id, asked)
        found = await finding.profiles(
            self._store.facts, {convert.key_of(workspace_id, query.profile_id) for query in request.queries}
        )
        now = self._clock.now()
        response = segment_service_pb2.CheckMembershipResponse()
        for query in request.queries:
            answer = response.answers.add()
            document = found.get(convert.key_of(workspace_id, query.profile_id))
            if query.after_event_id and not (document and convert.knows_event(document.body, query.after_event_id)):
                answer.behind = True
            elif document:
                facts = convert.facts_of(document.body)
                # Where a replica's clock is ahead of ours, its answer holds already.
                at = max(now, document.body["as_of"])
                answer.member_of.extend(id_ for id_ in query.segment_ids if published[id_].verdict(facts, at)[0])
        return response

    async def _published(self, workspace_id: str, segment_ids: Any) -> dict[str, Published]:
        """The serving versions of segments. Raises `NotFound` for one that isn't published."""
        await self._registry.loaded()
        rules = self._registry.rules(workspace_id)
        if not all(segment_id in rules.by_id for segment_id in segment_ids):
            await self._registry.refresh(workspace_id)
            rules = self._registry.rules(workspace_id)
        for segment_id in segment_ids:
            if segment_id not in rules.by_id:
                raise NotFound.of("segment", segment_id)
        return {segment_id: rules.by_id[segment_id] for segment_id in segment_ids}

    async def _segment(self, workspace_id: str, segment_id: str, head: Head) -> segment_pb2.Segment:
        members = await self._store.memberships.count("members", convert.member_of(workspace_id, segment_id))
        computed = await self._store.facts.count("by_edition", workspace_id, at_least=head.edition)
        definition = self._registry.definition(workspace_id, segment_id, head.etag)
        return convert.segment(workspace_id, segment_id, head, definition, members, computed)


def mounted(servicer: SegmentServicer) -> Mounted:
    return Mounted(
        segment_service_pb2_grpc.add_SegmentServiceServicer_to_server, servicer, "camino.segment.v1.SegmentService"
    )
