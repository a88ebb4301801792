"""`camino.segment.v1.SegmentService`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from camino.segment.v1 import segment_pb2, segment_service_pb2, segment_service_pb2_grpc
from camino.type.v1.value_pb2 import Value
from prometheus_client import Counter

from services.chassis import engine
from services.chassis.clock import Clock, Instant
from services.chassis.documents import Document
from services.chassis.errors import InvalidDefinition, NotFound
from services.chassis.server import Mounted
from services.chassis.wire import instant
from services.segment import convert, definitions, finding, history
from services.segment.catalogue import Head
from services.segment.counting import Counting
from services.segment.domain import Facts
from services.segment.estimating import Estimating
from services.segment.explaining import explanation
from services.segment.publishing import Publishing
from services.segment.references import references
from services.segment.registry import Registry
from services.segment.rules import Published
from services.segment.store import Store

Watch = Callable[
    [segment_service_pb2.WatchMembershipsRequest], AsyncGenerator[segment_service_pb2.WatchMembershipsResponse, None]
]
"""Follows memberships; see `watching`."""

_SAMPLE = 10


class SegmentServicer(segment_service_pb2_grpc.SegmentServiceServicer):  # type: ignore[misc]
    """`errors` counts what can't be evaluated."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        clock: Clock,
        partitions: int,
        errors: Counter,
        publishing: Publishing,
        estimating: Estimating,
        watch: Watch,
    ) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._partitions = partitions
        self._errors = errors
        self._publishing = publishing
        self._estimating = estimating
        self._watch = watch

    async def PublishSegment(self, request: Any, context: object) -> segment_service_pb2.PublishSegmentResponse:
        head = await self._publishing.publish(request)
        segment = await self._segment(
            request.workspace_id, request.segment_id, head, self._counting(request.workspace_id)
        )
        return segment_service_pb2.PublishSegmentResponse(segment=segment)

    async def EstimateSegment(self, request: Any, context: object) -> segment_service_pb2.EstimateSegmentResponse:
        definition, violations = definitions.read(request.definition)
        workspace_id, segment_id = request.workspace_id, request.segment_id
        catalogue = await self._registry.refresh(workspace_id)
        violations += catalogue.problems(segment_id, references(definition.condition, "definition.condition"))
        if violations:
            raise InvalidDefinition(violations)
        rules = self._registry.rules(workspace_id)
        wanted = Published.of(segment_id, 0, 0, definition, {**rules.by_id, **rules.upcoming})
        estimate = await self._estimating.estimate(
            workspace_id, wanted, rules.by_id.get(segment_id), request.sample_size or _SAMPLE
        )
        return segment_service_pb2.EstimateSegmentResponse(estimate=estimate)

    async def GetSegment(self, request: Any, context: object) -> segment_service_pb2.GetSegmentResponse:
        catalogue = await self._registry.refresh(request.workspace_id)
        head = catalogue.heads.get(request.segment_id)
        if head is None:
            raise NotFound.of("segment", request.segment_id)
        return segment_service_pb2.GetSegmentResponse(
            segment=await self._segment(
                request.workspace_id, request.segment_id, head, self._counting(request.workspace_id)
            )
        )

    async def ListSegments(self, request: Any, context: object) -> segment_service_pb2.ListSegmentsResponse:
        order = engine.order("segments", request.workspace_id)
        after = engine.last_id(order, request.page_token) or ""
        size = request.page_size or 100
        catalogue = await self._registry.refresh(request.workspace_id)
        ids = sorted(segment_id for segment_id in catalogue.heads if segment_id > after)
        counting = self._counting(request.workspace_id)
        return segment_service_pb2.ListSegmentsResponse(
            segments=[
                await self._segment(request.workspace_id, segment_id, catalogue.heads[segment_id], counting)
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
            elif document or query.context:
                facts, at = _asked_on(document, query.context, now)
                answer.member_of.extend(id_ for id_ in query.segment_ids if self._is_member(published[id_], facts, at))
        return response

    async def ListMemberships(self, request: Any, context: object) -> segment_service_pb2.ListMembershipsResponse:
        order = engine.order("memberships", request.workspace_id, request.profile_id)
        after = engine.last_id(order, request.page_token) or ""
        size = request.page_size or 100
        key = convert.key_of(request.workspace_id, request.profile_id)
        document = (await finding.profiles(self._store.facts, [key])).get(key)
        held = convert.memberships_of(document.body) if document else {}
        ids = sorted(segment_id for segment_id, one in held.items() if one.entered_at and segment_id > after)
        profile_id = document.id.partition("/")[2] if document else ""
        return segment_service_pb2.ListMembershipsResponse(
            memberships=[convert.membership(profile_id, segment_id, held[segment_id]) for segment_id in ids[:size]],
            next_page_token=engine.id_token(order, ids[size - 1]) if len(ids) > size else "",
        )

    async def ListTransitions(self, request: Any, context: object) -> segment_service_pb2.ListTransitionsResponse:
        workspace_id, profile_id = request.workspace_id, request.profile_id
        order = engine.order("transitions", workspace_id, profile_id)
        after = engine.last_id(order, request.page_token) or ""
        key = convert.key_of(workspace_id, profile_id)
        document = (await finding.profiles(self._store.facts, [key])).get(key)
        # The one that was asked for is among them, but for the moment at which it's being merged.
        ids = {profile_id, document.id.partition("/")[2], *convert.absorbed_by(document.body)} if document else ()
        found, last = await history.newest(self._store.transitions, workspace_id, ids, request.page_size or 100, after)
        return segment_service_pb2.ListTransitionsResponse(
            transitions=found, next_page_token=engine.id_token(order, last) if last else ""
        )

    async def ExplainMembership(self, request: Any, context: object) -> segment_service_pb2.ExplainMembershipResponse:
        workspace_id, segment_id = request.workspace_id, request.segment_id
        published = (await self._published(workspace_id, [segment_id]))[segment_id]
        rules = self._registry.rules(workspace_id)
        key = convert.key_of(workspace_id, request.profile_id)
        document = (await finding.profiles(self._store.facts, [key])).get(key)
        facts, at = _asked_on(document, request.context, self._clock.now())
        if request.HasField("at"):
            at = instant(request.at)
        held = convert.memberships_of(document.body).get(segment_id) if document else None
        profile_id = document.id.partition("/")[2] if document else request.profile_id
        told = explanation(published, rules.by_id, facts, at, profile_id, held)
        if told.evaluation_error:
            self._errors.labels("explain").inc()
        return segment_service_pb2.ExplainMembershipResponse(explanation=told)

    def WatchMemberships(
        self, request: Any, context: object
    ) -> AsyncGenerator[segment_service_pb2.WatchMembershipsResponse, None]:
        return self._watch(request)

    def _counting(self, workspace_id: str) -> Counting:
        return Counting(self._store, workspace_id, self._partitions)

    def _is_member(self, published: Published, facts: Facts, at: Instant) -> bool:
        try:
            return published.ask(facts, at)[0]
        except Exception:
            self._errors.labels("check").inc()
            raise

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

    async def _segment(self, workspace_id: str, segment_id: str, head: Head, counting: Counting) -> segment_pb2.Segment:
        definition = self._registry.definition(workspace_id, segment_id, head.newest.etag)
        return convert.segment(
            workspace_id,
            segment_id,
            head,
            definition,
            members=await counting.members(segment_id),
            profiles=await counting.profiles(),
            computed=await counting.evaluated(head.newest.edition),
            failing=(await counting.failing())[segment_id],
        )


def _asked_on(document: Document | None, context: Mapping[str, Value], now: Instant) -> tuple[Facts, Instant]:
    """What is known of a profile, with attributes of the moment, and the instant to ask at: where a replica's clock is
    ahead of ours, its answer holds already."""
    if document is None:
        return Facts(convert.context_of(context), {}), now
    facts = convert.facts_of(document.body)
    return facts.in_context(convert.context_of(context)) if context else facts, max(now, document.body["as_of"])


def mounted(servicer: SegmentServicer) -> Mounted:
    return Mounted(
        segment_service_pb2_grpc.add_SegmentServiceServicer_to_server, servicer, "camino.segment.v1.SegmentService"
    )
