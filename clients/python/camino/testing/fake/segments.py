"""`camino.segment.v1.SegmentService`: segments are checked and kept, and not computed. Their members are those that a
test puts there, whatever the context of a question; so an explanation tells how one stands, and not condition by
condition."""

from __future__ import annotations

from camino.errors.v1 import reason_pb2
from camino.profile.v1 import profile_pb2
from camino.segment.v1 import segment_pb2
from camino.segment.v1 import segment_service_pb2 as pb
from camino.testing.fake import asking, condition_faults
from camino.testing.fake.pages import page
from camino.testing.fake.publishing import published
from camino.testing.fake.refusal import Violation, invalid, not_found
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World

_MAX_BYTES = 256 * 1024
_PAGE = 1_000


class Segments:
    def __init__(self, world: World) -> None:
        self._world = world

    def PublishSegment(self, request: pb.PublishSegmentRequest) -> pb.PublishSegmentResponse:
        definition = request.definition
        violations = list(condition_faults.violations(definition.condition, "definition.condition"))
        if (size := definition.ByteSize()) > _MAX_BYTES:
            violations.append(Violation("definition", f"takes {size} bytes; at most {_MAX_BYTES} are allowed"))
        violations += asking.violations(self._world, request.workspace_id, request.segment_id, definition)
        if violations:
            raise invalid(violations, reason_pb2.REASON_INVALID_DEFINITION)
        segment = published(self._world, segment_pb2.Segment, request)
        if segment:
            segment.state = segment_pb2.SEGMENT_STATE_READY
            self._world.put(request.workspace_id, request.segment_id, segment)
        return pb.PublishSegmentResponse(segment=self._known(request.workspace_id, request.segment_id))

    def ListMembers(self, request: pb.ListMembersRequest) -> pb.ListMembersResponse:
        self._known(request.workspace_id, request.segment_id)
        members = [((0, id_), id_) for id_ in self._members(request.workspace_id, request.segment_id)]
        profile_ids, token = page(request, members, size=_PAGE)
        return pb.ListMembersResponse(profile_ids=profile_ids, next_page_token=token)

    def ListMemberships(self, request: pb.ListMembershipsRequest) -> pb.ListMembershipsResponse:
        meant = self._world.ledger(request.workspace_id).meant(request.profile_id)
        held = (
            self._membership(request.workspace_id, segment_id, meant)
            for segment_id, _ in self._world.all(segment_pb2.Segment, request.workspace_id)
        )
        memberships, token = page(
            request, [((0, it.segment_id), it) for it in held if it and it.HasField("enter_time")]
        )
        return pb.ListMembershipsResponse(memberships=memberships, next_page_token=token)

    def CheckMembership(self, request: pb.CheckMembershipRequest) -> pb.CheckMembershipResponse:
        for segment_id in dict.fromkeys(id_ for query in request.queries for id_ in query.segment_ids):
            self._known(request.workspace_id, segment_id)
        answers = [self._answer(request.workspace_id, query) for query in request.queries]
        return pb.CheckMembershipResponse(answers=answers)

    def ExplainMembership(self, request: pb.ExplainMembershipRequest) -> pb.ExplainMembershipResponse:
        segment = self._known(request.workspace_id, request.segment_id)
        profile_id = self._world.ledger(request.workspace_id).meant(request.profile_id)
        member = profile_id in self._members(request.workspace_id, request.segment_id)
        explanation = segment_pb2.MembershipExplanation(
            segment_version=segment.version,
            evaluate_time=timestamp(self._world.now()),
            member=member,
            missing=segment.definition.missing or segment_pb2.MISSING_FALSE,
        )
        if membership := self._membership(request.workspace_id, request.segment_id, profile_id):
            explanation.membership.CopyFrom(membership)
        return pb.ExplainMembershipResponse(explanation=explanation)

    def put_member(self, workspace_id: str, segment_id: str, profile_id: str, member: bool) -> None:
        """Say whether a profile is in a segment. Raises `Refusal` if there is no such segment."""
        segment = segment_pb2.Segment()
        segment.CopyFrom(self._known(workspace_id, segment_id))
        membership = segment_pb2.Membership(segment_id=segment_id, profile_id=profile_id, member=member)
        (membership.enter_time if member else membership.exit_time).CopyFrom(timestamp(self._world.now()))
        self._world.put(workspace_id, f"{segment_id}/{profile_id}", membership)
        segment.member_count = len(self._members(workspace_id, segment_id))
        self._world.put(workspace_id, segment_id, segment)

    def _answer(self, workspace_id: str, query: pb.MembershipQuery) -> pb.MembershipAnswer:
        meant = self._world.ledger(workspace_id).meant
        if query.after_event_id:
            event = self._world.get(profile_pb2.Event, workspace_id, query.after_event_id)
            if event is None or meant(event.profile_id) != meant(query.profile_id):
                return pb.MembershipAnswer(behind=True)
        found = (id_ for id_ in query.segment_ids if meant(query.profile_id) in self._members(workspace_id, id_))
        return pb.MembershipAnswer(member_of=found)

    def _membership(self, workspace_id: str, segment_id: str, profile_id: str) -> segment_pb2.Membership | None:
        """How a profile stands, also by an id that it had; as a member if it's one by any."""
        meant = self._world.ledger(workspace_id).meant
        memberships = self._world.all(segment_pb2.Membership, workspace_id)
        found = [it for _, it in memberships if it.segment_id == segment_id and meant(it.profile_id) == profile_id]
        return max(found, key=lambda it: it.member, default=None)

    def _members(self, workspace_id: str, segment_id: str) -> list[str]:
        meant = self._world.ledger(workspace_id).meant
        memberships = self._world.all(segment_pb2.Membership, workspace_id)
        members = (meant(it.profile_id) for _, it in memberships if it.segment_id == segment_id and it.member)
        return list(dict.fromkeys(members))

    def _known(self, workspace_id: str, segment_id: str) -> segment_pb2.Segment:
        found = self._world.get(segment_pb2.Segment, workspace_id, segment_id)
        if found is None:
            raise not_found("segment", segment_id)
        return found
