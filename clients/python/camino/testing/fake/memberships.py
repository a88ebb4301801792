"""Who is in which segment: those that a test puts there, whatever the context of a question; so an explanation tells
how one stands, and not condition by condition."""

from __future__ import annotations

from camino.profile.v1 import profile_pb2
from camino.segment.v1 import segment_events_pb2, segment_pb2
from camino.segment.v1 import segment_service_pb2 as pb
from camino.testing.fake.pages import page
from camino.testing.fake.refusal import not_found
from camino.testing.fake.transitions import Transitions
from camino.testing.fake.values import instant, timestamp
from camino.testing.fake.world import World

_PAGE = 1_000


class Memberships:
    def __init__(self, world: World) -> None:
        self._world = world
        self.transitions = Transitions(world)

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
        memberships, token = page(request, [((0, it.segment_id), it) for it in held if it])
        return pb.ListMembershipsResponse(memberships=memberships, next_page_token=token)

    def ListTransitions(self, request: pb.ListTransitionsRequest) -> pb.ListTransitionsResponse:
        profile = self._world.get(profile_pb2.Profile, request.workspace_id, request.profile_id)
        ids = {profile.profile_id, *profile.merged_profile_ids} if profile else {request.profile_id}
        told = self.transitions.history(request.workspace_id, ids)
        items = [((instant(it.effective_at), id_), it) for id_, it in told]
        transitions, token = page(request, items, newest_first=True)
        return pb.ListTransitionsResponse(transitions=transitions, next_page_token=token)

    def CheckMembership(self, request: pb.CheckMembershipRequest) -> pb.CheckMembershipResponse:
        for segment_id in dict.fromkeys(id_ for query in request.queries for id_ in query.segment_ids):
            self._known(request.workspace_id, segment_id)
        answers = [self._answer(request.workspace_id, query) for query in request.queries]
        return pb.CheckMembershipResponse(answers=answers)

    def ExplainMembership(self, request: pb.ExplainMembershipRequest) -> pb.ExplainMembershipResponse:
        segment = self._known(request.workspace_id, request.segment_id)
        profile_id = self._world.ledger(request.workspace_id).meant(request.profile_id)
        member = profile_id in self._members(request.workspace_id, request.segment_id)
        at = instant(request.at) if request.HasField("at") else self._world.now()
        explanation = segment_pb2.MembershipExplanation(
            segment_version=segment.version,
            evaluate_time=timestamp(at),
            member=member,
            missing=segment.definition.missing or segment_pb2.MISSING_FALSE,
        )
        if membership := self._membership(request.workspace_id, request.segment_id, profile_id):
            explanation.membership.CopyFrom(membership)
        return pb.ExplainMembershipResponse(explanation=explanation)

    def put_member(self, workspace_id: str, segment_id: str, profile_id: str, member: bool) -> None:
        """Say whether a profile is in a segment. Raises `Refusal` if there is no such segment."""
        self._known(workspace_id, segment_id)
        meant = self._world.ledger(workspace_id).meant(profile_id)
        cause = segment_events_pb2.MEMBERSHIP_CAUSE_PROFILE
        self.transitions.change(workspace_id, segment_id, meant, member, cause)

    def _answer(self, workspace_id: str, query: pb.MembershipQuery) -> pb.MembershipAnswer:
        meant = self._world.ledger(workspace_id).meant
        if query.after_event_id:
            event = self._world.get(profile_pb2.Event, workspace_id, query.after_event_id)
            if event is None or meant(event.profile_id) != meant(query.profile_id):
                return pb.MembershipAnswer(behind=True)
        found = (id_ for id_ in query.segment_ids if meant(query.profile_id) in self._members(workspace_id, id_))
        return pb.MembershipAnswer(member_of=found)

    def _membership(self, workspace_id: str, segment_id: str, profile_id: str) -> segment_pb2.Membership | None:
        return self._world.get(segment_pb2.Membership, workspace_id, f"{segment_id}/{profile_id}")

    def _members(self, workspace_id: str, segment_id: str) -> list[str]:
        memberships = self._world.all(segment_pb2.Membership, workspace_id)
        return sorted(it.profile_id for _, it in memberships if it.segment_id == segment_id and it.member)

    def _known(self, workspace_id: str, segment_id: str) -> segment_pb2.Segment:
        found = self._world.get(segment_pb2.Segment, workspace_id, segment_id)
        if found is None:
            raise not_found("segment", segment_id)
        return found
