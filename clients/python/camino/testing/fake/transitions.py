"""Entries into segments and exits from them, one after the other, as they're told to who follows memberships."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count

from camino.segment.v1 import segment_events_pb2 as events
from camino.segment.v1 import segment_pb2
from camino.testing.fake.values import timestamp
from camino.testing.fake.world import World

Change = events.MembershipChanged


class Transitions:
    """All of them, of all workspaces. Each has a place: later ones have greater ones."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._places = count(1)
        self.last = 0
        """The place of the newest there ever was."""

    def change(
        self, workspace_id: str, segment_id: str, profile_id: str, member: bool, cause: events.MembershipCause
    ) -> None:
        """Let a profile enter or leave a segment now; nothing if it's in, or out, already."""
        id_ = f"{segment_id}/{profile_id}"
        before = self._world.get(segment_pb2.Membership, workspace_id, id_)
        segment = self._world.get(segment_pb2.Segment, workspace_id, segment_id)
        if segment is None or member == (before is not None and before.member):
            return
        now = timestamp(self._world.now())
        after = segment_pb2.Membership()
        if before:
            after.CopyFrom(before)
        after.segment_id, after.profile_id, after.member = segment_id, profile_id, member
        after.ClearField("exit_time")
        (after.enter_time if member else after.exit_time).CopyFrom(now)
        after.cause, after.segment_version = cause, segment.serving_version
        self._world.put(workspace_id, id_, after)
        self._tell(
            Change(
                workspace_id=workspace_id,
                segment_id=segment_id,
                profile_id=profile_id,
                member=member,
                effective_at=now,
                cause=cause,
                segment_version=segment.serving_version,
                sequence=1 + max((told.sequence for _, told in self._of(workspace_id, [profile_id])), default=0),
            )
        )

    def merge(self, workspace_id: str) -> None:
        """Let those who turned out to be somebody else leave, and that one enter in their stead."""
        meant = self._world.ledger(workspace_id).meant
        for _, held in list(self._world.all(segment_pb2.Membership, workspace_id)):
            if held.member and (stays := meant(held.profile_id)) != held.profile_id:
                self.change(workspace_id, held.segment_id, held.profile_id, False, events.MEMBERSHIP_CAUSE_MERGE)
                self.change(workspace_id, held.segment_id, stays, True, events.MEMBERSHIP_CAUSE_MERGE)

    def leave(self, workspace_id: str, profile_ids: Collection[str]) -> None:
        """Let profiles that are being erased leave what they're in."""
        for _, held in list(self._world.all(segment_pb2.Membership, workspace_id)):
            if held.member and held.profile_id in profile_ids:
                self.change(workspace_id, held.segment_id, held.profile_id, False, events.MEMBERSHIP_CAUSE_ERASURE)

    def history(self, workspace_id: str, profile_ids: Collection[str]) -> Iterator[tuple[str, Change]]:
        """Those of some profiles with their ids, oldest first. An erased one has none: its last exits are told, and no
        more."""
        for id_, told in self._of(workspace_id, profile_ids):
            if told.cause != events.MEMBERSHIP_CAUSE_ERASURE:
                yield id_, told

    def after(
        self, workspace_id: str, place: int, segment_ids: Collection[str], limit: int
    ) -> tuple[Sequence[Change], int]:
        """The first ones after a place, in these segments or in all; and the place up to which there are no others."""
        told = [
            (int(id_), told)
            for id_, told in self._world.all(Change, workspace_id)
            if int(id_) > place and (not segment_ids or told.segment_id in segment_ids)
        ]
        up_to = told[limit - 1][0] if len(told) >= limit else self.last
        return [change for _, change in told[:limit]], up_to

    def entered(self, workspace_id: str, segment_id: str, profile_id: str) -> int:
        """The `sequence` of the change by which a member entered."""
        of_profile = (told for _, told in self._of(workspace_id, [profile_id]))
        return max(told.sequence for told in of_profile if told.segment_id == segment_id and told.member)

    def _of(self, workspace_id: str, profile_ids: Collection[str]) -> Iterator[tuple[str, Change]]:
        return ((id_, told) for id_, told in self._world.all(Change, workspace_id) if told.profile_id in profile_ids)

    def _tell(self, told: Change) -> None:
        self.last = next(self._places)
        self._world.put(told.workspace_id, f"{self.last:012}", told)
