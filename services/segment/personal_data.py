"""What the segment service holds on people: what they are, or were, a member of, and each entry and exit.

It keeps facts too, to evaluate, but each is a copy of what the profile service holds and shows: an attribute, an
event's type, time and properties. They are erased here, and shown there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from services.chassis.personal_data import Held, Subject
from services.segment import convert, graves, history
from services.segment.erasing import Erasing
from services.segment.store import Store


class SegmentData:
    """Implements `PersonalData`."""

    def __init__(self, store: Store, erasing: Erasing) -> None:
        self._store = store
        self._erasing = erasing
        self.held: Sequence[Held] = (Held("memberships", self._memberships), Held("transitions", self._transitions))

    async def erase(self, subject: Subject) -> Mapping[str, int]:
        return await self._erasing.erase(subject.workspace_id, subject.profile_ids)

    async def _memberships(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        """In the order of profile ids, then of segments. Also those that a profile left because it was merged."""
        last_profile, _, last_segment = after.rpartition("/")
        page: list[Message] = []
        last = ""
        for profile_id in sorted(set(subject.profile_ids)):
            if profile_id < last_profile:
                continue
            key = convert.key_of(subject.workspace_id, profile_id)
            document = (await self._store.facts.get([key])).get(key)
            if document is None or graves.is_erased(document.body):
                continue
            for segment_id, held in sorted(convert.memberships_of(document.body).items()):
                if not held.entered_at or (profile_id, segment_id) <= (last_profile, last_segment):
                    continue
                if len(page) == limit:
                    return page, last
                page.append(convert.membership(profile_id, segment_id, held))
                last = f"{profile_id}/{segment_id}"
        return page, ""

    async def _transitions(self, subject: Subject, limit: int, after: str) -> tuple[Sequence[Message], str]:
        """Newest first."""
        keys = {profile_id: convert.key_of(subject.workspace_id, profile_id) for profile_id in subject.profile_ids}
        found = await self._store.facts.get(keys.values())
        there = [id_ for id_, key in keys.items() if key in found and not graves.is_erased(found[key].body)]
        return await history.newest(self._store.transitions, subject.workspace_id, there, limit, after)
