"""`camino.segment.v1.SegmentService`: segments are checked and kept, and not computed. Their members are those that a
test puts there, so a new version changes nothing of who is in."""

from __future__ import annotations

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.segment.v1 import segment_pb2
from camino.segment.v1 import segment_service_pb2 as pb
from camino.testing.fake import asking, condition_faults
from camino.testing.fake.methods import method
from camino.testing.fake.publishing import published
from camino.testing.fake.reading import listing
from camino.testing.fake.refusal import Violation, invalid
from camino.testing.fake.values import timestamp
from camino.testing.fake.watching import Watching

_LIST = method("camino.segment.v1.SegmentService/ListSegments")
_MAX_BYTES = 256 * 1024
_SAMPLE = 10


class Segments(Watching):
    def PublishSegment(self, request: pb.PublishSegmentRequest) -> pb.PublishSegmentResponse:
        self._check(request.workspace_id, request.segment_id, request.definition)
        segment = published(self._world, segment_pb2.Segment, request)
        if segment:
            segment.state = segment_pb2.SEGMENT_STATE_READY
            segment.serving_version = segment.version
            segment.members_complete = True
            self._world.put(request.workspace_id, request.segment_id, segment)
        return pb.PublishSegmentResponse(segment=self._told(request.workspace_id, request.segment_id))

    def GetSegment(self, request: pb.GetSegmentRequest) -> pb.GetSegmentResponse:
        return pb.GetSegmentResponse(segment=self._told(request.workspace_id, request.segment_id))

    def ListSegments(self, request: pb.ListSegmentsRequest) -> pb.ListSegmentsResponse:
        reply: pb.ListSegmentsResponse = listing(self._world, _LIST, request)
        told = [self._told(request.workspace_id, segment.segment_id) for segment in reply.segments]
        return pb.ListSegmentsResponse(segments=told, next_page_token=reply.next_page_token)

    def EstimateSegment(self, request: pb.EstimateSegmentRequest) -> pb.EstimateSegmentResponse:
        """Those who are in the segment would be in it, and nobody would enter or leave."""
        workspace_id = request.workspace_id
        self._check(workspace_id, request.segment_id, request.definition)
        members = self._members(workspace_id, request.segment_id)
        profiles = len(self._profiles(workspace_id))
        estimate = segment_pb2.SegmentEstimate(
            profile_count=profiles,
            evaluated_count=profiles,
            member_count=len(members),
            member_ids=members[: request.sample_size or _SAMPLE],
            evaluate_time=timestamp(self._world.now()),
        )
        return pb.EstimateSegmentResponse(estimate=estimate)

    def _check(self, workspace_id: str, segment_id: str, definition: segment_pb2.SegmentDefinition) -> None:
        """Raises `Refusal` (INVALID_DEFINITION) naming all that is wrong."""
        violations = list(condition_faults.violations(definition.condition, "definition.condition"))
        if (size := definition.ByteSize()) > _MAX_BYTES:
            violations.append(Violation("definition", f"takes {size} bytes; at most {_MAX_BYTES} are allowed"))
        violations += asking.violations(self._world, workspace_id, segment_id, definition)
        if violations:
            raise invalid(violations, reason_pb2.REASON_INVALID_DEFINITION)

    def _told(self, workspace_id: str, segment_id: str) -> segment_pb2.Segment:
        """A segment with how many are in it, of how many. Raises `Refusal` (NOT_FOUND)."""
        told = segment_pb2.Segment()
        told.CopyFrom(self._known(workspace_id, segment_id))
        told.member_count = len(self._members(workspace_id, segment_id))
        told.profile_count = told.computed_count = len(self._profiles(workspace_id))
        return told

    def _profiles(self, workspace_id: str) -> set[str]:
        """Those that there are, and those whom a test made members of something without more ado."""
        meant = self._world.ledger(workspace_id).meant
        held = {meant(it.profile_id) for _, it in self._world.all(segment_pb2.Membership, workspace_id)}
        return held.union(id_ for id_, _ in self._world.all(profile_pb2.Profile, workspace_id))
