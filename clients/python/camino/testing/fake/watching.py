"""Following memberships: everybody who is in a segment, then every change. It's told at once, and nothing in between to
say that nothing happened; a stream goes on for as long as its caller does, and no cursor expires."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256

from camino.segment.v1 import segment_pb2
from camino.segment.v1 import segment_service_pb2 as pb
from camino.testing.fake.memberships import Memberships
from camino.testing.fake.refusal import invalid_field

_MEMBERS = 1_000
_CHANGES = 500

Question = Sequence[str]
"""The workspace and its segments, all of them if it names none."""


class Watching(Memberships):
    def WatchMemberships(self, request: pb.WatchMembershipsRequest) -> Iterator[pb.WatchMembershipsResponse | None]:
        """None when there is nothing to tell by now."""
        workspace_id, segment_ids = request.workspace_id, sorted(set(request.segment_ids))
        question = [workspace_id, *segment_ids]
        place = _place(question, request.cursor) if request.cursor else None
        for segment_id in segment_ids:
            self._known(workspace_id, segment_id)
        if place is None:
            place = self.transitions.last
            for members in self._told_at_first(workspace_id, segment_ids):
                yield pb.WatchMembershipsResponse(members=members)
        # The first cursor comes at once, that of a reader who is up to date.
        silent = False
        while True:
            changes, place = self.transitions.after(workspace_id, place, segment_ids, _CHANGES)
            if changes or not silent:
                yield pb.WatchMembershipsResponse(changes=changes, cursor=_cursor(question, place))
                silent = True
            else:
                yield None

    def _told_at_first(self, workspace_id: str, segment_ids: Collection[str]) -> Iterator[pb.SegmentMembers]:
        published = (segment_id for segment_id, _ in self._world.all(segment_pb2.Segment, workspace_id))
        for segment_id in segment_ids or sorted(published):
            members = self._members(workspace_id, segment_id)
            for first in range(0, len(members), _MEMBERS):
                some = members[first : first + _MEMBERS]
                entered = [self.transitions.entered(workspace_id, segment_id, id_) for id_ in some]
                yield pb.SegmentMembers(segment_id=segment_id, profile_ids=some, sequences=entered)


def _cursor(question: Question, place: int) -> str:
    said = sha256(json.dumps(question).encode()).hexdigest()[:16]
    return base64.urlsafe_b64encode(f"{said} {place}".encode()).decode()


def _place(question: Question, cursor: str) -> int:
    """Raises `Refusal` for what is no cursor of this question."""
    try:
        _, place = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode().split(" ")
        found = int(place)
    except ValueError:
        found = -1
    if cursor != _cursor(question, found):
        raise invalid_field("cursor", "not a cursor of this question; begin anew without one")
    return found
